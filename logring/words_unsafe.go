package logring

import (
	"unsafe"

	"shmkit/ring"
	"shmkit/shm"
)

// levelWord is the word in the consumer's page of a ring that the node keeps the
// level in. The ring leaves these bytes to the consumer's side; ring.Geometry has
// checked the length of the view, and its start is aligned.
func levelWord(view []byte) *uint32 {
	return (*uint32)(unsafe.Pointer(&view[ring.OwnerOffset]))
}

// headWord is how far the collector has read, tailWord how far the worker has
// written: the first words of the two pages before the data.
func headWord(view []byte) *uint64 { return (*uint64)(unsafe.Pointer(&view[0])) }
func tailWord(view []byte) *uint64 { return (*uint64)(unsafe.Pointer(&view[shm.PageSize])) }
