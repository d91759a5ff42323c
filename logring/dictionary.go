package logring

import (
	"fmt"
	"sync"

	"shmkit/ring"
)

// The dictionary of a worker: its events' declarations, in the order of their first
// use. It lies in the segment beside the rings and is only ever appended to, so
// whoever reads the rings, now or when everybody is dead, finds in it what each
// event means.
//
//	0  u32 bytes of this entry, a multiple of 8
//	4  u32 number of the event, below 1<<24
//	8  i32 level
//	12 u16 m, length of the message
//	14 u8  1: a source position follows
//	15 u8  arguments
//	16     source position, as in a record
//	..     for each argument u8 kind, u16 length, name: an attribute without its value
//	..     message
//	..     zeros up to the multiple of 8
//
// It is what follows the tag tagEvent: the tag's upper 24 bits are the number, and
// the payload is
//
//	0  i64 key   for merging: CLOCK_MONOTONIC in nanoseconds; with tagTicks ticks of
//	             the time stamp counter
//	8  u64 × n   the arguments: a number as it is, 0 or 1, the length of a string,
//	             the seconds of a time
//	..           the bytes of the strings, one after the other
//	..           for each time u32 nanoseconds, i32 zone offset
const (
	eventFixed = 8
	declFixed  = 16
	maxMessage = 4 << 10

	// maxDeclaration bounds what an event of a few bytes grows to. One that is longer
	// is logged as an ordinary record.
	maxDeclaration = 1 << 10
)

// A dictionary is the worker's end.
type dictionary struct {
	mu    sync.Mutex
	words *uint64 // in the segment: bytes that are published
	mem   []byte  // in the segment
	size  int     // bytes written
	has   map[*event]bool
}

// declare makes sure that the event is in the dictionary, and reports false when
// there is no room for it, or it is too long.
func (d *dictionary) declare(w *Writer, e *event) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	ok, known := d.has[e]
	if !known {
		b := e.declaration()
		if ok = len(b) <= maxDeclaration && len(b) <= len(d.mem)-d.size; ok {
			copy(d.mem[d.size:], b)
			d.size += len(b)
			// Stored by the worker here, loaded by the collector (definitions.update) when
			// it meets a number that it does not know. Makes visible: the bytes before it
			// (amd64: XCHG; arm64: STLR). It is before any record of the event: that one's
			// tail is stored by a goroutine that has seen known.
			store64(d.words, uint64(d.size))
		}
		d.has[e] = ok
	}
	if ok {
		e.known.Store(w)
	}
	return ok
}

// declaration returns the entry in wire form.
func (e *event) declaration() []byte {
	b := make([]byte, declFixed)
	le.PutUint32(b[4:], e.tag>>8)
	le.PutUint32(b[8:], uint32(int32(e.level)))
	le.PutUint16(b[12:], uint16(len(e.msg)))
	if e.pc != 0 {
		b[14] = 1
		b = append(b, sourceOf(e.pc)...)
	}
	b[15] = byte(len(e.names))
	for i, name := range e.names {
		b = append(b, e.kinds[i], byte(len(name)), byte(len(name)>>8))
		b = append(b, name...)
	}
	b = append(b, e.msg...)
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	le.PutUint32(b, uint32(len(b)))
	return b
}

// A definition is a declaration as the collector has it: private memory, checked.
type definition struct {
	level  int32
	source []byte
	args   [][]byte // each as an attribute without its value
	fixed  int      // bytes of an event before its strings
	times  int
	msg    []byte
}

// definitions is the collector's end of a dictionary.
type definitions struct {
	words *uint64 // in the segment, as mem
	mem   []byte
	read  int    // bytes taken so far
	raw   []byte // the event being decoded
	by    map[uint32]*definition
}

// take copies a record out of shared memory, then checks it, and appends it to dst
// in wire form: an event becomes a record like any other. It returns the record's key,
// by the monotonic clock, and how long before it the record was made. clock tells what
// ticks mean, and adding wall makes monotonic time wall time.
func (d *definitions) take(dst []byte, rec ring.Record, clock *tickClock, wall int64) (b []byte, key, lag int64, err error) {
	nanoseconds := func(key int64) int64 {
		if rec.Tag&tagTicks != 0 {
			return clock.monotonic(uint64(key))
		}
		return key
	}
	if number := rec.Tag >> 8; rec.Tag&0xff&^tagTicks == tagEvent {
		d.raw = append(d.raw[:0], rec.Payload...)
		f, err := d.of(number)
		if err != nil {
			return dst, 0, 0, err
		}
		if len(d.raw) >= eventFixed {
			key = nanoseconds(int64(le.Uint64(d.raw)))
		}
		b, err = f.appendRecord(dst, d.raw, key, key+wall)
		return b, key, 0, err
	}
	b = append(dst, rec.Payload...)
	w, err := parse(rec.Tag&^tagTicks, b[len(dst):])
	key = nanoseconds(w.key)
	if rec.Tag&tagTicks != 0 && w.flags&flagNoTime == 0 {
		lag = key - (w.time - wall)
	}
	return b, key, lag, err
}

// of returns the definition of an event.
func (d *definitions) of(number uint32) (*definition, error) {
	if f := d.by[number]; f != nil {
		return f, nil
	}
	if err := d.update(); err != nil {
		return nil, err
	}
	if f := d.by[number]; f != nil {
		return f, nil
	}
	return nil, fmt.Errorf("event %d is not in the dictionary", number)
}

// update takes what was added. What it has taken is never looked at again.
func (d *definitions) update() error {
	// Stored by the worker, see declare. Loaded once, then bounded.
	n := load64(d.words)
	if n < uint64(d.read) || n > uint64(len(d.mem)) {
		return fmt.Errorf("dictionary of %d bytes: %d to %d are possible", n, d.read, len(d.mem))
	}
	b := append([]byte(nil), d.mem[d.read:n]...) // out of shared memory first
	for at := 0; at < len(b); {
		size, number, f, err := parseDeclaration(b[at:])
		if err != nil {
			return fmt.Errorf("dictionary, byte %d: %w", d.read+at, err)
		}
		if d.by[number] != nil {
			return fmt.Errorf("dictionary, byte %d: event %d is declared twice", d.read+at, number)
		}
		if d.by == nil {
			d.by = map[uint32]*definition{}
		}
		d.by[number] = f
		at += size
	}
	d.read = int(n)
	return nil
}

// parseDeclaration takes the entry apart that b begins with.
func parseDeclaration(b []byte) (size int, number uint32, f *definition, err error) {
	bad := func(what string) (int, uint32, *definition, error) { return 0, 0, nil, fmt.Errorf("%s", what) }
	if len(b) < declFixed {
		return bad("declaration cut short")
	}
	n := le.Uint32(b)
	if n%8 != 0 || n < declFixed || n > maxDeclaration || uint64(n) > uint64(len(b)) {
		return bad("length of a declaration")
	}
	number = le.Uint32(b[4:])
	if number >= maxEvents || b[14] > 1 || b[15] > maxArgs {
		return bad("declaration with unknown fields")
	}
	f = &definition{level: int32(le.Uint32(b[8:]))}
	msg, args := int(le.Uint16(b[12:])), int(b[15])
	rest := b[declFixed:n]
	if b[14] == 1 {
		if len(rest) < sourceFixed || len(rest) < sourceSize(rest) {
			return bad("source position longer than the declaration")
		}
		k := sourceSize(rest)
		f.source, rest = rest[:k], rest[k:]
	}
	f.fixed = eventFixed + 8*args
	for range args {
		if len(rest) < attrFixed || len(rest) < attrFixed+int(le.Uint16(rest[1:])) {
			return bad("argument longer than the declaration")
		}
		switch rest[0] {
		case kindString, kindInt64, kindUint64, kindFloat64, kindBool, kindDuration:
		case kindTime:
			f.times++
			f.fixed += 8
		default:
			return bad(fmt.Sprintf("unknown kind of argument %d", rest[0]))
		}
		k := attrFixed + int(le.Uint16(rest[1:]))
		f.args = append(f.args, rest[:k])
		rest = rest[k:]
	}
	if msg > len(rest) {
		return bad("message longer than the declaration")
	}
	f.msg = rest[:msg]
	return int(n), number, f, nil
}

// appendRecord appends an event as a record in wire form, which needs no further
// check. key and time are in nanoseconds. The payload must be private memory.
func (f *definition) appendRecord(dst, p []byte, key, time int64) ([]byte, error) {
	if len(p) < f.fixed {
		return dst, &wireError{0, fmt.Sprintf("event of %d bytes, its declaration says %d", len(p), f.fixed)}
	}
	flags := uint16(0)
	if f.source != nil {
		flags = flagSource
	}
	dst = le.AppendUint64(dst, uint64(key))
	dst = le.AppendUint64(dst, uint64(time))
	dst = le.AppendUint32(dst, uint32(f.level))
	dst = le.AppendUint32(dst, uint32(flags))
	dst = le.AppendUint32(dst, 0)
	dst = le.AppendUint32(dst, uint32(len(f.msg)))
	dst = append(dst, f.source...)
	at := eventFixed + 8*len(f.args) // of the next string
	ends := len(p) - 8*f.times       // where the strings end
	late := ends                     // of the next time's second half
	for i, arg := range f.args {
		off := eventFixed + 8*i
		w := le.Uint64(p[off:])
		dst = append(dst, arg...)
		switch arg[0] {
		case kindString:
			if w > uint64(ends-at) {
				return dst, &wireError{off, "string longer than the event"}
			}
			dst = le.AppendUint32(dst, uint32(w))
			dst = append(dst, p[at:at+int(w)]...)
			at += int(w)
		case kindBool:
			if w > 1 {
				return dst, &wireError{off, "bool is neither 0 nor 1"}
			}
			dst = append(dst, byte(w))
		case kindTime:
			ext := p[late : late+8]
			late += 8
			if !validTime(ext) {
				return dst, &wireError{late - 8, "time out of range"}
			}
			dst = le.AppendUint64(dst, w)
			dst = append(dst, ext...)
		default:
			dst = le.AppendUint64(dst, w)
		}
	}
	if at != ends {
		return dst, &wireError{at, "bytes that belong to no argument"}
	}
	return append(dst, f.msg...), nil
}
