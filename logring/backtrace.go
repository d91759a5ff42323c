package logring

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"math/bits"

	"shmkit/ring"
)

// Backtrace keeps records that are not wanted, the newest ones, in the memory that a
// worker shares with the node, and puts them into the stream when they are: in
// order, marked with the attribute backtrace=true, in front of the record that
// triggers it; or behind the worker's last record, if it dies without having closed its
// log, be it of kill -9. Until then they cost no more than the copy into that memory,
// and count for nothing: neither as attempted nor as dropped.
//
// With it a log call below the level is enabled. One ring with a lock takes what all
// goroutines of a worker keep.
type Backtrace struct {
	Size    int          // bytes kept for each worker, default 128 KiB, at least two records
	Level   slog.Leveler // the lowest level kept; nil: DEBUG
	Trigger slog.Leveler // the lowest level that brings them out; nil: ERROR
}

const defaultBacktrace = 128 << 10

// floor and trigger are the two levels with the defaults filled in.
func (b *Backtrace) floor() slog.Level   { return levelOr(b.Level, slog.LevelDebug) }
func (b *Backtrace) trigger() slog.Level { return levelOr(b.Trigger, slog.LevelError) }

func levelOr(l slog.Leveler, or slog.Level) slog.Level {
	if l == nil {
		return or
	}
	return slog.Level(wireLevel(l.Level()))
}

func (b *Backtrace) check() error {
	switch {
	case b.Size > 1<<30:
		return fmt.Errorf("logring: Backtrace.Size %d: choose at most 1 GiB (%d), it is reserved for each worker", b.Size, 1<<30)
	case b.floor() >= b.trigger():
		return fmt.Errorf("logring: Backtrace.Level %v is not below Backtrace.Trigger %v: nothing would be kept", b.floor(), b.trigger())
	}
	return nil
}

// capacity is that of the ring.
func (b *Backtrace) capacity(maxRecord int) int {
	size := b.Size
	if size <= 0 {
		size = defaultBacktrace
	}
	return 1 << bits.Len(uint(max(size, 2*maxRecord+64)-1))
}

// backtraceKey is the attribute that marks them.
const backtraceKey = "backtrace"

// The worker's side.

// kept reports whether a record without a named logger is one for the backtrace.
func (w *Writer) kept(level slog.Level) bool {
	// Stored by the node (setLevel), loaded by log calls of a worker that has a
	// backtrace. As with the level, an old value for a moment does no harm.
	return w.trace != nil && level < loadLevel(&w.node.stream)
}

// keep puts a record into the backtrace. It never waits for the node.
func (w *Writer) keep(payload []byte) {
	w.traceMu.Lock()
	defer w.traceMu.Unlock()
	w.putLane(w.trace, tagRecord, payload) // fails only after Close
}

// The node's side.

// A backtrace is one worker's, as the collector reads it: with r.mu held.
type backtrace struct {
	*intake
	trigger slog.Level
	raw     []byte
	first   []byte // read, but younger than what brought out those before it
	key     int64  // of first
}

// bringOut queues, in order, what the worker kept up to a key, right in front of the
// entry with the key before. It needs r.mu.
func (r *inlet) bringOut(k *collection, upTo, before, now int64, pid int) {
	t := r.trace
	emit := func(payload []byte) {
		t.raw = markBacktrace(t.raw[:0], payload)
		p, in := k.shelf.put(t.raw)
		r.from.attempted.Add(1) // its worker does not count it
		k.m.enqueue(&t.source, entry{key: before - 1, arrived: now, p: p, in: in, from: r.from, pid: pid}, before)
	}
	if t.first != nil {
		if t.key > upTo {
			return
		}
		emit(t.first)
		t.first = nil
	}
	var b []byte
	for {
		rec, ok, err := t.cons.Next()
		if _, overwritten := err.(*ring.GapError); overwritten {
			continue // it is made for that
		}
		if err != nil {
			r.fail(err)
		}
		if err != nil || !ok {
			break
		}
		var key int64
		if b, key, _, err = r.take(b[:0], rec); err != nil {
			r.bad++
			r.fail(err)
			break
		}
		if key > upTo {
			t.first, t.key = bytes.Clone(b), key
			break
		}
		emit(b)
	}
	t.cons.Release()
}

// bringOutAll does so for a worker that died without having closed its log.
func (r *inlet) bringOutAll(k *collection) {
	r.touch(func() { r.bringOutLeft(k) })
}

func (r *inlet) bringOutLeft(k *collection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// Stored by the worker in Writer.Close; it is dead.
	if r.trace == nil || r.err != nil || load32(&r.worker.closed) != 0 {
		return
	}
	last := k.c.now()
	for _, l := range r.lanes {
		last = max(last, l.last)
	}
	r.bringOut(k, math.MaxInt64, last+1, last, int(r.pid.Load()))
}

// markBacktrace appends a copy of a record with the mark as its first attribute.
func markBacktrace(dst, p []byte) []byte {
	w := split(p)
	n := len(p) - len(w.attrs) - len(w.msg)
	dst = append(dst, p[:n]...)
	dst = append(dst, kindBool, byte(len(backtraceKey)), 0)
	dst = append(dst, backtraceKey...)
	dst = append(dst, 1)
	return append(dst, p[n:]...)
}
