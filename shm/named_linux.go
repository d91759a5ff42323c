//go:build amd64 || arm64

package shm

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// busyLimit bounds the wait for another process that is making or removing a
// segment in the same directory. It takes that long only if the process was
// stopped in the middle. A test makes it shorter.
var busyLimit = 5 * time.Second

// CreateNamed makes a segment that others can find as dir/Name. It is whole
// before its name appears. The caller owns the name until Close, which removes
// it, or until the process dies, however it dies: then the name is stale, and
// the next CreateNamed or [OpenOrCreateNamed] takes it over. While an owner is
// alive the error is os.ErrExist.
//
// dir must be a directory of the caller alone (owner, mode 0700, no symbolic
// link), on a file system of this machine, best a tmpfs such as /dev/shm or
// $XDG_RUNTIME_DIR. It is made if it is not there and its parent is.
//
// A file cannot be sealed. Whoever has the caller's uid can truncate or change
// it, whatever HandOff says: reach the region through [Segment.Access].
func CreateNamed(dir string, o Options) (*Segment, error) {
	return makeNamed("create", dir, o, false)
}

// OpenNamed attaches to the segment dir/Name. The error is os.ErrNotExist if
// there is none and [ErrStale] if its owner is dead, unless want.Salvage asks for
// just that.
func OpenNamed(dir string, want Expect) (*Segment, error) {
	if err := checkFileName("open", want.Name); err != nil {
		return nil, err
	}
	if err := want.check("open"); err != nil {
		return nil, err
	}
	d, err := openDirectory(dir)
	if err != nil {
		return nil, fail("open", want.Name, err, dirAdvice(err))
	}
	defer d.Close()
	return d.open("open", want)
}

// OpenOrCreateNamed attaches to the segment o.Name in dir, with the access that
// o.HandOff gives, or makes it if there is none or its owner is dead. Of any
// number of concurrent callers exactly one makes it and the others attach.
// [Info].Owner tells which.
//
// If the process that makes it is stopped meanwhile, the error is [ErrBusy] after
// a few seconds.
func OpenOrCreateNamed(dir string, o Options) (*Segment, error) {
	return makeNamed("open or create", dir, o, true)
}

// RemoveStale removes the segment dir/name if its owner is dead: what is left to
// do after it was salvaged. While the owner is alive the error is [ErrInUse].
func RemoveStale(dir, name string) error {
	if err := checkFileName("remove", name); err != nil {
		return err
	}
	d, err := openDirectory(dir)
	if err != nil {
		return fail("remove", name, err, dirAdvice(err))
	}
	defer d.Close()
	err = d.exclusively(time.Now().Add(busyLimit), func() error {
		f, live, err := d.probe(name, os.O_RDONLY)
		switch {
		case err != nil:
			return err
		case f == nil:
			return os.ErrNotExist
		}
		defer f.Close()
		if live {
			return fmt.Errorf("%w by %s", ErrInUse, ownerOf(f))
		}
		return d.reclaim(name, f)
	})
	if err != nil {
		return fail("remove", name, err, advice(err))
	}
	return nil
}

func makeNamed(op, dir string, o Options, attachToo bool) (*Segment, error) {
	if err := checkFileName(op, o.Name); err != nil {
		return nil, err
	}
	if err := o.check(op); err != nil {
		return nil, err
	}
	d, err := openOrMakeDirectory(dir)
	if err != nil {
		return nil, fail(op, o.Name, err, dirAdvice(err))
	}
	defer d.Close()

	want := Expect{Name: o.Name, Kind: o.Kind, Schema: o.Schema, MinSize: o.Size,
		Access: o.HandOff, Prefault: o.Prefault, Lock: o.Lock}
	limit := time.Now().Add(busyLimit)
	for pause := 200 * time.Microsecond; ; pause = min(2*pause, 20*time.Millisecond) {
		if attachToo {
			s, err := d.open(op, want)
			if err == nil || !errors.Is(err, os.ErrNotExist) && !errors.Is(err, ErrStale) {
				return s, err
			}
		}
		unlock, err := d.tryLock()
		if err == nil {
			s, err := d.make(op, o)
			unlock()
			if attachToo && errors.Is(err, os.ErrExist) {
				continue
			}
			return s, err
		}
		if !errors.Is(err, ErrBusy) {
			return nil, fail(op, o.Name, err, advice(err))
		}
		if time.Now().After(limit) {
			return nil, fail(op, o.Name, err, "let that process go on, or end it")
		}
		time.Sleep(pause/2 + rand.N(pause))
	}
}

// open attaches to what the name leads to.
func (d *directory) open(op string, want Expect) (*Segment, error) {
	flags := os.O_RDONLY
	if want.Access == ReadWrite {
		flags = os.O_RDWR
	}
	// Each round but the last ends because the name has changed hands meanwhile.
	for range 100 {
		f, live, err := d.probe(want.Name, flags)
		if err != nil {
			do := advice(err)
			if errors.Is(err, unix.EACCES) && want.Access == ReadWrite {
				do = "open it with ReadOnly: it is handed out read-only"
			}
			return nil, fail(op, want.Name, err, do)
		}
		if f == nil {
			return nil, fail(op, want.Name, fmt.Errorf("%w in %s", os.ErrNotExist, d.path), "start its owner first")
		}
		if !live && !d.leadsTo(want.Name, f) {
			f.Close()
			continue
		}
		if !live && !want.Salvage {
			if wasSegment(f) {
				err = fmt.Errorf("%w (%s)", ErrStale, ownerOf(f))
				err = fail(op, want.Name, err, "OpenOrCreateNamed takes it over, Salvage reads it")
			} else {
				err = fail(op, want.Name, notOurs, "remove the file, or use another name")
			}
			f.Close()
			return nil, err
		}
		id := identityOf(f)
		s, err := attach(op, f, want)
		if err != nil {
			return nil, err
		}
		s.info.Stale = !live
		s.info.Path = filepath.Join(d.path, want.Name)
		if v, err := s.State(); err == nil && v == Superseded && !d.leadsToID(want.Name, id) {
			s.Close()
			continue
		}
		return s, nil
	}
	return nil, fail(op, want.Name, ErrBusy, "try again: the name keeps changing hands")
}

// make makes the segment and gives it the name. The directory is locked.
func (d *directory) make(op string, o Options) (*Segment, error) {
	for {
		f, live, err := d.probe(o.Name, os.O_RDONLY)
		if err != nil {
			return nil, fail(op, o.Name, err, advice(err))
		}
		if f == nil {
			break
		}
		if live {
			err = fail(op, o.Name, fmt.Errorf("%w, owned by %s", os.ErrExist, ownerOf(f)), "open it, or stop that process")
		} else if err = d.reclaim(o.Name, f); err != nil && !errors.Is(err, ErrBusy) {
			err = fail(op, o.Name, err, "remove the file, or use another name")
		}
		f.Close()
		if err != nil && !errors.Is(err, ErrBusy) {
			return nil, err
		}
	}
	d.sweep()
	s, err := d.build(op, o, newLineage())
	if err != nil {
		return nil, err
	}
	if err := s.claim.publish(); err != nil {
		s.Close()
		return nil, fail(op, o.Name, err, advice(err))
	}
	return s, nil
}

// build makes a segment that is whole, owned, and has no name yet. The directory
// is locked.
func (d *directory) build(op string, o Options, l lineage) (*Segment, error) {
	p, err := d.planPages(o)
	if err != nil {
		return nil, fail(op, o.Name, err, "use HugePagesTry, or a directory on a hugetlbfs")
	}
	c, f, err := d.claim(o.Name)
	if err != nil {
		return nil, fail(op, o.Name, err, advice(err))
	}
	m := &memory{file: f, pages: p}
	err = chmodFor(f, o.HandOff)
	if err == nil {
		err = m.fill(p.total(o.Size), o.NUMANodes)
	}
	if err != nil {
		m.discard()
		c.abandon()
		return nil, fail(op, o.Name, err, advice(err))
	}
	s, err := m.finish(op, o, l, flagNamed)
	if err != nil {
		c.abandon()
		return nil, err
	}
	s.claim = c
	s.info.Path = filepath.Join(d.path, o.Name)
	return s, nil
}

// createSuccessor is Grow for a named segment.
func createSuccessor(s *Segment, o Options, l lineage) (next *Segment, err error) {
	d := s.claim.dir
	err = d.exclusively(time.Now().Add(busyLimit), func() (err error) {
		d.sweep()
		next, err = d.build("grow", o, l)
		return err
	})
	if err != nil {
		return nil, fail("grow", s.name, err, advice(err))
	}
	return next, nil
}

// ownerOf names the owner of a segment in a message.
func ownerOf(f *os.File) string {
	h, _, err := readHeader(f)
	if err != nil {
		return "an unknown process"
	}
	return fmt.Sprintf("process %d", h.pid)
}
