package shm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/edsrzf/mmap-go"
)

// A Segment is memory that this process shares with others. Its methods may be
// called from several goroutines at once.
//
// A segment stays mapped until Close, however unreachable it becomes: a slice of
// its region does not keep it alive, so the garbage collector must not unmap it.
type Segment struct {
	name    string
	h       header // private copy, checked once; the one in shared memory is never read again
	access  Access
	opts    Options    // as given by the owner; zero in an attached segment
	file    *os.File   // the owner's descriptor; nil in an attached segment
	claim   *ownership // of a name; nil if anonymous or attached
	info    Info       // the parts that never change
	mapping mmap.MMap
	region  []byte
	state   stateWord

	mu      sync.Mutex
	views   int           // handed out and not released
	idle    chan struct{} // closed when views falls to 0; nil unless a CloseWait waits
	waiting int           // calls of CloseWait that wait; no new views meanwhile
	closed  bool
	fault   *FaultError // set once by quarantine
}

// Info describes a segment. What the creator says of itself (CreatorPID) is for
// messages: a pid proves nothing.
type Info struct {
	Name       string
	Path       string // of a named segment made or opened by this process
	UUID       UUID   // the same through all generations
	Generation int    // 1 for a new segment, one more for each Grow
	Kind       Kind
	Schema     uint64
	Size       int    // bytes of the region
	Total      int    // bytes reserved: header page, region, rounding
	Owner      bool   // made by this process
	Stale      bool   // opened by Salvage after its owner was gone
	Access     Access // how it is mapped here
	HandOff    Access // what others may get
	Sealed     bool   // cannot be truncated under us; a named segment never is

	PageBytes  int    // size of the pages behind it: the system's, or the huge page's
	HugeBytes  int    // bytes that were backed by huge pages when it was made or attached
	HugeNote   string // why fewer than asked for, "" if all or none were asked for
	Prefaulted bool
	Locked     bool

	CreatorPID int
}

// Region returns the shared bytes: Options.Size of them, page-aligned, zero when
// new. The slice is valid until Close; after that, and after a fault
// ([ErrQuarantined]), Region returns nil. Code that cannot know when that is
// takes a [View] instead. In a named segment the memory can vanish when
// somebody truncates the file: reach it through [Segment.Access].
func (s *Segment) Region() []byte {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.fault != nil {
		return nil
	}
	return s.region
}

// Name returns the name the segment was made or attached with.
func (s *Segment) Name() string {
	if s == nil {
		return ""
	}
	return s.name
}

// Info describes the segment. It works after Close as well.
func (s *Segment) Info() Info {
	if s == nil {
		return Info{}
	}
	return s.info
}

// A View is a counted use of a region: while it is out, the memory stays mapped.
type View struct {
	mu  sync.Mutex
	seg *Segment
	b   []byte
}

// View returns a view of the region, to be released once. The error is
// os.ErrClosed after Close or while CloseWait waits, and [ErrQuarantined] after
// a fault.
func (s *Segment) View() (*View, error) {
	b, err := s.acquire("view")
	if err != nil {
		return nil, err
	}
	return &View{seg: s, b: b}, nil
}

// Bytes returns the region, valid until Release, and nil after it.
func (v *View) Bytes() []byte {
	if v == nil {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.b
}

// Release gives the view back. A second call does nothing.
func (v *View) Release() {
	if v == nil {
		return
	}
	v.mu.Lock()
	seg := v.seg
	v.seg, v.b = nil, nil
	v.mu.Unlock()
	if seg != nil {
		seg.releaseView()
	}
}

func (s *Segment) acquire(op string) ([]byte, error) {
	if s == nil {
		return nil, fail(op, "", os.ErrInvalid, "the segment is nil")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed || s.waiting > 0:
		return nil, fail(op, s.name, os.ErrClosed, "")
	case s.fault != nil:
		return nil, s.quarantined(op)
	}
	s.views++
	return s.region, nil
}

func (s *Segment) releaseView() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.views--
	if s.views == 0 && s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
}

// Close unmaps the segment and gives up its name. Whoever is in [Wait] on one of
// its words returns with os.ErrClosed. While views are out it refuses with
// [ErrInUse] and changes nothing. A second Close returns nil.
//
// The owner's Close marks the segment [Retired] for those who still map it, unless
// it is [Superseded]; their mappings stay valid until they close them.
func (s *Segment) Close() error {
	if s == nil {
		return fail("close", "", os.ErrInvalid, "the segment is nil")
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	if s.views > 0 {
		n := s.views
		s.mu.Unlock()
		return fail("close", s.name, fmt.Errorf("%w by %d views", ErrInUse, n), "release them, or wait with CloseWait")
	}
	s.closed = true
	s.mu.Unlock()
	return s.unmap()
}

// CloseWait is Close that waits for views to be released. From the call on no
// new view is handed out, and whoever is in [Wait] on one of the segment's words
// returns with os.ErrClosed, so that it can release its view. If ctx ends first,
// CloseWait returns its error and the segment stays open.
func (s *Segment) CloseWait(ctx context.Context) error {
	if s == nil {
		return fail("close", "", os.ErrInvalid, "the segment is nil")
	}
	s.mu.Lock()
	for !s.closed && s.views > 0 {
		if s.idle == nil {
			s.idle = make(chan struct{})
		}
		idle := s.idle
		s.waiting++
		s.mu.Unlock()

		release := process.refuse(spanOf(s.mapping), s.name)
		var err error
		select {
		case <-idle:
		case <-ctx.Done():
			err = ctx.Err()
		}
		release()

		s.mu.Lock()
		s.waiting--
		if err != nil && !s.closed && s.views > 0 {
			n := s.views
			s.mu.Unlock()
			return fail("close", s.name, errors.Join(err, fmt.Errorf("%w by %d views", ErrInUse, n)), "")
		}
	}
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	return s.unmap()
}

// unmap ends the segment. It runs once, after closed was set, when no view is
// out.
func (s *Segment) unmap() error {
	// From here to the end of munmap nobody can begin to wait on these addresses.
	release := process.refuse(spanOf(s.mapping), s.name)
	var errs []error
	if s.file != nil && !s.superseded() {
		s.announce(Retired)
	}
	if s.claim != nil {
		errs = append(errs, s.claim.withdraw())
	}
	m := s.mapping // Unmap clears its receiver, which others may be looking at
	errs = append(errs, m.Unmap())
	release()
	if s.file != nil {
		errs = append(errs, s.file.Close())
	}
	if s.claim != nil {
		errs = append(errs, s.claim.release()) // last: until here others see a live owner
	}
	if err := errors.Join(errs...); err != nil {
		return fail("close", s.name, err, "")
	}
	return nil
}

// announce stores the state and wakes those who wait for it to change. In a
// truncated segment there is nothing left to tell.
func (s *Segment) announce(v State) {
	_ = guard(s.mapping, func() error {
		s.state.set(v)
		_, err := Wake(s.state.word, wakeAll)
		return err
	})
}

// superseded tells whether a later generation has taken the place of s, which
// remains true when s is closed.
func (s *Segment) superseded() (yes bool) {
	_ = guard(s.mapping, func() error {
		yes = s.state.load() == Superseded
		return nil
	})
	return yes
}

// State returns what the owner has said last. In a segment that is handed out
// for writing any of its users can overwrite the word: believe it as much as you
// believe them.
func (s *Segment) State() (State, error) {
	var v State
	err := s.use("read state of", func([]byte) error {
		v = s.state.load()
		return nil
	})
	return v, err
}

// WaitState waits while the state is old and returns the one that it found
// then. This is how a reader learns that a segment was [Superseded].
func (s *Segment) WaitState(ctx context.Context, old State) (State, error) {
	for {
		v, err := s.State()
		if err != nil || v != old {
			return v, err
		}
		if err := Wait(ctx, s.state.word, uint32(old)); err != nil {
			return old, err
		}
	}
}
