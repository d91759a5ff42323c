package logring

import (
	"runtime"
	"sync/atomic"
)

// source appends the position of a log call, if there is one. It comes right after
// the header.
func (e *encoder) source(b []byte) {
	if len(b) == 0 {
		return
	}
	if len(b) > e.limit/4 {
		e.skip(len(b))
		return
	}
	e.flags |= flagSource
	e.buf = append(e.buf, b...)
}

// sources remembers the wire form by program counter, since looking a position
// up costs several hundred nanoseconds. A slot is replaced when another call
// falls into it, so the cache stays small.
//
// Stored and loaded by any goroutine of this process (heap memory, Go's memory
// model); an entry is complete and immutable before its pointer is stored.
var sources [256]atomic.Pointer[sourceEntry]

type sourceEntry struct {
	pc   uintptr
	wire []byte
}

func sourceOf(pc uintptr) []byte {
	slot := &sources[(pc*0x9E3779B1>>12)%uintptr(len(sources))]
	if s := slot.Load(); s != nil && s.pc == pc {
		return s.wire
	}
	f, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	file, fn := tail(f.File), tail(f.Function)
	b := le.AppendUint32(nil, uint32(f.Line))
	b = le.AppendUint16(b, uint16(len(file)))
	b = le.AppendUint16(b, uint16(len(fn)))
	b = append(append(b, file...), fn...)
	slot.Store(&sourceEntry{pc, b})
	return b
}

// tail returns the end of a name that is too long: of a path, that says most.
func tail(name string) string { return name[max(len(name)-maxKey, 0):] }
