package main

var curves = []curve{
	{
		File: "ring-sizes.svg", Title: "Ring: throughput by record size, two processes", X: "bytes a record", Y: "million records a second", LogX: true, LogY: true,
		Lines: []line{{"shmkit", `bench\.RingSizes/(.+)`, "M/s"}},
	},
}
