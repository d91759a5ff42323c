package logring

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// A batch is what the collector hands to the sinks: records in their final order
// and a hold on the private memory that they point into. All sinks read the same
// batch; the last one gives it back.
type batch struct {
	number  uint64 // from 1
	recs    []Record
	chunks  []*chunk
	bytes   int          // of the payloads
	born    int64        // key of the first record; 0: salvaged
	receipt *receipt     // to be marked when all sinks are done; nil if nobody waits for it
	refs    atomic.Int32 // sinks that still read it; stored and loaded by goroutines of this process
}

const (
	batchRecords = 1024
	batchBytes   = 256 << 10
)

// batches keeps full-sized ones. A small one is made to measure, since many of them
// may wait for a sink that stands still.
var batches = sync.Pool{New: func() any { return makeBatch(batchRecords) }}

func makeBatch(records int) *batch { return &batch{recs: make([]Record, 0, records)} }

// newBatch returns a batch for about so many records.
func newBatch(records int) *batch {
	if records >= batchRecords/2 {
		return batches.Get().(*batch)
	}
	return makeBatch(max(records, 1))
}

// fits reports whether a payload of n bytes may still be added. A batch takes at
// least one, whatever its size.
func (b *batch) fits(n int) bool {
	return len(b.recs) == 0 || len(b.recs) < cap(b.recs) && b.bytes+n <= batchBytes
}

// add appends a record, whose payload has been checked.
func (b *batch) add(e *entry, late bool) {
	if e.in.claimed != b.number {
		e.in.claimed = b.number
		e.in.refs.Add(1)
		b.chunks = append(b.chunks, e.in)
	}
	b.bytes += len(e.p)
	if len(b.recs) == 0 && !e.salvaged {
		b.born = e.key
	}
	b.recs = b.recs[:len(b.recs)+1]
	r := &b.recs[len(b.recs)-1]
	w := split(e.p)
	*r = Record{
		Level: slog.Level(w.level), Message: stringOf(w.msg),
		Group: e.from.group, Worker: e.from.rank, PID: e.pid, Stream: e.stream,
		Continued: w.flags&flagContinued != 0, Truncated: int(w.cut), Late: late, Salvaged: e.salvaged,
		source: w.source, attrs: w.attrs, from: e.from,
	}
	if r.Stream == "" {
		r.Stream = streamOf(w.flags)
	}
	if w.flags&flagNoTime == 0 {
		r.Time = time.Unix(0, w.time)
	}
}

// size is the memory of the batch, which is what it counts for in a queue.
func (b *batch) size() int { return b.bytes + cap(b.recs)*recordSize }

// done gives the batch back once all sinks have.
func (b *batch) done() {
	if b.refs.Add(-1) > 0 {
		return
	}
	if r := b.receipt; r != nil {
		b.receipt = nil
		r.done.Store(true)
		r.wake()
	}
	for _, k := range b.chunks {
		k.done()
	}
	clear(b.chunks)
	b.chunks = b.chunks[:0]
	if cap(b.recs) == batchRecords {
		clear(b.recs)
		b.recs, b.bytes, b.born = b.recs[:0], 0, 0
		batches.Put(b)
	}
}
