package logring

import (
	"fmt"
	"log/slog"
	"math"
	"time"
)

// A Sink takes batches of records to where they stay. The collector calls a
// sink from one goroutine of its own, so a sink needs no lock, and a slow one
// does not hold up the others.
//
// A sink must not log through the node or its workers: its records would come
// back to it for ever.
type Sink interface {
	// Write takes a batch. The records are valid until Write returns, and must
	// not be changed: other sinks read the same. An error
	// means that none of the batch is known to be written, unless it is a
	// [*WriteError], which says how much is and whether the rest may be
	// tried again.
	Write(batch []Record) error

	// Sync makes everything written durable, as far as the destination can.
	Sync() error

	// Close releases what the sink opened itself. It is called once, last.
	Close() error
}

// A WriteError is returned by a [Sink] that knows how much of a batch it wrote.
type WriteError struct {
	// Written is the number of records, from the front of the batch, that are
	// written whole.
	Written int

	// Lost is the number of records right after those that are given up.
	Lost int

	// Retry: the remaining records are certainly not written. The collector
	// offers them again, with growing pauses, for [SinkOptions.Retry].
	Retry bool

	// Torn: a part of the record after the written ones is out. The sink
	// finishes it when it is offered again, or before anything else.
	Torn bool

	Err error
}

func (e *WriteError) Error() string { return e.Err.Error() }
func (e *WriteError) Unwrap() error { return e.Err }

// SinkOptions says what a sink gets and how long it is waited for. The zero
// value means: everything, and the defaults.
type SinkOptions struct {
	// Name names the sink in errors and [SinkStats]; by default what its
	// String method says, or its type.
	Name string

	// Level is the lowest level that the sink gets; nil: all that is logged.
	Level slog.Leveler

	// Filter, if set, selects the records that the sink gets. It runs in the
	// sink's goroutine and must not keep the record.
	Filter func(*Record) bool

	// Fields, if set, selects and renames the attributes that the sink gets. The
	// filter sees a record before that.
	Fields *Fields

	// Sync says when what was written is made durable without being asked to.
	Sync SyncPolicy

	// Queue is how many bytes of records may wait for the sink, default
	// 16 MiB. What waits is what an outage may last without a loss.
	Queue int

	// Stall is how long a full queue holds up the collector (and so, in the
	// end, the workers) while the sink makes no progress, default 10 s. After that
	// the sink's records are dropped and counted until it writes again. A slow
	// sink that keeps writing is waited for. A sink whose writes fail is not
	// waited for at all. Negative: never wait.
	Stall time.Duration

	// Retry is how long a batch is offered again when its write failed with
	// [WriteError.Retry], default 10 s. For sinks that write to a service ([SQL],
	// [Syslog], [Journald], all that have a method Patient()) it is as long as it
	// takes: what their queue holds survives any outage, and what does not fit
	// into it is dropped and counted. Negative: never.
	Retry time.Duration
}

// A SyncPolicy says when a sink's Sync is called, besides at [Collector.Flush] and
// Close. The zero value: at no other time.
type SyncPolicy struct {
	Batch bool          // after every batch
	Level slog.Leveler  // after a batch with a record at or above it; nil: no level
	Every time.Duration // at most so long after a write; 0: no time
}

// A Reopener is a sink whose destination can be opened anew, as a file must be when
// somebody has renamed it. Reopen only asks for that, from any goroutine: it
// happens in the sink's own, before its next write or sync, which tells an error.
type Reopener interface{ Reopen() }

// With returns s with options of its own:
//
//	logring.With(logring.Console(os.Stderr), logring.SinkOptions{Level: slog.LevelWarn})
func With(s Sink, o SinkOptions) Sink { return optionSink{s, o} }

type optionSink struct {
	Sink
	o SinkOptions
}

func (s optionSink) Reopen() {
	if r, ok := s.Sink.(Reopener); ok {
		r.Reopen()
	}
}

// A patient sink writes to a service that may be away for a while.
type patient interface{ Patient() }

const (
	defaultQueue = 16 << 20
	defaultStall = 10 * time.Second
	defaultRetry = 10 * time.Second
)

// resolve returns the sink itself and its options with defaults filled in.
func resolveSink(s Sink) (Sink, SinkOptions) {
	var o SinkOptions
	if w, ok := s.(optionSink); ok {
		inner, io := resolveSink(w.Sink)
		s, o = inner, w.o
		if o.Name == "" {
			o.Name = io.Name
		}
	}
	if o.Name == "" && s != nil {
		if n, ok := s.(fmt.Stringer); ok {
			o.Name = n.String()
		} else {
			o.Name = fmt.Sprintf("%T", s)
		}
	}
	if o.Queue <= 0 {
		o.Queue = defaultQueue
	}
	if o.Stall == 0 {
		o.Stall = defaultStall
	}
	if _, ok := s.(patient); ok && o.Retry == 0 {
		o.Retry = math.MaxInt64
	}
	if o.Retry == 0 {
		o.Retry = defaultRetry
	}
	return s, o
}
