package logring

import (
	"context"
	"log/slog"
	"math"
	"os"
	"strings"
	"sync"
	"time"

	"shmkit/ring"
	"shmkit/seqlock"
)

// localQueue takes the records that come about in the node process itself:
// captured lines and the node's own log. They have the same form as those of the
// rings and go the same way. When it is full the caller waits: back-pressure, no
// loss.
type localQueue struct {
	mu     sync.Mutex
	room   sync.Cond
	buf    []byte
	q      []waiting
	rung   bool // the collector was woken for what is in the queue
	closed bool
}

// waiting is an entry whose payload still is in the queue's own memory.
type waiting struct {
	entry
	size int
}

const (
	maxLocal = 4 << 20 // bytes that may wait

	// maxLine is the longest captured line that is kept whole.
	maxLine = 64 << 10
)

// urgency says what a record does when the queue is full or closed.
type urgency int

const (
	waits   urgency = iota // for room
	reports                // does not wait: a sink's runner, which must not depend on the other sinks
	own                    // the collector's goroutine: nobody else would make room, and it takes what is there after close, too
)

// put appends a record and reports whether the queue is still open.
func (l *localQueue) put(payload []byte, key int64, from *tally, pid int, stream string, u urgency, wake func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for u == waits && !l.closed && len(l.buf) > 0 && len(l.buf)+len(payload) > maxLocal {
		l.room.Wait()
	}
	if l.closed && u != own {
		return false
	}
	l.buf = append(l.buf, payload...)
	l.q = append(l.q, waiting{entry{key: key, from: from, pid: pid, stream: stream}, len(payload)})
	if !l.rung {
		l.rung = true
		wake()
	}
	return true
}

// take moves all that waits to the merger. now is a moment before.
func (l *localQueue) take(k *collection, now int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rung = false
	if len(l.q) == 0 {
		return
	}
	latest := now
	off := 0
	for _, w := range l.q {
		w.p, w.in = k.shelf.put(l.buf[off : off+w.size])
		off += w.size
		if w.key > latest {
			latest = monotonic() // it was put here meanwhile
		}
		w.arrived = now
		k.m.enqueue(&k.local, w.entry, latest)
	}
	k.m.allow(&k.local, math.MaxInt64)
	clear(l.q)
	l.q, l.buf = l.q[:0], l.buf[:0]
	if cap(l.buf) > 1<<20 {
		l.buf, l.q = nil, nil
	}
	l.room.Broadcast()
}

func (l *localQueue) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

func (l *localQueue) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.room.Broadcast()
}

// Line takes a line of a worker's captured output, without its newline: a record
// of level INFO for "stdout", WARN otherwise. A line longer than 64 KiB comes in
// pieces, all but the last with continued set. It copies the line, and waits
// while the collector is behind, which in the end holds up the worker's writes.
// It may be called from several goroutines.
func (c *Collector) Line(group string, rank, pid int, stream string, line []byte, continued bool) {
	level := slog.LevelWarn
	switch stream {
	case "stdout":
		stream, level = "stdout", slog.LevelInfo
	case "stderr":
		stream = "stderr"
	default:
		stream = strings.Clone(stream)
	}
	t := c.tallyOf(group, rank, pid)
	for first := true; first || len(line) > 0; first = false {
		piece := line[:min(len(line), maxLine)]
		line = line[len(piece):]
		e := newEncoder(time.Now(), level, stringOf(piece), c.local.maxRecord())
		if continued || len(line) > 0 {
			e.flags |= flagContinued
		}
		c.local.send(e, t, pid, stream, waits)
		e.free()
	}
}

// local is the outlet of the node's own handler.
type local struct {
	wanted
	c     *Collector
	queue localQueue
	node  *tally

	loggers *loggers
	tell    *seqlock.Writer // of the rules to loggers, with Collector.mu held

	before hooks // what has something to say before a flush or the end
}

// Handler returns the handler for the node's own records: group "node", worker
// -1. It waits while the collector is behind.
func (c *Collector) Handler() slog.Handler { return c.HandlerWith(nil) }

// HandlerWith is Handler with options.
func (c *Collector) HandlerWith(o *HandlerOptions) slog.Handler { return newHandler(&c.local, o) }

// init makes the latch through which the node's own loggers learn of the rules: the
// way of the workers, in private memory.
func (l *local) init() {
	view := make([]byte, rulesLength)
	if err := seqlock.Format(view, maxRules+rulesFixed, rulesSlots); err != nil {
		panic(err) // the length is a constant
	}
	l.tell, _ = seqlock.OpenWriter(view) // just formatted
	l.loggers, _ = newLoggers(view)
}

func (l *local) named(name string) *loggerLevel { return l.loggers.named(name) }

func (l *local) gate() *wanted  { return &l.wanted }
func (l *local) maxRecord() int { return max(l.c.o.MaxRecord, maxLine+headerSize) }

func (l *local) emit(payload []byte) error {
	return l.forward(payload, l.node, os.Getpid(), "", waits)
}

func (l *local) told(ring.Reason, uint64) {}

func (l *local) refuse(reason ring.Reason) {
	l.node.attempted.Add(1)
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	l.node.drop(ringReasons[reason], 1)
}

func (l *local) flushTo(ctx context.Context, level FlushLevel) error { return l.c.FlushTo(ctx, level) }

func (l *local) atFlush(f func()) { l.before.add(f) }

func (l *local) send(e *encoder, t *tally, pid int, stream string, u urgency) error {
	return l.forward(e.finish(l.maxRecord()), t, pid, stream, u)
}

func (l *local) forward(payload []byte, t *tally, pid int, stream string, u urgency) error {
	t.attempted.Add(1) // any goroutine; loaded by Stats after what was delivered
	key := int64(le.Uint64(payload[offKey:]))
	if !l.queue.put(payload, key, t, pid, stream, u, l.c.wakeUp) {
		l.c.mu.Lock()
		defer l.c.mu.Unlock()
		t.drop(DropClosed, 1)
		return errClosed
	}
	return nil
}

// say logs a record of the collector itself, without waiting.
func (c *Collector) say(level slog.Level, msg string, attrs ...slog.Attr) {
	e := newEncoder(time.Now(), level, msg, c.local.maxRecord())
	e.members(attrs)
	c.local.send(e, c.local.node, os.Getpid(), "", own)
	e.free()
}
