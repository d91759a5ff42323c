package recfile

import "unsafe"

// A status is what the node says of one ring, in the ring's owner bytes. The node
// stores, the worker loads, both atomically. view is page-aligned.
type status struct {
	state      *uint32
	done, lost *uint64
}

func statusOf(view []byte) status {
	return status{
		state: (*uint32)(unsafe.Pointer(&view[stateAt])),
		done:  (*uint64)(unsafe.Pointer(&view[doneAt])),
		lost:  (*uint64)(unsafe.Pointer(&view[lostAt])),
	}
}
