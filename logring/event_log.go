package logring

import "time"

// log is every event's Log, enabled.
func (w *Writer) log(e *event, args []slot) {
	if w.apart && (w.kept(e.level) || w.elsewhere(e.level)) {
		w.logPlain(e, args)
		return
	}
	if e.known.Load() != w && !w.dict.declare(w, e) {
		w.logPlain(e, args)
		return
	}
	size := eventFixed + 8*len(args)
	for i := range args {
		if args[i].p != nil {
			size += int(args[i].w)
		}
	}
	if e.late {
		size += 8 * e.times()
	}
	if l := w.pin(); l != nil {
		due := false
		b, err := l.prod.TryReserve(size)
		if err == nil {
			tag := w.fill(b, e, args)
			l.prod.Commit(size, tag)
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
		w.logPlain(e, args) // which cuts what does not fit
		return
	}
	if w.evades(e.level) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if b, err := w.reserve(size, e.level); err == nil {
		w.commit(size, w.fill(b, e, args))
	}
}

// fill writes an event in wire form and returns its tag. It runs pinned or under
// the lock, so that the keys of a lane never go back.
func (w *Writer) fill(b []byte, e *event, args []slot) (tag uint32) {
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
