package logring

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// A batch is what the collector hands to the sinks: records in their final order
// and the private memory that they point into. All sinks read the same batch; the
// last one gives it back.
type batch struct {
	recs []Record
	buf  []byte
	refs atomic.Int32 // sinks that still read it; stored and loaded by goroutines of this process
}

const (
	batchRecords = 1024
	batchBytes   = 256 << 10
)

// batches keeps full-sized ones. A small one is made to measure, since many of them
// may wait for a sink that stands still.
var batches = sync.Pool{New: func() any { return makeBatch(batchRecords, batchBytes) }}

func makeBatch(records, bytes int) *batch {
	return &batch{recs: make([]Record, 0, records), buf: make([]byte, 0, bytes)}
}

// newBatch returns a batch for about so many records and bytes.
func newBatch(records, bytes int) *batch {
	if records >= batchRecords/2 || bytes >= batchBytes/2 {
		return batches.Get().(*batch)
	}
	return makeBatch(max(records, 1), bytes)
}

// fits reports whether a payload of n bytes may still be added. A batch takes at
// least one, whatever its size.
func (b *batch) fits(n int) bool {
	return len(b.recs) == 0 || len(b.recs) < cap(b.recs) && len(b.buf)+n <= cap(b.buf)
}

// add appends a record, copying its payload, which has been checked.
func (b *batch) add(payload []byte, from *tally, pid int, stream string) {
	at := len(b.buf)
	b.buf = append(b.buf, payload...)
	p := b.buf[at:]
	w := split(p)
	b.recs = append(b.recs, Record{})
	r := &b.recs[len(b.recs)-1]
	if w.flags&flagNoTime == 0 {
		r.Time = time.Unix(0, w.time)
	}
	r.Level = slog.Level(w.level)
	r.Message = stringOf(w.msg)
	r.Group, r.Worker, r.PID, r.Stream = from.group, from.rank, pid, stream
	r.Continued = w.flags&flagContinued != 0
	r.Truncated = int(w.cut)
	r.source, r.attrs = w.source, w.attrs
	r.from = from
}

// size is the memory of the batch, which is what it counts for in a queue.
func (b *batch) size() int { return cap(b.buf) + cap(b.recs)*recordSize }

// done gives the batch back once all sinks have.
func (b *batch) done() {
	if b.refs.Add(-1) > 0 {
		return
	}
	if cap(b.recs) == batchRecords && cap(b.buf) == batchBytes {
		clear(b.recs)
		b.recs, b.buf = b.recs[:0], b.buf[:0]
		batches.Put(b)
	}
}
