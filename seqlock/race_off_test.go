//go:build !race

package seqlock_test

const raceDetector = false
