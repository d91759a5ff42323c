package logring

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"

	"shmkit/internal/proctest"
	"shmkit/ring"
)

func TestMain(m *testing.M) { proctest.Main(m) }

// newCollector returns a collector that is closed when the test ends.
func newCollector(t testing.TB, o CollectorOptions) *Collector {
	t.Helper()
	c, err := NewCollector(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// onHeap attaches a writer in this process over heap memory, where the race
// detector sees every access.
func onHeap(t testing.TB, c *Collector, group string, rank int) (*Writer, *inlet) {
	t.Helper()
	view, layout := heapLease(t, &c.o)
	r, err := c.inletOver(view, layout, "heap", group, rank)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.attach(r); err != nil {
		t.Fatal(err)
	}
	w, err := newWriter(view, c.terms(), func() error { r.Message(nil, nil); return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w, r
}

// heapLease lays out a lease in heap memory.
func heapLease(t testing.TB, o *CollectorOptions) ([]byte, leaseLayout) {
	t.Helper()
	layout, err := o.plan()
	if err != nil {
		t.Fatal(err)
	}
	return wordBytes(make([]uint64, (layout.size+7)/8))[:layout.size], layout
}

func flushAll(t testing.TB, c *Collector) {
	t.Helper()
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// safeBuffer is a buffer that a test may read while a sink writes.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// objects parses JSON lines, each of which has to be one object.
func objects(t testing.TB, lines string) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(lines) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("not a JSON object: %q: %v", line, err)
		}
		all = append(all, m)
	}
	return all
}

// keeper is a sink that keeps what it gets.
type keeper struct {
	mu   sync.Mutex
	recs []Record
}

func (k *keeper) Write(batch []Record) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range batch {
		k.recs = append(k.recs, batch[i].Clone())
	}
	return nil
}

func (k *keeper) Sync() error  { return nil }
func (k *keeper) Close() error { return nil }

func (k *keeper) all() []Record {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]Record(nil), k.recs...)
}

// record runs a log call through encoder and decoder and returns what a sink
// would get.
func record(t testing.TB, max int, log func(*slog.Logger)) Record {
	t.Helper()
	p := &pipe{max: max}
	log(slog.New(newHandler(p, &HandlerOptions{AddSource: p.source})))
	if len(p.got) != 1 {
		t.Fatalf("%d records, want 1", len(p.got))
	}
	return p.record(t, 0)
}

// pipe is an outlet that keeps payloads.
type pipe struct {
	max    int
	least  slog.Level // 0: takes everything
	source bool

	mu      sync.Mutex
	got     [][]byte
	refused int
}

func (p *pipe) gate() *wanted {
	g := new(wanted)
	g.set(p.least)
	if p.least == 0 {
		g.set(math.MinInt32)
	}
	return g
}

func (p *pipe) maxRecord() int {
	if p.max == 0 {
		return defaultMaxRecord
	}
	return p.max
}

func (p *pipe) emit(payload []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = append(p.got, bytes.Clone(payload))
	return nil
}

func (p *pipe) told(ring.Reason, uint64) {}
func (p *pipe) refuse(ring.Reason) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused++
}
func (p *pipe) flushTo(context.Context, FlushLevel) error { return nil }
func (p *pipe) atFlush(func())                            {}
func (p *pipe) named(string) *loggerLevel                 { return nil }

func (p *pipe) record(t testing.TB, i int) Record {
	t.Helper()
	if len(p.got[i]) > p.maxRecord() {
		t.Fatalf("record of %d bytes, at most %d are possible", len(p.got[i]), p.maxRecord())
	}
	if _, err := parse(tagRecord, p.got[i]); err != nil {
		t.Fatalf("the encoder wrote what the decoder refuses: %v", err)
	}
	b := newBatch(1)
	b.put(p.got[i], &tally{who: who{"g", 3}}, 7, "")
	return b.recs[0]
}

// put appends a record as the collector does.
func (b *batch) put(payload []byte, from *tally, pid int, stream string) {
	var s shelf
	e := entry{from: from, pid: pid, stream: stream}
	e.p, e.in = s.put(payload)
	b.add(&e, false)
}

func jsonLine(r Record) string { return string((&jsonFormat{}).append(nil, &r)) }
