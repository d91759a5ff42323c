//go:build race

package stepper

const raceBuild = true
