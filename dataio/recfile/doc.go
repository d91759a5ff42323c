// Package recfile lets many worker processes append whole records to one file, through
// one writer: the node.
//
// In the node:
//
//	s, err := recfile.NewServer(map[string]recfile.Options{"results.csv": {Header: []byte("path,lines")}})
//	files, words, lease, err := s.Donate("count", rank, size) // a spawn.Resource
//	…
//	err = s.Close() // results.csv is complete, and appears under its name
//
// In a worker:
//
//	c, err := recfile.Attach(files, words, bell)
//	err = c.File("results.csv").Append([]byte("a.go,42"))
//
// What a caller can rely on:
//
//  1. A record is in the file once and in one piece, or not at all. No two are mixed.
//  2. The records of one worker come in the order in which they were appended.
//  3. A record whose Append returned is written, also when its worker is killed right
//     after it. One whose [File.Flush] returned survives the node as well, and with
//     Options.Sync < 0 the machine.
//  4. The header is there once, in each file.
//  5. The file appears under its name when it is complete, flushed to the disk. Until
//     then it is called NAME.partial, and so it stays when records were lost, a flush
//     failed, or the run did ([Server.Abandon]).
//  6. What a killed node left is a valid beginning and at most one torn record. With
//     Options.Resume that beginning is gone on with, byte for byte. What is behind it
//     is kept in NAME.cut-1 and so on: damage costs no more than a place.
//  7. attempted = written + refused + lost, for each file, exactly ([Server.Stats]).
//  8. A file that cannot be written, or whose disk is slow, is in the way of no other.
//
// # How
//
//	worker                                        node
//	File.Append ──┬─ ring in shared memory ────── writer ── write(2) ── results.csv.partial
//	     (×N)     └─ ring in shared memory ────── writer ── write(2) ── trace.bin.partial
//	                 one for each worker            one goroutine
//	                 and file                       for each file
//
// All that came from all workers meanwhile is one write, of up to a megabyte: that,
// and a record, is the memory that a file takes in the node. The space in the ring is
// given back after the write, so what a ring still holds is not yet written.
//
// A record is copied into the ring by [File.Append], or built there ([File.Reserve]).
// The node copies it once, into the buffer of the next write, and the kernel from there:
// a worker can change what is in its ring at any time, and must not change what was
// checked. That copy, and the checksum of a frame, are what large records cost beside a
// write of the worker's own (BenchmarkLarge).
//
// A file that cannot be written keeps its workers waiting while it is tried again, with
// the file cut back to its last whole record, until Options.Patience is over. Then it
// is given up: OnError is told, records that were appended are counted as lost, Append
// fails with [ErrGivenUp] and Flush with [ErrLost]. So what is in the file is of each
// worker a beginning without gaps. A flush to the disk that failed is not tried again.
//
// Linux only. On other systems everything compiles, and returns an error that wraps
// [errors.ErrUnsupported].
package recfile
