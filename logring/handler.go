package logring

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"shmkit/ring"
)

// HandlerOptions are options for a handler. Zero means the defaults.
type HandlerOptions struct {
	// AddSource adds the file, line and function of the log call.
	AddSource bool

	// Level is a level of this handler's own, asked beside the one that the
	// node sets: a record has to pass both.
	Level slog.Leveler

	// Filter, if set, is asked whether a record is wanted. What it refuses counts
	// as little as what is below the level. It runs in the goroutine that logs.
	Filter func(context.Context, slog.Record) bool

	// Sample and Limit hold back records that come too often; their zero values
	// nothing. Handlers made from this one by With and WithGroup share the count.
	Sample Sample
	Limit  Limit
}

// LoggerKey is the key of the attribute that names a logger:
//
//	db := log.With(logring.LoggerKey, "db.pool")
//
// The name has a level of its own where a rule says so ([Collector.SetLevels]), and
// a limit ([Limit]). The attribute has to be a string, and in no group. Of several
// the last one counts. Names longer than 255 bytes and more than 4,096 of them have
// the level of their worker.
const LoggerKey = "logger"

// An outlet is where a handler's records go: a worker's ring, or the node's own
// queue.
type outlet interface {
	// gate tells the lowest level wanted now, the same gate at every call.
	gate() *wanted
	// maxRecord is the size of the largest record, the same at every call.
	maxRecord() int
	// emit takes one finished record. It copies.
	emit(payload []byte) error
	// refuse counts a record that is dropped before it was made.
	refuse(reason ring.Reason)
	// told notes that the stream tells of n of them.
	told(reason ring.Reason, n uint64)
	// named returns the level of a logger with a name; nil: that of all.
	named(name string) *loggerLevel
	// flushTo waits until what was emitted has come so far.
	flushTo(ctx context.Context, level FlushLevel) error
	// atFlush has f called before each flush and before the end.
	atFlush(f func())
}

// handler encodes slog records. It is immutable; WithAttrs and WithGroup return
// a changed copy, whose attributes are encoded once.
type handler struct {
	out    outlet
	worker *Writer // out, if that is one
	gate   *wanted
	source bool

	special bool         // there is a level beside the gate's: one of the two
	local   slog.Leveler // nil: none
	named   *loggerLevel // that of the logger's name; nil: the gate's

	filter   func(context.Context, slog.Record) bool // nil: none
	throttle *Throttle                               // nil: none
	logger   string                                  // the attribute LoggerKey of WithAttrs

	prefix []byte   // attributes of WithAttrs in wire form, their groups still open
	cut    int      // bytes that did not fit into prefix
	open   int      // groups open at the end of prefix
	groups []string // opened by WithGroup since; written when a member follows
	opened []byte   // the same in wire form, empty if that is too much
}

func newHandler(out outlet, o *HandlerOptions) *handler {
	h := &handler{out: out, gate: out.gate()}
	h.worker, _ = out.(*Writer)
	if o != nil {
		h.source, h.local, h.filter = o.AddSource, o.Level, o.Filter
		h.special = h.local != nil
		if !o.Sample.off() || !o.Limit.off() {
			h.throttle = newThrottle(out, o.Sample, o.Limit)
		}
	}
	return h
}

// Enabled costs one atomic load of the node's word and a comparison; two for a
// logger with a name.
func (h *handler) Enabled(_ context.Context, l slog.Level) bool {
	if h.special {
		return h.enabledSpecial(l)
	}
	return l >= h.gate.level()
}

func (h *handler) enabledSpecial(l slog.Level) bool {
	if h.local != nil && l < h.local.Level() {
		return false
	}
	if h.named != nil {
		return l >= h.named.enabled()
	}
	return l >= h.gate.level()
}

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	kept := h.worker != nil && h.worker.trace != nil && h.kept(r.Level)
	if (h.filter != nil || h.throttle != nil) && !h.passes(ctx, r, kept) {
		return nil
	}
	var position []byte
	if h.source && r.PC != 0 {
		position = sourceOf(r.PC)
	}
	if h.worker != nil && !kept && h.worker.direct(h, &r, position) {
		return nil
	}
	max := h.out.maxRecord()
	e := newEncoder(r.Time, r.Level, r.Message, max)
	h.encode(e, &r, position)
	err := error(nil)
	if p := e.finish(max); kept {
		h.worker.keep(p)
	} else {
		err = h.out.emit(p)
	}
	e.free()
	return err
}

// kept reports whether a record is one for the backtrace of its worker, which has one.
func (h *handler) kept(level slog.Level) bool {
	if h.named != nil {
		return level < h.named.level()
	}
	return h.worker.kept(level)
}

// encode appends everything but the message.
func (h *handler) encode(e *encoder, r *slog.Record, position []byte) {
	e.source(position)
	e.buf = append(e.buf, h.prefix...)
	e.cut += h.cut
	e.depth = h.open
	if r.NumAttrs() == 0 {
		return
	}
	mark := len(e.buf)
	if !e.openAll(h.groups) {
		e.skip(1)
		return
	}
	counts := false
	r.Attrs(func(a slog.Attr) bool {
		if e.attr(a) {
			counts = true
		}
		return true
	})
	if !counts { // only empty ones: then the groups are not there either
		e.buf = e.buf[:mark]
		e.depth = h.open
	}
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	// The prefix may take a quarter of a record, the source position another.
	e := &encoder{buf: slices.Clone(h.prefix), limit: h.out.maxRecord() / 4, depth: h.open}
	if !e.openAll(h.groups) {
		e.skip(1)
	} else if !e.members(attrs) {
		return h
	}
	k := *h
	if h.open == 0 && len(h.groups) == 0 {
		for _, a := range attrs {
			if a.Key == LoggerKey && a.Value.Kind() == slog.KindString {
				k.logger = a.Value.String()
				k.named = h.out.named(k.logger)
			}
		}
	}
	k.prefix, k.open, k.groups, k.opened = slices.Clip(e.buf), e.depth, nil, nil
	k.cut += e.cut
	k.special = k.local != nil || k.named != nil
	return &k
}

func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	k := *h
	k.groups = append(slices.Clip(h.groups), name)
	e := &encoder{limit: h.out.maxRecord() / 4, depth: h.open}
	e.openAll(k.groups)
	k.opened = e.buf
	return &k
}

// openAll opens groups, all or none.
func (e *encoder) openAll(groups []string) bool {
	mark, depth := len(e.buf), e.depth
	for _, g := range groups {
		if !e.begin(g) {
			e.buf, e.depth = e.buf[:mark], depth
			return false
		}
	}
	return true
}

// passes asks the filter and the throttle, which has nothing to say about what is only
// kept.
func (h *handler) passes(ctx context.Context, r slog.Record, kept bool) bool {
	if h.filter != nil && !h.filter(ctx, r) {
		return false
	}
	t := h.throttle
	if t == nil || kept {
		return true
	}
	key, now := r.Message, r.Time
	if t.sample.Key != nil {
		key = t.sample.Key(r)
	}
	if now.IsZero() {
		now = time.Now()
	}
	return t.allow(h.logger, key, r.Level, now)
}
