package recfile

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"
)

// A part is the file that is being written: PATH.partial until it is complete. Only
// the writer's goroutine uses it. Its methods that return an error have left what they
// had not done undone, and can be called again, unless broken is set.
type part struct {
	opts Options
	name string
	disk disk

	f    file  // nil when the one before is complete, and no next one begun
	n    int   // which one it is, from 1, with MaxBytes
	size int64 // of whole records in f

	buf     []byte // whole records that are not written yet
	pending uint64 // how many
	headed  bool   // the header is in f, or in buf

	torn   bool      // behind size there may be half a record
	dirty  time.Time // since when something is written and not flushed; zero: nothing is
	named  bool      // f has its final name
	broken error     // given up

	// What openPart and begin found.
	found, cut int64
	stale      []int // numbers of complete files that are replaced
	begun      bool  // nothing that was found is still there
	note       error // for OnError
}

// error names the file. That of a system call is taken out of its own wrapping: the
// path would be there twice.
func (p *part) error(op string, err error, advice string) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) && pathErr.Path == p.opts.partial() {
		err = pathErr.Err
	}
	return &Error{p.opts.Path, op, err, advice}
}

// append adds one record to the next write. It copies it.
func (p *part) append(rec []byte) (err error) {
	if len(rec) > p.opts.MaxRecord {
		return ErrTooLarge
	}
	if p.buf, err = p.opts.Format.append(p.buf, rec); err == nil {
		p.pending++
	}
	return err
}

// settle writes what was appended, flushes it where that is due, and goes on to the
// next file when this one is large enough.
func (p *part) settle() error {
	if p.f == nil { // last time, the next one could not be begun
		if err := p.next(); err != nil {
			return err
		}
	}
	if err := p.write(); err != nil {
		return err
	}
	if wait, ok := p.due(); ok && wait <= 0 {
		if err := p.sync(); err != nil {
			return err
		}
	}
	if p.opts.MaxBytes <= 0 || p.size < p.opts.MaxBytes {
		return nil
	}
	if err := p.finish(); err != nil {
		return err
	}
	return p.next()
}

// write writes what was appended, as a whole, the header before the first record. When
// that fails, the file ends with the last whole record, as before.
func (p *part) write() error {
	if len(p.buf) == 0 {
		return nil
	}
	if err := p.header(); err != nil {
		return err
	}
	if err := p.trim(); err != nil {
		return err
	}
	p.torn = true // until it is known better
	_, err := p.f.WriteAt(p.buf, p.size)
	if err == nil {
		if p.dirty.IsZero() {
			p.dirty = time.Now()
		}
		if p.opts.Sync < 0 {
			err = p.sync()
		}
	}
	if err != nil {
		p.trim() // half a record is worse than none
		return err
	}
	p.torn = false
	p.size += int64(len(p.buf))
	p.buf, p.pending = p.buf[:0], 0
	return nil
}

// header puts the header in front of everything else.
func (p *part) header() error {
	if p.headed || p.size > 0 || len(p.opts.Header) == 0 {
		return nil
	}
	head, err := p.opts.Format.append(nil, p.opts.Header)
	if err != nil {
		return err
	}
	p.buf = slices.Insert(p.buf, 0, head...)
	p.headed = true
	return nil
}

// trim cuts off what a failed write may have left.
func (p *part) trim() error {
	if !p.torn {
		return nil
	}
	if err := p.f.Truncate(p.size); err != nil {
		return err
	}
	p.torn = false
	return nil
}

// due returns how long what is written can wait to be flushed.
func (p *part) due() (wait time.Duration, ok bool) {
	if p.f == nil || p.dirty.IsZero() || p.opts.Sync <= 0 {
		return 0, false
	}
	return p.opts.Sync - time.Since(p.dirty), true
}

// sync flushes the file to the disk. A failure is final: Linux reports it once to each
// descriptor, and a second call would succeed without the data being there.
func (p *part) sync() error {
	if err := p.f.Sync(); err != nil {
		p.broken = p.error("flush", err, "the disk may lack what was written since the last flush: repair it, check "+p.opts.partial()+", and go on with Resume")
		return p.broken
	}
	p.dirty = time.Time{}
	return nil
}

// giveUp is the end of a file that could not be written.
func (p *part) giveUp(err error) {
	p.broken = p.error("write", err, "what is written is in "+p.opts.partial()+": make room or repair the disk, and go on with Resume")
}

// complete is the end of a run in which nothing went wrong.
func (p *part) complete() error {
	if p.f == nil || p.size == 0 && p.n > 1 {
		return p.leave() // nothing came after the last complete one
	}
	if err := p.header(); err != nil {
		return err
	}
	if err := p.write(); err != nil {
		return err
	}
	return p.finish()
}

// finish gives the file its name. The data are on the disk before the name is.
func (p *part) finish() error {
	if !p.named {
		if err := p.sync(); err != nil {
			return err
		}
		to := p.opts.complete(p.n)
		if !p.opts.Replace && exists(to) {
			return fmt.Errorf("%s: %w, and did not when this run began: move it away", to, fs.ErrExist)
		}
		if err := p.disk.Rename(p.opts.partial(), to); err != nil {
			return err
		}
		p.named = true
	}
	if err := p.disk.SyncFolder(filepath.Dir(p.opts.Path)); err != nil {
		p.broken = p.error("flush the folder of", err, "the name "+p.opts.complete(p.n)+" may not last")
		return p.broken
	}
	p.f.Close() // it was flushed: there is nothing left to fail
	p.f = nil
	return nil
}

// next begins the file after a complete one.
func (p *part) next() error {
	f, err := openLocked(p.disk, p.opts.partial())
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err == nil && st.Size() > 0 {
		err = fmt.Errorf("%w: somebody else has begun %s", ErrUnfinished, p.opts.partial())
	}
	if err != nil {
		f.Close()
		return err
	}
	p.f, p.n, p.size = f, p.n+1, 0
	p.headed, p.named = false, false
	return nil
}

// leave closes the file without completing it. One in which there is no record, and
// was none, is removed.
func (p *part) leave() error {
	if p.f == nil {
		return p.broken
	}
	err := p.trim()
	switch {
	case p.named:
	case p.size == 0 && err == nil && (p.begun || p.found == 0):
		p.disk.Remove(p.opts.partial()) // while we hold its lock
	case p.broken == nil && err == nil:
		p.sync()
	case p.broken == nil:
		p.giveUp(err)
	}
	p.f.Close()
	p.f = nil
	return p.broken
}
