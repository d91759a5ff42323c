package logring

import (
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"
)

// Arg is what an event takes: strings and bytes, numbers, times, and errors as [Err].
type Arg interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 |
		~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr |
		~float32 | ~float64 | ~bool | ~string | ~[]byte |
		time.Time | Err
}

// Err is an error as an argument of an event: it is logged as its text, which is
// asked for only if the event is.
type Err struct{ Err error }

// text is what slog's handlers say.
func (e Err) text() (s string) {
	defer func() {
		if r := recover(); r != nil {
			s = panicText(e.Err, r)
		}
	}()
	if e.Err == nil {
		return "<nil>"
	}
	return e.Err.Error()
}

// An event is what all events have, whatever they take. It is written when it is
// declared, but for known.
type event struct {
	// known is the Writer whose dictionary was found to have the event. Stored and
	// loaded by log calls (heap memory of this process); who sees it sees the
	// dictionary, and so does the collector that sees a record of who saw it.
	known atomic.Pointer[Writer]

	level slog.Level
	tag   uint32 // number<<8 | tagEvent
	late  bool   // has an argument that ops.load cannot take alone: a time
	ops   [maxArgs]op
	kinds []byte // in wire form
	names []string
	msg   string
	pc    uintptr // of the declaration, if it is to be told
}

const maxArgs = 6

// events numbers them in this process.
var events atomic.Uint32

// maxEvents is what fits beside the tag.
const maxEvents = 1 << 24

func (e *event) init(l slog.Level, msg string, names []string, types ...reflect.Type) {
	n := events.Add(1)
	if n >= maxEvents {
		panic("logring: more than 16 million events: declare each once, as a package variable")
	}
	e.level, e.tag = slog.Level(wireLevel(l)), n<<8|tagEvent
	e.msg, e.names = msg[:min(len(msg), maxMessage)], names
	for i, t := range types {
		o, kind := opOf(t)
		e.ops[i] = o
		e.kinds = append(e.kinds, kind)
		e.late = e.late || o == opTime
		e.names[i] = tail(e.names[i])
	}
}

// here notes the line of the declaration.
func (e *event) here() {
	var pc [1]uintptr
	runtime.Callers(3, pc[:])
	e.pc = pc[0]
}

// An op is how an argument is read from memory.
type op uint8

const (
	opWord op = iota // 8 bytes as they are
	opString
	opInt8
	opInt16
	opInt32
	opUint8 // also bool
	opUint16
	opUint32
	opFloat32
	opBytes
	opTime
	opErr
)

var (
	timeType     = reflect.TypeFor[time.Time]()
	errType      = reflect.TypeFor[Err]()
	durationType = reflect.TypeFor[time.Duration]()
)

// opOf returns how a type is read, and its kind in wire form.
func opOf(t reflect.Type) (op, byte) {
	switch t {
	case timeType:
		return opTime, kindTime
	case errType:
		return opErr, kindString
	case durationType:
		return opWord, kindDuration
	}
	bySize := func(ops ...op) op { return ops[min(len(ops)-1, [9]int{1: 0, 2: 1, 4: 2, 8: 3}[t.Size()])] }
	switch t.Kind() {
	case reflect.String:
		return opString, kindString
	case reflect.Slice:
		return opBytes, kindString
	case reflect.Bool:
		return opUint8, kindBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return bySize(opInt8, opInt16, opInt32, opWord), kindInt64
	case reflect.Float32:
		return opFloat32, kindFloat64
	case reflect.Float64:
		return opWord, kindFloat64
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return bySize(opUint8, opUint16, opUint32, opWord), kindUint64
	}
	panic(fmt.Sprintf("logring: an event cannot take a %v", t)) // the constraint Arg lets none pass
}

// A slot is an argument taken apart: 8 bytes, or the length of bytes and where
// they are. What p points to lives as long as the call.
type slot struct {
	w   uint64
	p   unsafe.Pointer
	ext uint64 // the second half of a time
}

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
			rest = rest[copy(rest, unsafe.Slice((*byte)(a.p), int(a.w))):]
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
			x.text(e.names[i], unsafe.String((*byte)(a.p), int(a.w)))
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

// rare loads what load leaves to it.
func (o op) rare(p unsafe.Pointer) slot {
	switch o {
	case opInt8:
		return slot{w: uint64(*(*int8)(p))}
	case opInt16:
		return slot{w: uint64(*(*int16)(p))}
	case opInt32:
		return slot{w: uint64(*(*int32)(p))}
	case opUint8:
		return slot{w: uint64(*(*uint8)(p))}
	case opUint16:
		return slot{w: uint64(*(*uint16)(p))}
	case opUint32:
		return slot{w: uint64(*(*uint32)(p))}
	case opFloat32:
		return slot{w: math.Float64bits(float64(*(*float32)(p)))}
	case opBytes:
		b := *(*[]byte)(p)
		return slot{w: uint64(len(b)), p: unsafe.Pointer(unsafe.SliceData(b))}
	case opErr:
		s := (*(*Err)(p)).text()
		return slot{w: uint64(len(s)), p: unsafe.Pointer(unsafe.StringData(s))}
	}
	t := *(*time.Time)(p)
	s, ns, zone := timeFields(t)
	return slot{w: s, ext: uint64(ns) | uint64(uint32(zone))<<32}
}

// load takes the argument at p apart: the common ones here, so that it is inlined.
func (o op) load(p unsafe.Pointer) slot {
	if o == opWord {
		return slot{w: *(*uint64)(p)}
	}
	if o == opString {
		s := *(*string)(p)
		return slot{w: uint64(len(s)), p: unsafe.Pointer(unsafe.StringData(s))}
	}
	return o.rare(p)
}
