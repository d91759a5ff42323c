package seqlocktest

import "unsafe"

// Views makes zeroed memory for one latch and returns the writer's and the readers'
// view of it: the same slice, or two mappings, the readers' one perhaps read-only.
// The memory stays valid until the test is over.
type Views func(size int) (write, read []byte, err error)

// Heap is ordinary memory of this process, which is what the race detector knows
// about.
func Heap(size int) (write, read []byte, err error) {
	words := make([]uint64, (size+7)/8+16)
	start := int(-uintptr(unsafe.Pointer(&words[0])) & 127) // slots on their own lines, as in a page
	view := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(words)*8)[start : start+size]
	return view, view, nil
}
