//go:build !linux

package logring

// systemMonotonic: no other process is there to agree with.
func systemMonotonic() int64 { return 0 }
