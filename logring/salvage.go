package logring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"

	"shmkit/internal/filelock"
	"shmkit/ring"
	"shmkit/shm"
)

// SalvageOptions for [Salvage].
type SalvageOptions struct {
	Sinks []Sink // get the records; they are closed at the end
	Keep  bool   // leave the files where they are
}

// Salvaged is what was found in a crash directory.
type Salvaged struct {
	Segments int     // of workers whose node is dead
	Records  uint64  // in them, that the node had not written
	Live     int     // segments of living nodes, which were left alone
	Damaged  []error // what could not be read; the files are left alone unless a part could be
}

// Salvage hands to the sinks what killed nodes had not written: every record whose
// log call had returned and that was not yet written by all sinks of its node. They
// come in one order by time, marked as [Record.Salvaged]. When all sinks have
// written them the files are removed; if one has not, they stay, and the error
// says which.
//
// A record that the node had just written, when it was killed before it could
// note that, comes once more.
//
// A [Collector] with that [CollectorOptions.CrashDir] does the same when it starts.
func Salvage(ctx context.Context, dir string, o SalvageOptions) (Salvaged, error) {
	co := CollectorOptions{Sinks: o.Sinks}
	if err := co.check(); err != nil {
		co.closeSinks()
		return Salvaged{}, err
	}
	s, err := openSalvage(dir)
	if err != nil {
		co.closeSinks()
		return Salvaged{}, err
	}
	s.keep, s.quiet = o.Keep, true
	c := startCollector(co, s)
	err = c.Close(ctx)
	return s.found, errors.Join(err, s.err)
}

// A salvage is what is left in a crash directory, and the right to take it.
type salvage struct {
	dir   string
	lock  *filelock.Lock
	all   []*remain
	found Salvaged
	keep  bool
	quiet bool  // says nothing through the collector
	err   error // why the files are still there
}

// A remain is the segment of one worker of a dead node: a copy in private memory, since
// a worker that outlived its node may still write into it.
type remain struct {
	name   string
	group  string
	rank   int
	view   []byte
	layout leaseLayout
}

// openSalvage reads a crash directory. The error is a [filelock.LockedError] when
// another process salvages it.
func openSalvage(dir string) (*salvage, error) {
	fail := func(err error) (*salvage, error) { return nil, fmt.Errorf("logring: salvage %s: %w", dir, err) }
	names, err := os.ReadDir(dir)
	if err != nil {
		return fail(fmt.Errorf("%w: name the CrashDir of the node", err))
	}
	s := &salvage{dir: dir}
	if s.lock, err = filelock.Beside(filepath.Join(dir, "salvage")); err != nil {
		return fail(err)
	}
	for _, n := range names {
		if !strings.HasPrefix(n.Name(), crashPrefix) {
			continue
		}
		r, live, err := openRemain(dir, n.Name())
		switch {
		case errors.Is(err, os.ErrNotExist): // its node has ended meanwhile
		case err != nil:
			s.found.Damaged = append(s.found.Damaged, err)
		case live:
			s.found.Live++
		default:
			s.all = append(s.all, r)
			s.found.Segments++
		}
	}
	if len(s.all) == 0 {
		s.close()
	}
	return s, nil
}

func (s *salvage) close() {
	if s.lock != nil {
		s.lock.Release()
		s.lock = nil
	}
}

// openRemain copies a segment out, if its node is dead.
func openRemain(dir, name string) (r *remain, live bool, err error) {
	r = &remain{name: name}
	var ok bool
	if _, r.group, r.rank, ok = parseCrashName(name); !ok {
		return nil, false, fmt.Errorf("logring: salvage %s: %q is no segment's name: remove the file if nobody needs it", dir, name)
	}
	seg, err := shm.OpenNamed(dir, shm.Expect{Name: name, Kind: shm.KindOf(segmentKind), Schema: formatVersion, Salvage: true})
	if err != nil {
		return nil, false, fmt.Errorf("logring: salvage: %w", err)
	}
	defer seg.Close()
	if !seg.Info().Stale {
		return nil, true, nil
	}
	// The pages of each ring come in the order head, tail, data: what the copied tail
	// says is there was there, and with the node dead nobody gives space back.
	err = seg.Access(func(region []byte) error {
		r.view = append(make([]byte, 0, len(region)), region...)
		return nil
	})
	if err == nil {
		r.layout, err = readLayout(r.view)
	}
	if err != nil {
		return nil, false, fmt.Errorf("logring: salvage %s: %w", filepath.Join(dir, name), err)
	}
	return r, false, nil
}

// salvage hands on what is left, before anything else.
func (k *collection) salvage(s *salvage) {
	if s == nil || len(s.all) == 0 {
		return
	}
	for _, r := range s.all {
		t := k.c.tallyOf(r.group, r.rank, 0)
		n, err := k.takeRemain(r, t)
		t.attempted.Add(n)
		s.found.Records += n
		if err != nil {
			s.found.Damaged = append(s.found.Damaged, fmt.Errorf("logring: salvage %s: %w", filepath.Join(s.dir, r.name), err))
		}
		r.view = nil
	}
	before := k.c.lost()
	k.m.upTo(math.MaxInt64, k.emit)
	k.hand()
	k.m.newest = math.MinInt64 // these were wall times
	done := &receipt{then: func() { s.finish(k.c.lost() - before) }}
	done.done.Store(true) // settled after the batches before it
	k.receipts = append(k.receipts, done)
	if !s.quiet {
		k.c.say(slog.LevelWarn, "records of a killed node salvaged", slog.String("dir", s.dir),
			slog.Int("segments", s.found.Segments), slog.Uint64("records", s.found.Records), slog.Int("damaged", len(s.found.Damaged)))
	}
}

// takeRemain queues the records of a segment for merging, by wall time, as the nodes
// that left them need not be of the same boot.
func (k *collection) takeRemain(r *remain, t *tally) (n uint64, err error) {
	clock := nodePageOf(r.view).clock.load()
	wall := clock.wall - clock.mono
	dict := definitions{words: &workerPageOf(r.view).words, mem: r.layout.dict(r.view)}
	pid := int(load32(&nodePageOf(r.view).pid))
	var errs []error
	for i, spot := range r.layout.rings {
		if spot.class == classBacktrace && load32(&workerPageOf(r.view).closed) != 0 {
			continue // nothing has gone wrong
		}
		cons, err := ring.NewConsumer(r.layout.view(r.view, i), ring.ConsumerOptions{Name: r.name})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s := &source{last: math.MinInt64}
		for {
			rec, ok, err := cons.Next()
			var gap *ring.GapError
			if errors.As(err, &gap) {
				continue
			}
			if err != nil || !ok {
				errs = append(errs, err)
				break
			}
			in := k.shelf.open(2*len(rec.Payload) + usualGrowth)
			b, key, _, err := dict.take(in.buf, rec, &clock, wall)
			if err != nil {
				errs = append(errs, err)
				break
			}
			if spot.class == classBacktrace {
				b = markBacktrace(b[:len(in.buf)], bytes.Clone(b[len(in.buf):]))
			}
			p := b[len(in.buf):len(b):len(b)]
			in.buf = b
			k.m.enqueue(s, entry{key: key + wall, p: p, in: in, from: t, pid: pid, salvaged: true}, math.MaxInt64)
			n++
		}
		cons.Close()
		k.m.allow(s, math.MaxInt64)
	}
	return n, errors.Join(errs...)
}

// finish removes the files, unless a sink has lost something meanwhile.
func (s *salvage) finish(lost uint64) {
	defer s.close()
	if lost > 0 {
		s.err = fmt.Errorf("logring: salvage %s: sinks dropped %d records: the files are left there: mend the sink and try again", s.dir, lost)
	}
	if s.keep || lost > 0 {
		return
	}
	var errs []error
	for _, r := range s.all {
		errs = append(errs, shm.RemoveStale(s.dir, r.name))
	}
	if err := errors.Join(errs...); err != nil {
		s.err = fmt.Errorf("logring: salvage: written, but not removed: %w", err)
	}
}

// lost is how many records the sinks have dropped.
func (c *Collector) lost() (n uint64) {
	for _, r := range c.sinks {
		n += sum(r.snapshot().Dropped)
	}
	return n
}

// keeps reports whether space in the rings is given back only when records are written.
func (c *Collector) keeps() bool { return c.o.CrashDir != "" || c.left != nil }

// settleRest settles what is written after the collector's goroutine has ended and
// the sinks are closed, and lets go of all segments.
func (k *collection) settleRest() {
	k.settle()
	for _, r := range k.leaving {
		r.forget()
	}
	k.leaving = nil
	if s := k.c.left; s != nil && s.lock != nil { // a sink has not ended
		s.err = fmt.Errorf("logring: salvage %s: not written in time: the files are left there", s.dir)
		s.close()
	}
}
