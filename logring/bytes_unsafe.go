package logring

import "unsafe"

// bytesOf views s as bytes, which must not be changed.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// stringOf views b as a string, valid as long as b is not changed.
func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// recordSize is what a Record takes in memory, beside the bytes it points to.
const recordSize = int(unsafe.Sizeof(Record{}))
