package logring

import (
	"errors"
	"log/slog"
	"os"
	"slices"
	"time"
)

// An outage is the time from a sink's first failure to its next success. It is told
// in two records of the node, one at each end, which go to all sinks. Two things
// keep a sink from being fed with its own failures for ever: an outage that only
// such records have run into is not told, and neither is one that begins soon after
// the last one that was. What happened shows in [SinkStats] all the same.
type outage struct {
	since time.Time // zero: no outage
	told  bool
	lost  uint64    // dropped before it
	over  time.Time // when the last told one was
}

// outageQuiet is the least time between the end of a told outage and the next one
// that is told.
const outageQuiet = 10 * time.Second

// The messages of those records.
const (
	msgSinkFailed = "log sink failed"
	msgSinkWorks  = "log sink works again"
)

var errNoProgress = errors.New("makes no progress, and its queue is full")

// A teller logs a record of the node without waiting for anything: it is called
// with the runner's lock held.
type teller func(level slog.Level, msg string, attrs ...slog.Attr)

// failed notes a failure, which recs ran into; nil: not known which.
func (r *runner) failed(o *outage, err error, recs []Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !o.since.IsZero() {
		return
	}
	o.since, o.lost = time.Now(), sum(r.stats.Dropped)
	o.told = r.tell != nil && o.since.Sub(o.over) >= outageQuiet && !onlyReports(recs)
	if o.told {
		r.tell(slog.LevelError, msgSinkFailed, slog.String("sink", r.o.Name), slog.String("error", err.Error()))
	}
}

// works ends an outage.
func (r *runner) works(o *outage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o.since.IsZero() {
		return
	}
	after := time.Since(o.since)
	o.since = time.Time{}
	if o.told {
		o.over = time.Now()
		r.tell(slog.LevelWarn, msgSinkWorks, slog.String("sink", r.o.Name),
			slog.Duration("after", after), slog.Uint64("lost", sum(r.stats.Dropped)-o.lost))
	}
}

// onlyReports tells records that are about sinks from all others.
func onlyReports(recs []Record) bool {
	return len(recs) > 0 && !slices.ContainsFunc(recs, func(r Record) bool {
		return r.Group != NodeGroup || r.Worker != NodeWorker || r.Message != msgSinkFailed && r.Message != msgSinkWorks
	})
}

// tell is the teller of the collector's sinks. Once Close has begun, there is nobody
// left to tell: its error says what failed.
func (c *Collector) tell(level slog.Level, msg string, attrs ...slog.Attr) {
	if c.local.queue.isClosed() {
		return
	}
	e := newEncoder(time.Now(), level, msg, c.local.maxRecord())
	e.members(attrs)
	c.local.send(e, c.local.node, os.Getpid(), "", reports)
	e.free()
}
