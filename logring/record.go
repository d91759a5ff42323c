package logring

import (
	"log/slog"
	"strings"
	"time"
)

// A Record is one log record as a sink sees it. Its strings and attributes
// point into a batch that the collector uses again: they are valid until the
// sink's Write returns. A sink that keeps a record keeps a [Record.Clone].
//
// Group, Worker and PID come from the ring or pipe that the record arrived on, never
// from what the record says. So does Stream, but for lines that a worker captured
// itself ([LineOptions].Stream).
type Record struct {
	Time    time.Time // zero if the record carries none
	Level   slog.Level
	Message string

	Group  string // the worker's group; [NodeGroup] for the node itself
	Worker int    // the worker's rank, or [NodeWorker]
	PID    int    // 0 until the worker has started
	Stream string // "stdout" or "stderr" for a captured line, else ""

	// Continued: the line was longer than a record, the next record of the
	// same stream goes on with it.
	Continued bool

	// Late: a record with a later time of another worker went before it. It was
	// seen more than [CollectorOptions.Window] after it was made.
	Late bool

	// Salvaged: a node that was killed had not written it (see [Salvage]).
	Salvaged bool

	// Truncated is how many bytes of the record did not fit and were cut, 0
	// for a whole record.
	Truncated int

	source []byte // wire form of the source position, empty if there is none
	attrs  []byte // wire form of the attributes, validated
	from   *tally // who it is counted for
}

// Who speaks when it is the node process itself.
const (
	NodeGroup  = "node"
	NodeWorker = -1
)

// NumAttrs returns the number of attributes, a group counting as one.
func (r *Record) NumAttrs() int { return countAttrs(r.attrs) }

// Source returns the position of the log call, if the record carries it.
func (r *Record) Source() (slog.Source, bool) {
	if len(r.source) == 0 {
		return slog.Source{}, false
	}
	line, file, fn := splitSource(r.source)
	return slog.Source{Function: string(fn), File: string(file), Line: line}, true
}

// Attrs calls f for each attribute in order, until f returns false. The
// attributes are copies and may be kept. A value that the worker rendered with
// encoding/json comes back as a [encoding/json.RawMessage].
func (r *Record) Attrs(f func(slog.Attr) bool) {
	c := cursor{b: r.attrs}
	for {
		a, ok := c.attr()
		if !ok || !f(a) {
			return
		}
	}
}

// Clone returns a copy of r that stays valid.
func (r *Record) Clone() Record {
	k := *r
	k.Message = strings.Clone(r.Message)
	k.source = append([]byte(nil), r.source...)
	k.attrs = append([]byte(nil), r.attrs...)
	return k
}
