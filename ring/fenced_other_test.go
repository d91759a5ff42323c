//go:build !linux

package ring_test

import "testing"

// fenced returns a view of its own allocation.
func fenced(_ testing.TB, size int) ([]byte, func()) { return make([]byte, size), func() {} }
