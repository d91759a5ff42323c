package logring

import (
	"log/slog"
	"reflect"
	"runtime"
	"sync/atomic"
	"time"
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
	plain bool   // takes only words and strings
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
	e.msg, e.names, e.plain = msg[:min(len(msg), maxMessage)], names, true
	for i, t := range types {
		o, kind := opOf(t)
		e.ops[i] = o
		e.kinds = append(e.kinds, kind)
		e.late = e.late || o == opTime
		e.plain = e.plain && (o == opWord || o == opString)
		e.names[i] = tail(e.names[i])
	}
}

// here notes the line of the declaration.
func (e *event) here() {
	var pc [1]uintptr
	runtime.Callers(3, pc[:])
	e.pc = pc[0]
}
