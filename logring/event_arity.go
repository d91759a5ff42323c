package logring

import (
	"log/slog"
	"reflect"
	"unsafe"
)

// An event is declared once, with its level, its message and the names of what it
// takes, and logged with values of fixed types:
//
//	var evDone = logring.NewEvent3[int64, string, float64](slog.LevelInfo, "done", "n", "path", "sec")
//
//	evDone.Log(w, n, path, sec)
//
// A call writes a number, a time and the values in binary: no boxing, no allocation,
// no text. Below the level it costs a load and a comparison. The sinks get a record
// like any other.

// Event0 is an event that takes nothing.
type Event0 struct{ event }

// NewEvent0 declares an event.
func NewEvent0(level slog.Level, msg string) *Event0 {
	ev := new(Event0)
	ev.init(level, msg, nil)
	return ev
}

// Log logs the event through w.
func (ev *Event0) Log(w *Writer) {
	if ev.level >= w.level() {
		w.log(&ev.event, nil)
	}
}

// Event1 is an event that takes one value.
type Event1[A Arg] struct{ event }

// NewEvent1 declares an event and names what it takes.
func NewEvent1[A Arg](level slog.Level, msg string, a string) *Event1[A] {
	ev := new(Event1[A])
	ev.init(level, msg, []string{a}, reflect.TypeFor[A]())
	return ev
}

// Log logs the event through w.
func (ev *Event1[A]) Log(w *Writer, a A) {
	if ev.level >= w.level() {
		ev.log(w, a)
	}
}

//go:noinline
func (ev *Event1[A]) log(w *Writer, a A) {
	w.log(&ev.event, []unsafe.Pointer{unsafe.Pointer(&a)})
}

// WithSource makes the event tell the line that it is declared at. It returns ev.
func (ev *Event1[A]) WithSource() *Event1[A] {
	ev.here()
	return ev
}

// Event2 is an event that takes two values.
type Event2[A, B Arg] struct{ event }

// NewEvent2 declares an event and names what it takes.
func NewEvent2[A, B Arg](level slog.Level, msg string, a, b string) *Event2[A, B] {
	ev := new(Event2[A, B])
	ev.init(level, msg, []string{a, b}, reflect.TypeFor[A](), reflect.TypeFor[B]())
	return ev
}

// Log logs the event through w.
func (ev *Event2[A, B]) Log(w *Writer, a A, b B) {
	if ev.level >= w.level() {
		ev.log(w, a, b)
	}
}

//go:noinline
func (ev *Event2[A, B]) log(w *Writer, a A, b B) {
	w.log(&ev.event, []unsafe.Pointer{unsafe.Pointer(&a), unsafe.Pointer(&b)})
}

// WithSource makes the event tell the line that it is declared at. It returns ev.
func (ev *Event2[A, B]) WithSource() *Event2[A, B] {
	ev.here()
	return ev
}

// Event3 is an event that takes three values.
type Event3[A, B, C Arg] struct{ event }

// NewEvent3 declares an event and names what it takes.
func NewEvent3[A, B, C Arg](level slog.Level, msg string, a, b, c string) *Event3[A, B, C] {
	ev := new(Event3[A, B, C])
	ev.init(level, msg, []string{a, b, c}, reflect.TypeFor[A](), reflect.TypeFor[B](), reflect.TypeFor[C]())
	return ev
}

// Log logs the event through w.
func (ev *Event3[A, B, C]) Log(w *Writer, a A, b B, c C) {
	if ev.level >= w.level() {
		ev.log(w, a, b, c)
	}
}

//go:noinline
func (ev *Event3[A, B, C]) log(w *Writer, a A, b B, c C) {
	w.log(&ev.event, []unsafe.Pointer{unsafe.Pointer(&a), unsafe.Pointer(&b), unsafe.Pointer(&c)})
}

// WithSource makes the event tell the line that it is declared at. It returns ev.
func (ev *Event3[A, B, C]) WithSource() *Event3[A, B, C] {
	ev.here()
	return ev
}

// Event4 is an event that takes four values.
type Event4[A, B, C, D Arg] struct{ event }

// NewEvent4 declares an event and names what it takes.
func NewEvent4[A, B, C, D Arg](level slog.Level, msg string, a, b, c, d string) *Event4[A, B, C, D] {
	ev := new(Event4[A, B, C, D])
	ev.init(level, msg, []string{a, b, c, d}, reflect.TypeFor[A](), reflect.TypeFor[B](), reflect.TypeFor[C](), reflect.TypeFor[D]())
	return ev
}

// Log logs the event through w.
func (ev *Event4[A, B, C, D]) Log(w *Writer, a A, b B, c C, d D) {
	if ev.level >= w.level() {
		ev.log(w, a, b, c, d)
	}
}

//go:noinline
func (ev *Event4[A, B, C, D]) log(w *Writer, a A, b B, c C, d D) {
	w.log(&ev.event, []unsafe.Pointer{unsafe.Pointer(&a), unsafe.Pointer(&b), unsafe.Pointer(&c), unsafe.Pointer(&d)})
}

// WithSource makes the event tell the line that it is declared at. It returns ev.
func (ev *Event4[A, B, C, D]) WithSource() *Event4[A, B, C, D] {
	ev.here()
	return ev
}

// Event5 is an event that takes five values.
type Event5[A, B, C, D, E Arg] struct{ event }

// NewEvent5 declares an event and names what it takes.
func NewEvent5[A, B, C, D, E Arg](level slog.Level, msg string, a, b, c, d, e string) *Event5[A, B, C, D, E] {
	ev := new(Event5[A, B, C, D, E])
	ev.init(level, msg, []string{a, b, c, d, e}, reflect.TypeFor[A](), reflect.TypeFor[B](), reflect.TypeFor[C](), reflect.TypeFor[D](), reflect.TypeFor[E]())
	return ev
}

// Log logs the event through w.
func (ev *Event5[A, B, C, D, E]) Log(w *Writer, a A, b B, c C, d D, e E) {
	if ev.level >= w.level() {
		ev.log(w, a, b, c, d, e)
	}
}

//go:noinline
func (ev *Event5[A, B, C, D, E]) log(w *Writer, a A, b B, c C, d D, e E) {
	w.log(&ev.event, []unsafe.Pointer{unsafe.Pointer(&a), unsafe.Pointer(&b), unsafe.Pointer(&c), unsafe.Pointer(&d), unsafe.Pointer(&e)})
}

// WithSource makes the event tell the line that it is declared at. It returns ev.
func (ev *Event5[A, B, C, D, E]) WithSource() *Event5[A, B, C, D, E] {
	ev.here()
	return ev
}

// Event6 is an event that takes six values.
type Event6[A, B, C, D, E, F Arg] struct{ event }

// NewEvent6 declares an event and names what it takes.
func NewEvent6[A, B, C, D, E, F Arg](level slog.Level, msg string, a, b, c, d, e, f string) *Event6[A, B, C, D, E, F] {
	ev := new(Event6[A, B, C, D, E, F])
	ev.init(level, msg, []string{a, b, c, d, e, f}, reflect.TypeFor[A](), reflect.TypeFor[B](), reflect.TypeFor[C](), reflect.TypeFor[D](), reflect.TypeFor[E](), reflect.TypeFor[F]())
	return ev
}

// Log logs the event through w.
func (ev *Event6[A, B, C, D, E, F]) Log(w *Writer, a A, b B, c C, d D, e E, f F) {
	if ev.level >= w.level() {
		ev.log(w, a, b, c, d, e, f)
	}
}

//go:noinline
func (ev *Event6[A, B, C, D, E, F]) log(w *Writer, a A, b B, c C, d D, e E, f F) {
	w.log(&ev.event, []unsafe.Pointer{unsafe.Pointer(&a), unsafe.Pointer(&b), unsafe.Pointer(&c), unsafe.Pointer(&d), unsafe.Pointer(&e), unsafe.Pointer(&f)})
}

// WithSource makes the event tell the line that it is declared at. It returns ev.
func (ev *Event6[A, B, C, D, E, F]) WithSource() *Event6[A, B, C, D, E, F] {
	ev.here()
	return ev
}

// WithSource makes the event tell the line that it is declared at. It returns ev.
func (ev *Event0) WithSource() *Event0 {
	ev.here()
	return ev
}
