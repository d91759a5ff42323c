package ringtest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"sync"
	"testing"
	"time"

	"shmkit/internal/proctest"
	"shmkit/ring"
)

// A mutant is a ring with one planted bug.
type mutant struct {
	name  string
	trips []string // cases that notice it
	p     func(Producer) Producer
	c     func(Consumer) Consumer
	// before changes the view before an end attaches.
	before func(view []byte)
	// attach replaces the errors of attaching.
	attach func(err error) error
}

// Producers and consumers that do one thing wrong.
type (
	brokenProducer struct {
		Producer
		reserve func(p Producer, n int) ([]byte, error)
		commit  func(p Producer, n int, tag uint32)
		abort   func(p Producer)
		flush   func(p Producer) error
		drop    func(p Producer, r ring.Reason, n int)
		stats   func(p Producer) ring.Stats
		close   func(p Producer) error
	}
	brokenConsumer struct {
		Consumer
		next    func(c Consumer) (ring.Record, bool, error)
		batch   func(c Consumer, max int) iter.Seq[ring.Record]
		release func(c Consumer)
		wait    func(c Consumer, ctx context.Context) error
		sleep   func(c Consumer) bool
		stats   func(c Consumer) ring.Stats
		close   func(c Consumer) error
	}
)

func (b *brokenProducer) Reserve(n int) ([]byte, error) {
	if b.reserve != nil {
		return b.reserve(b.Producer, n)
	}
	return b.Producer.Reserve(n)
}

func (b *brokenProducer) ReserveContext(ctx context.Context, n int) ([]byte, error) {
	if b.reserve != nil {
		return b.reserve(b.Producer, n)
	}
	return b.Producer.ReserveContext(ctx, n)
}

func (b *brokenProducer) Commit(n int, tag uint32) {
	if b.commit != nil {
		b.commit(b.Producer, n, tag)
		return
	}
	b.Producer.Commit(n, tag)
}

func (b *brokenProducer) Abort() {
	if b.abort != nil {
		b.abort(b.Producer)
		return
	}
	b.Producer.Abort()
}

func (b *brokenProducer) Flush() error {
	if b.flush != nil {
		return b.flush(b.Producer)
	}
	return b.Producer.Flush()
}

func (b *brokenProducer) Write(tag uint32, payload []byte) error {
	buf, err := b.Reserve(len(payload))
	if err != nil {
		return err
	}
	copy(buf, payload)
	b.Commit(len(payload), tag)
	return b.Flush()
}

func (b *brokenProducer) Drop(r ring.Reason, n int) {
	if b.drop != nil {
		b.drop(b.Producer, r, n)
		return
	}
	b.Producer.Drop(r, n)
}

func (b *brokenProducer) Stats() ring.Stats {
	if b.stats != nil {
		return b.stats(b.Producer)
	}
	return b.Producer.Stats()
}

func (b *brokenProducer) Close() error {
	if b.close != nil {
		return b.close(b.Producer)
	}
	return b.Producer.Close()
}

func (b *brokenConsumer) Next() (ring.Record, bool, error) {
	if b.next != nil {
		return b.next(b.Consumer)
	}
	return b.Consumer.Next()
}

func (b *brokenConsumer) Batch(max int) iter.Seq[ring.Record] {
	if b.batch != nil {
		return b.batch(b.Consumer, max)
	}
	return b.Consumer.Batch(max)
}

func (b *brokenConsumer) Release() {
	if b.release != nil {
		b.release(b.Consumer)
		return
	}
	b.Consumer.Release()
}

func (b *brokenConsumer) Wait(ctx context.Context) error {
	if b.wait != nil {
		return b.wait(b.Consumer, ctx)
	}
	return b.Consumer.Wait(ctx)
}

func (b *brokenConsumer) Sleep() bool {
	if b.sleep != nil {
		return b.sleep(b.Consumer)
	}
	return b.Consumer.Sleep()
}

func (b *brokenConsumer) Stats() ring.Stats {
	if b.stats != nil {
		return b.stats(b.Consumer)
	}
	return b.Consumer.Stats()
}

func (b *brokenConsumer) Close() error {
	if b.close != nil {
		return b.close(b.Consumer)
	}
	return b.Consumer.Close()
}

func producer(b brokenProducer) func(Producer) Producer {
	return func(p Producer) Producer { c := b; c.Producer = p; return &c }
}

func consumer(b brokenConsumer) func(Consumer) Consumer {
	return func(c Consumer) Consumer { d := b; d.Consumer = c; return &d }
}

// wipe is what an end does that formats the ring when it attaches.
func wipe(view []byte) { clear(view[:8192]) }

func mutants() []mutant {
	calls := 0
	return []mutant{
		{name: "a record in 50 is not published", trips: []string{"a long stream keeps order", "a stream verified by both sides"}, p: producer(brokenProducer{commit: func(p Producer, n int, tag uint32) {
			if calls++; calls%50 == 0 {
				p.Abort()
				return
			}
			p.Commit(n, tag)
		}})},
		{name: "nothing is published", trips: []string{"commit is visible at once"}, p: producer(brokenProducer{commit: func(p Producer, n int, tag uint32) { p.Abort() }})},
		{name: "the tag is lost", trips: []string{"a record comes out as it went in"}, p: producer(brokenProducer{commit: func(p Producer, n int, tag uint32) { p.Commit(n, 0) }})},
		{name: "the length is rounded up", trips: []string{"commit may be shorter than the reservation"}, p: producer(brokenProducer{commit: func(p Producer, n int, tag uint32) { p.Commit((n+7)&^7, tag) }})},
		{name: "reservations are longer than asked", trips: []string{"nothing is lost without need", "overwriting never waits"}, p: producer(brokenProducer{reserve: func(p Producer, n int) ([]byte, error) { return p.Reserve(n + 8) }})},
		{name: "abort publishes", trips: []string{"reserved is not visible"}, p: producer(brokenProducer{abort: func(p Producer) { p.Commit(8, 0) }})},
		{name: "reserve publishes what was reserved before", trips: []string{"a second reservation replaces the first"}, p: producer(brokenProducer{reserve: func(p Producer, n int) ([]byte, error) {
			p.Commit(4, 1)
			p.Flush()
			return p.Reserve(n)
		}})},
		{name: "reserve never waits", trips: []string{"reserve ends with its context or deadline", "a parked producer wakes"}, p: producer(brokenProducer{reserve: func(p Producer, n int) ([]byte, error) { return p.TryReserve(n) }})},
		{name: "reserve waits for ever", trips: []string{"a full ring blocks for MaxWait at most"}, p: producer(brokenProducer{reserve: func(p Producer, n int) ([]byte, error) {
			return p.ReserveContext(context.Background(), n)
		}})},
		{name: "flush does nothing", trips: []string{"one wake for each sleep"}, p: producer(brokenProducer{flush: func(p Producer) error { return nil }})},
		{name: "errors are swallowed", trips: []string{"commit needs a reservation"}, p: producer(brokenProducer{flush: func(p Producer) error { p.Flush(); return nil }})},
		{name: "drops are not counted", trips: []string{"a full ring drops the new record", "try does not count", "a record too large is refused"}, p: producer(brokenProducer{
			drop:  func(p Producer, r ring.Reason, n int) {},
			stats: func(p Producer) ring.Stats { s := p.Stats(); s.Dropped = ring.Drops{}; return s },
		})},
		{name: "the producer miscounts", trips: []string{"the counts add up", "a successor of the producer goes on", "the count survives a death before its note"}, p: producer(brokenProducer{stats: func(p Producer) ring.Stats { s := p.Stats(); s.Committed--; return s }})},
		{name: "the second close fails", trips: []string{"closed ends say so"}, p: producer(brokenProducer{close: func(p Producer) error {
			if err := p.Flush(); err != nil {
				return err
			}
			return p.Close()
		}})},
		{name: "closing a producer leaves it waiting", trips: []string{"close ends waits"}, p: producer(brokenProducer{close: func(p Producer) error { return nil }})},
		{name: "a bit flips", trips: []string{"every length at every offset"}, c: consumer(brokenConsumer{next: func(c Consumer) (ring.Record, bool, error) {
			r, ok, err := c.Next()
			if len(r.Payload) > 0 {
				p := append([]byte{}, r.Payload...)
				p[len(p)-1] ^= 4
				r.Payload = p
			}
			return r, ok, err
		}})},
		{name: "a record comes that is not there", trips: []string{"reserved is not visible"}, c: consumer(brokenConsumer{next: func(c Consumer) (ring.Record, bool, error) {
			r, ok, err := c.Next()
			return r, ok || err == nil, err
		}})},
		{name: "no record comes", trips: []string{"commit is visible at once"}, c: consumer(brokenConsumer{
			next:  func(c Consumer) (ring.Record, bool, error) { return ring.Record{}, false, nil },
			batch: func(c Consumer, max int) iter.Seq[ring.Record] { return func(func(ring.Record) bool) {} },
			sleep: func(c Consumer) bool { return true },
			wait: func(c Consumer, ctx context.Context) error {
				<-ctx.Done()
				return ctx.Err()
			},
		})},
		{name: "read is released", trips: []string{"unreleased records are not overwritten"}, c: consumer(brokenConsumer{
			next: func(c Consumer) (ring.Record, bool, error) { r, ok, err := c.Next(); c.Release(); return r, ok, err },
			batch: func(c Consumer, max int) iter.Seq[ring.Record] {
				return func(yield func(ring.Record) bool) {
					for r := range c.Batch(max) {
						c.Release()
						if !yield(r) {
							return
						}
					}
				}
			},
		})},
		{name: "nothing is released", trips: []string{"the whole capacity can be used", "release gives back what was read"}, c: consumer(brokenConsumer{release: func(c Consumer) {}})},
		{name: "batch has no limit", trips: []string{"batch returns at most max"}, c: consumer(brokenConsumer{batch: func(c Consumer, max int) iter.Seq[ring.Record] { return c.Batch(0) }})},
		{name: "batch reads to its end", trips: []string{"leaving a batch leaves the rest"}, c: consumer(brokenConsumer{batch: func(c Consumer, max int) iter.Seq[ring.Record] {
			return func(yield func(ring.Record) bool) {
				on := true
				for r := range c.Batch(max) {
					on = on && yield(r)
				}
			}
		}})},
		{name: "gaps are not told", trips: []string{"a gap is told once and exactly", "a lapped reader gets whole records"}, c: consumer(brokenConsumer{next: func(c Consumer) (ring.Record, bool, error) {
			for {
				r, ok, err := c.Next()
				if gap := (*ring.GapError)(nil); !errors.As(err, &gap) {
					return r, ok, err
				}
			}
		}, batch: func(c Consumer, max int) iter.Seq[ring.Record] {
			return func(yield func(ring.Record) bool) {
				for r := range c.Batch(max) {
					if !yield(r) {
						return
					}
				}
				for gap := (*ring.GapError)(nil); errors.As(c.Err(), &gap); {
					for r := range c.Batch(max) {
						if !yield(r) {
							return
						}
					}
				}
			}
		}})},
		{name: "slices show what is written later", trips: []string{"held records outlive overwriting"}, c: consumer(brokenConsumer{next: func() func(c Consumer) (ring.Record, bool, error) {
			var one [256]byte
			return func(c Consumer) (ring.Record, bool, error) {
				r, ok, err := c.Next()
				if ok {
					r.Payload = one[:copy(one[:], r.Payload)]
				}
				return r, ok, err
			}
		}()})},
		{name: "corruption is not told", trips: []string{"a hostile tail is quarantined", "a hostile length is quarantined", "a hostile oldest is quarantined"}, c: consumer(brokenConsumer{next: func(c Consumer) (ring.Record, bool, error) {
			r, ok, err := c.Next()
			if bad := (*ring.CorruptError)(nil); errors.As(err, &bad) {
				err = nil
			}
			return r, ok, err
		}})},
		{name: "reserve hides corruption", trips: []string{"a hostile head is quarantined"}, p: producer(brokenProducer{reserve: func(p Producer, n int) ([]byte, error) {
			b, err := p.Reserve(n)
			if bad := (*ring.CorruptError)(nil); errors.As(err, &bad) {
				err = ring.ErrFull
			}
			return b, err
		}})},
		{name: "wait does not wait", trips: []string{"wait ends with its context or deadline", "a parked consumer wakes", "a producer that waits has flushed"}, c: consumer(brokenConsumer{wait: func(c Consumer, ctx context.Context) error { return nil }})},
		{name: "wait ignores records when its context has ended", trips: []string{"wait finds what is there"}, c: consumer(brokenConsumer{wait: func(c Consumer, ctx context.Context) error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return c.Wait(ctx)
		}})},
		{name: "sleep is never announced", trips: []string{"nobody sleeps over a record"}, c: consumer(brokenConsumer{sleep: func(c Consumer) bool { return true }})},
		{name: "sleep is announced before each look", trips: []string{"an awake consumer is not woken"}, c: consumer(brokenConsumer{next: func(c Consumer) (ring.Record, bool, error) {
			c.Sleep()
			return c.Next()
		}})},
		{name: "sleep is announced once", trips: []string{"falling asleep twice is two sleeps"}, c: func() func(Consumer) Consumer {
			return func(c Consumer) Consumer {
				slept := false
				return &brokenConsumer{Consumer: c, sleep: func(c Consumer) bool { was := slept; slept = true; return was || c.Sleep() }}
			}
		}()},
		{name: "the consumer miscounts", trips: []string{"the counts add up", "a successor of the consumer starts at what was not released", "a release survives a death in its middle"}, c: consumer(brokenConsumer{stats: func(c Consumer) ring.Stats { s := c.Stats(); s.Delivered++; return s }})},
		{name: "losses are not counted", trips: []string{"overwriting keeps the newest"}, c: consumer(brokenConsumer{stats: func(c Consumer) ring.Stats { s := c.Stats(); s.Lost = 0; return s }})},
		{name: "the second close of a consumer fails", trips: []string{"closed ends say so"}, c: func(c Consumer) Consumer {
			closed := false
			return &brokenConsumer{Consumer: c, close: func(c Consumer) error {
				if closed {
					return os.ErrClosed
				}
				closed = true
				return c.Close()
			}}
		}},
		{name: "closing a consumer leaves it open", trips: []string{"one producer, one consumer"}, c: consumer(brokenConsumer{close: func(c Consumer) error { return nil }})},
		{name: "attaching formats the ring", trips: []string{"a hostile image is refused at attach"}, before: wipe},
		{name: "attaching reports nothing by its type", trips: []string{"a successor in an overwriting ring goes on", "one producer, one consumer"}, attach: func(err error) error {
			if err != nil {
				err = fmt.Errorf("%v", err)
			}
			return err
		}},
		{name: "dirt in a new ring", trips: []string{"zeros are an empty ring"}, before: func(view []byte) {
			if view[4096] == 0 {
				view[4096] = 8
			}
		}},
		{name: "attaching wakes nobody", trips: []string{"a successor wakes for its predecessor"}, before: func(view []byte) { view[128] &^= 1 }},
		{name: "one quarantine is all", trips: []string{"quarantine is for one ring"}, c: func() func(c Consumer) Consumer {
			var bad error
			return consumer(brokenConsumer{next: func(c Consumer) (ring.Record, bool, error) {
				if bad != nil {
					return ring.Record{}, false, bad
				}
				r, ok, err := c.Next()
				bad = err
				return r, ok, err
			}})
		}()},
	}
}

// open makes rings with the planted bug.
func (m mutant) open(_ testing.TB, size int) Ring {
	view := make([]byte, size)
	prepare := func() {
		if m.before != nil {
			m.before(view)
		}
	}
	refuse := func(err error) error {
		if m.attach != nil {
			err = m.attach(err)
		}
		return err
	}
	return Ring{
		ProducerView: view, ConsumerView: view,
		NewProducer: func(view []byte, o ring.ProducerOptions) (Producer, error) {
			prepare()
			p, err := ring.NewProducer(view, o)
			if err != nil {
				return nil, refuse(err)
			}
			if m.p != nil {
				return m.p(p), nil
			}
			return p, nil
		},
		NewConsumer: func(view []byte, o ring.ConsumerOptions) (Consumer, error) {
			prepare()
			c, err := ring.NewConsumer(view, o)
			if err != nil {
				return nil, refuse(err)
			}
			if m.c != nil {
				return m.c(c), nil
			}
			return c, nil
		},
	}
}

// The helper runs what is expected to trip, and prints what does not. It is a
// process of its own since a broken ring may leave goroutines waiting for ever.
var _ = proctest.Helper("mutants", func([]string) {
	byName := map[string]Case{}
	for _, c := range Cases() {
		byName[c.Name] = c
	}
	tripped := map[string]bool{}
	var wg sync.WaitGroup
	for _, m := range mutants() {
		for _, name := range m.trips {
			c, ok := byName[name]
			if !ok {
				fmt.Printf("there is no case %q\n", name)
				continue
			}
			tripped[name] = true
			wg.Go(func() {
				done := make(chan error, 1)
				go func() { done <- c.Check(nil, m.open, time.Second) }()
				select {
				case err := <-done:
					if err == nil {
						fmt.Printf("%q does not notice that %s\n", c.Name, m.name)
					}
				case <-time.After(10 * time.Second):
				}
			})
		}
	}
	wg.Wait()
	for name := range byName {
		if !tripped[name] {
			fmt.Printf("no planted bug trips %q\n", name)
		}
	}
})

// Each planted bug is noticed by the cases that are there for it, and there is no
// case that none of them trips: a case that cannot fail proves nothing.
func TestSuiteNoticesPlantedBugs(t *testing.T) {
	cmd := proctest.Command(t, "mutants")
	// Some of the bugs are data races; what counts is whether a case notices them.
	cmd.Env, cmd.Stderr = append(cmd.Env, "GORACE=exitcode=0"), nil
	out, err := cmd.Output()
	if err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}
