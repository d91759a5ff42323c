package logring

import (
	"time"
	"unsafe"
)

// log is every event's Log, enabled. args point to the arguments, in order.
func (w *Writer) log(e *event, args []unsafe.Pointer) {
	if !e.plain || w.apart && (w.kept(e.level) || w.elsewhere(e.level)) || e.known.Load() != w && !w.dict.declare(w, e) {
		w.logSlots(e, args)
		return
	}
	size := eventFixed + 8*len(args)
	for i, a := range args {
		if e.ops[i] == opString {
			size += len(*(*string)(a))
		}
	}
	if l := w.pin(); l != nil {
		due := false
		b, err := l.prod.TryReserve(size)
		if err == nil {
			l.prod.Commit(size, w.fill(b, e, args))
			l.count++
			due = w.bell.due(&l.fence)
		}
		l.unpin()
		if due {
			w.bell.answer()
		}
		if err == nil {
			return
		}
	}
	w.logSlots(e, args) // which waits for room
}

// fill writes a plain event in wire form and returns its tag. It runs pinned, so that the
// keys of a lane never go back. b is as long as it takes.
func (w *Writer) fill(b []byte, e *event, args []unsafe.Pointer) (tag uint32) {
	tag = e.tag
	if w.ticks {
		le.PutUint64(b, rdtsc())
		tag |= tagTicks
	} else {
		le.PutUint64(b, uint64(monotonic()))
	}
	word := unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), eventFixed)
	rest := unsafe.Add(word, 8*len(args))
	for i, a := range args {
		if e.ops[i] == opString {
			s := *(*string)(a)
			putWord(word, uint64(len(s)))
			rest = unsafe.Add(rest, copy(unsafe.Slice((*byte)(rest), len(s)), s))
		} else {
			putWord(word, *(*uint64)(a))
		}
		word = unsafe.Add(word, 8)
	}
	return tag
}

// logSlots is log for what that leaves to it: other arguments, and no room in the lane.
//
//go:noinline
func (w *Writer) logSlots(e *event, args []unsafe.Pointer) {
	var room [maxArgs]slot
	slots := room[:len(args)]
	for i, a := range args {
		slots[i] = e.ops[i].load(a)
	}
	if w.apart && (w.kept(e.level) || w.elsewhere(e.level)) || e.known.Load() != w && !w.dict.declare(w, e) {
		w.logPlain(e, slots)
		return
	}
	size := eventFixed + 8*len(slots)
	for i := range slots {
		if slots[i].p != nil {
			size += int(slots[i].w)
		}
	}
	if e.late {
		size += 8 * e.times()
	}
	if l := w.pin(); l != nil {
		due := false
		b, err := l.prod.TryReserve(size)
		if err == nil {
			l.prod.Commit(size, w.fillSlots(b, e, slots))
			l.count++
			due = w.bell.due(&l.fence)
		}
		l.unpin()
		if due {
			w.bell.answer()
		}
		if err == nil {
			return
		}
	}
	if size > w.shared.max {
		w.logPlain(e, slots) // which cuts what does not fit
		return
	}
	if w.evades(e.level) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if b, err := w.reserve(size, e.level); err == nil {
		w.commit(size, w.fillSlots(b, e, slots))
	}
}

// fillSlots is fill for all arguments. It runs pinned or with the lock.
func (w *Writer) fillSlots(b []byte, e *event, args []slot) (tag uint32) {
	tag = e.tag
	if w.ticks {
		le.PutUint64(b, rdtsc())
		tag |= tagTicks
	} else {
		le.PutUint64(b, uint64(monotonic()))
	}
	b = b[eventFixed:]
	rest := b[8*len(args):]
	for i := range args {
		a := &args[i]
		le.PutUint64(b[8*i:], a.w)
		if a.p != nil {
			rest = rest[copy(rest, a.bytes()):]
		}
	}
	if e.late {
		for i, o := range e.ops[:len(args)] {
			if o == opTime {
				le.PutUint64(rest, args[i].ext)
				rest = rest[8:]
			}
		}
	}
	return tag
}

// times returns how many arguments are times.
func (e *event) times() (n int) {
	for _, k := range e.kinds {
		if k == kindTime {
			n++
		}
	}
	return n
}

// logPlain logs an event as an ordinary record: it is too large for an event, or
// the dictionary is full.
func (w *Writer) logPlain(e *event, args []slot) {
	x := newEncoder(time.Now(), e.level, e.msg, w.shared.max)
	if e.pc != 0 {
		x.source(sourceOf(e.pc))
	}
	for i, a := range args {
		switch k := e.kinds[i]; k {
		case kindString:
			x.text(e.names[i], stringOf(a.bytes()))
		case kindBool:
			x.boolean(e.names[i], a.w != 0)
		case kindTime:
			x.rawTime(e.names[i], a.w, a.ext)
		default:
			x.word(k, e.names[i], a.w)
		}
	}
	if p := x.finish(w.shared.max); w.kept(e.level) {
		w.keep(p)
	} else {
		w.emit(p)
	}
	x.free()
}
