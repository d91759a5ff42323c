package shm

import "unsafe"

// bytes is the memory of h. A struct of the format's layout and the bytes in
// the file are the same thing on a little-endian machine.
func (h *header) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(h)), headerBytes)
}

// stateOf returns the state word of a mapping, which starts with the header
// page. The mapping is page-aligned, so the word is aligned.
func stateOf(mapping []byte) stateWord {
	_ = mapping[PageSize-1]
	return stateWord{(*uint32)(unsafe.Pointer(&mapping[unsafe.Offsetof(header{}.state)]))}
}

// spanOf is the range of addresses of b. It is compared, never dereferenced.
func spanOf(b []byte) span {
	lo := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	return span{lo, lo + uintptr(len(b))}
}

// A span is a range of addresses, hi not included.
type span struct{ lo, hi uintptr }

func (s span) contains(word *uint32) bool { return s.holds(uintptr(unsafe.Pointer(word))) }

func (s span) holds(addr uintptr) bool { return s.lo <= addr && addr < s.hi }

func (s span) overlaps(t span) bool { return s.lo < t.hi && t.lo < s.hi }
