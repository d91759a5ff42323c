package recfile

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"shmkit/ring"
	"shmkit/shm"
)

// A Server writes the files. It is the node's side: a resource that is donated to each
// worker.
type Server struct {
	parts    []*part // by name; the writer's goroutine's own
	ringSize int
	maxRec   int

	round int // bytes taken in this round; the writer's goroutine's own

	bell    chan struct{} // there may be something to do
	stopped chan struct{} // the writer has ended

	mu     sync.Mutex
	inlets []*inlet
	stats  map[string]*Stats
	ending bool // the writer ends when the rings are empty
	keep   bool // and leaves the files unfinished

	closing  sync.Once
	closeErr error
}

// Stats of one file: Attempted = Written + Refused + Lost + what is still in the rings.
type Stats struct {
	Attempted uint64 // records taken from the rings
	Written   uint64
	Refused   uint64 // could not be told from their neighbours: a broken worker's
	Lost      uint64 // given up because the file could not be written
}

var nameRule = regexp.MustCompile(`^[A-Za-z0-9._/-]{1,128}$`)

// NewServer opens the files by name. On an error nothing is left behind.
func NewServer(files map[string]Options) (_ *Server, err error) {
	s := &Server{bell: make(chan struct{}, 1), stopped: make(chan struct{}), stats: map[string]*Stats{}}
	defer func() {
		if err != nil {
			for _, p := range s.parts {
				p.f.Close()
				if p.size == 0 {
					os.Remove(p.opts.partial())
				}
			}
		}
	}()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !nameRule.MatchString(name) {
			return nil, &Error{name, "serve", errors.New("bad name"), "use letters, digits, '.', '_', '/' and '-', and Options.Path for the rest"}
		}
		o := files[name].withDefaults(name)
		if o.Format == Lines && slices.Contains(o.Header, '\n') {
			return nil, &Error{name, "serve", fmt.Errorf("%w: in the header", ErrNewline), "give one line"}
		}
		p, err := openPart(name, o)
		if err != nil {
			return nil, err
		}
		s.parts = append(s.parts, p)
		s.stats[name] = &Stats{}
		s.ringSize, s.maxRec = max(s.ringSize, o.RingSize), max(s.maxRec, o.MaxRecord)
	}
	go s.write()
	return s, nil
}

// inlet is the node's end of one worker's ring, and the lease.
type inlet struct {
	server *Server
	name   string
	seg    *shm.Segment
	cons   *ring.Consumer
	asleep bool // announced; the writer's goroutine's own
	took   bool // something that is not released; the same

	rung    atomic.Bool // set by Message, cleared by the writer before it looks
	ended   atomic.Bool // the worker is dead: what is in the ring is all there will be
	drained chan struct{}
	err     error // why it was given up; valid when drained is closed
}

var kindRecords = shm.KindOf("RECF")

// Donate makes a ring for one worker: a file for it to inherit and the words that tell
// how to use it, for [Attach] in the worker. The lease is to be closed when the worker
// is dead: its Close returns when everything the worker had committed is written. Its
// Message method is the worker's doorbell.
func (s *Server) Donate(group string, rank, size int) (files []*os.File, words []string, lease io.Closer, err error) {
	in := &inlet{server: s, name: fmt.Sprintf("recfile.%s.%d", group, rank), drained: make(chan struct{})}
	fail := func(err error) ([]*os.File, []string, io.Closer, error) {
		if in.seg != nil {
			in.seg.Close()
		}
		return nil, nil, nil, fmt.Errorf("recfile: ring for %s/%d: %w", group, rank, err)
	}
	n, err := ring.Size(max(s.ringSize, defaultRingSize), max(s.maxRec, defaultMaxRecord))
	if err != nil {
		return fail(err)
	}
	if in.seg, err = shm.Create(shm.Options{Name: in.name, Kind: kindRecords, Schema: 1, Size: n, HandOff: shm.ReadWrite}); err != nil {
		return fail(err)
	}
	if in.cons, err = ring.NewConsumer(in.seg.Region(), ring.ConsumerOptions{Name: in.name, Waiter: shm.Futex{}}); err != nil {
		return fail(err)
	}
	f, err := in.seg.Reopen()
	if err != nil {
		return fail(err)
	}
	s.mu.Lock()
	if s.ending {
		s.mu.Unlock()
		f.Close()
		return fail(os.ErrClosed)
	}
	s.inlets = append(s.inlets, in)
	s.mu.Unlock()
	s.ring()
	for _, p := range s.parts {
		words = append(words, fmt.Sprintf("%s=%d.%d", p.name, p.opts.Format, p.opts.MaxRecord))
	}
	return []*os.File{f}, words, in, nil
}

// Message is the worker's doorbell.
func (in *inlet) Message(_ []byte, files []*os.File) {
	for _, f := range files {
		f.Close()
	}
	in.rung.Store(true)
	in.server.ring()
}

// Close returns when all that the worker had committed is written.
func (in *inlet) Close() error {
	in.ended.Store(true)
	in.server.ring()
	<-in.drained
	return in.err
}

func (s *Server) ring() {
	select {
	case s.bell <- struct{}{}:
	default: // one is pending already
	}
}

// Stats counts the records of a file.
func (s *Server) Stats(name string) Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.stats[name]; st != nil {
		return *st
	}
	return Stats{}
}

// Close writes what is in the rings, completes the files and gives them their names.
// Close the workers' leases before; what a worker appends from now on is not written.
// Later calls return the first one's error.
func (s *Server) Close() error { return s.end(false) }

// Abandon is Close for a run that has failed: the files stay unfinished, for Resume.
func (s *Server) Abandon() error { return s.end(true) }

func (s *Server) end(keep bool) error {
	s.closing.Do(func() {
		s.mu.Lock()
		s.ending, s.keep = true, keep
		s.mu.Unlock()
		s.ring()
		<-s.stopped
		var errs []error
		for _, p := range s.parts {
			switch {
			case p.broken != nil:
				errs = append(errs, p.broken)
				p.f.Close()
			case keep:
				errs = append(errs, p.sync(), p.f.Close())
			default:
				errs = append(errs, p.finish())
			}
			if st := s.stats[p.name]; st.Lost > 0 || st.Refused > 0 {
				errs = append(errs, &Error{p.opts.Path, "complete", fmt.Errorf("%d records lost, %d refused, of %d", st.Lost, st.Refused, st.Attempted), ""})
			}
		}
		s.closeErr = errors.Join(errs...)
	})
	return s.closeErr
}

const (
	// burst is how many bytes are taken from one ring before the next one's turn.
	burst = 256 << 10

	// plenty is a round's worth of bytes that is written without waiting for more, and
	// gather how long less than that is left to grow: a write for each record, and a
	// doorbell for each write, costs the workers more than it brings.
	plenty = 64 << 10
	gather = 100 * time.Microsecond

	// retryPause is the time between two attempts to write.
	retryPause = 50 * time.Millisecond
)

// write is the writer: it takes what is in the rings, writes it, and gives the space
// back, in rounds, until it is told to end.
func (s *Server) write() {
	defer close(s.stopped)
	var inlets []*inlet
	for {
		s.mu.Lock()
		ending := s.ending
		inlets = append(inlets[:0], s.inlets...)
		s.mu.Unlock()

		busy := false
		s.round = 0
		for _, in := range inlets {
			busy = s.take(in, ending) || busy
		}
		s.flush()
		for _, in := range inlets {
			if in.took {
				in.cons.Release()
				in.took = false
			}
		}
		switch {
		case busy && !ending:
			if s.round < plenty { // little came: let more of it gather, and the workers run
				time.Sleep(gather)
			}
		case busy:
		case ending:
			for _, in := range inlets {
				s.remove(in, nil)
			}
			return
		default:
			s.wait()
		}
	}
}

// wait sleeps until a bell rings, or something written is to be flushed to the disk.
func (s *Server) wait() {
	var timer <-chan time.Time
	for _, p := range s.parts {
		if p.dirty && p.opts.Sync > 0 && p.broken == nil {
			timer = time.After(max(0, p.opts.Sync-time.Since(p.flushed)))
			break
		}
	}
	select {
	case <-s.bell:
	case <-timer:
	}
}

// take copies records out of a ring. It returns false when the ring was empty and its
// worker will ring when that changes.
func (s *Server) take(in *inlet, ending bool) (busy bool) {
	if in.asleep && !in.rung.Load() && !in.ended.Load() && !ending {
		return false
	}
	ended := in.ended.Load() // before looking: then what is there is all there will be
	in.rung.Store(false)
	if in.asleep {
		in.cons.Awake()
		in.asleep = false
	}
	taken := 0
	for taken < burst {
		rec, ok, err := in.cons.Next()
		if err == nil && ok && int(rec.Tag) >= len(s.parts) {
			err = fmt.Errorf("recfile: %s: record for file %d of %d", in.name, rec.Tag, len(s.parts))
		}
		if err != nil {
			s.remove(in, err) // the worker broke the rules: its ring is given up, no other
			return true
		}
		if !ok {
			break
		}
		in.took = true
		taken += len(rec.Payload) + frameHeader
		p := s.parts[rec.Tag]
		if p.attempted++; p.append(rec.Payload) == nil {
			p.count++
		}
	}
	if s.round += taken; taken > 0 {
		return true
	}
	if ended || ending {
		if ended {
			s.remove(in, nil)
		}
		return false
	}
	if !in.cons.Sleep() {
		return true // something came at the same moment
	}
	in.asleep = true
	return false
}

// flush writes what was taken. It returns when it is written or given up.
func (s *Server) flush() {
	for _, p := range s.parts {
		lost := p.broken != nil
		for again := !lost; again; {
			var err error
			if again, err = p.write(); again {
				time.Sleep(retryPause)
			} else if lost = err != nil; !lost {
				err = p.rotate()
			}
			if err != nil && p.opts.OnError != nil {
				p.opts.OnError(err)
			}
		}
		if p.attempted == 0 {
			continue
		}
		s.mu.Lock()
		st := s.stats[p.name]
		st.Attempted += p.attempted
		st.Refused += p.attempted - p.count
		if lost {
			st.Lost += p.count
		} else {
			st.Written += p.count
		}
		s.mu.Unlock()
		p.attempted, p.count = 0, 0
	}
}

// remove gives back a ring. err is why, if its worker broke the rules.
func (s *Server) remove(in *inlet, err error) {
	s.mu.Lock()
	i := slices.Index(s.inlets, in)
	if i >= 0 {
		s.inlets = slices.Delete(s.inlets, i, i+1)
	}
	s.mu.Unlock()
	if i < 0 {
		return
	}
	if in.took {
		in.took = false
		s.flush()
	}
	in.cons.Close()
	in.err = errors.Join(err, in.seg.Close())
	close(in.drained)
}
