package recfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// openPart opens PATH.partial for a server that starts, and finds out how to go on
// with what is there. It changes nothing yet: that is begin's.
func openPart(name string, o Options, d disk) (_ *part, err error) {
	p := &part{opts: o, name: name, disk: d, n: 1, found: -1}
	fail := func(err error, advice string) (*part, error) {
		err = p.error("open", err, advice)
		p.leave()
		return nil, err
	}
	if p.f, err = openLocked(d, o.partial()); err != nil {
		return fail(err, "choose a folder that exists and can be written, and a name that no other node, and no other name of this one, writes")
	}
	st, err := p.f.Stat()
	if err != nil {
		return fail(err, "")
	}
	p.found = st.Size()
	if p.stale, err = o.completed(); err != nil {
		return fail(err, "")
	}
	switch {
	case len(p.stale) > 0 && o.MaxBytes > 0 && o.Resume:
		p.n = slices.Max(p.stale) + 1
		p.stale = nil
	case len(p.stale) > 0 && !o.Replace && o.MaxBytes > 0:
		return fail(fs.ErrExist, "set Resume or Replace, or choose another name")
	case len(p.stale) > 0 && !o.Replace:
		return fail(fs.ErrExist, "it is complete: set Replace, or choose another name")
	case p.found > 0 && !o.Resume && !o.Replace:
		return fail(fmt.Errorf("%w: there is %s", ErrUnfinished, o.partial()), "set Resume to go on with it, or Replace")
	}
	if o.Resume {
		if p.size, err = o.Format.validPrefix(io.NewSectionReader(p.f, 0, p.found)); err != nil {
			return fail(err, "")
		}
		if err := p.checkHeader(); err != nil {
			return fail(err, "give the one it has, set Replace without Resume, or choose another name")
		}
	}
	return p, nil
}

// openLocked opens a file that nobody else writes.
func openLocked(d disk, path string) (file, error) {
	f, err := d.Open(path, os.O_CREATE)
	if err != nil {
		return nil, err
	}
	if err = f.Lock(); err != nil {
		f.Close()
		return nil, err
	}
	mine, err := f.Stat()
	if err == nil && !mine.Mode().IsRegular() {
		err = errors.New("it is no regular file")
	}
	if err == nil {
		// Its last writer may have completed it between the opening and the lock.
		var named fs.FileInfo
		if named, err = os.Stat(path); err == nil && !os.SameFile(mine, named) {
			err = errors.New("another node has just completed it")
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// checkHeader holds the header of a file that is to be gone on with against the
// options.
func (p *part) checkHeader() error {
	if len(p.opts.Header) == 0 || p.size == 0 {
		return nil
	}
	want, err := p.opts.Format.append(nil, p.opts.Header)
	if err != nil {
		return err
	}
	have := make([]byte, min(int64(len(want)), p.size))
	if _, err := p.f.ReadAt(have, 0); err != nil {
		return err
	}
	if !bytes.Equal(have, want) {
		return fmt.Errorf("%s begins with another header", p.opts.partial())
	}
	p.headed = true
	return nil
}

// begin makes the file end with its last whole record, and puts out of the way what
// may be replaced.
func (p *part) begin() error {
	fail := func(err error) error {
		return p.error("open", err, "make room, or move "+p.opts.partial()+" away")
	}
	if p.opts.Resume && p.size < p.found {
		cut, err := p.keep(p.size, p.found)
		if err != nil {
			return fail(err)
		}
		p.cut = p.found - p.size
		p.note = p.error("resume", fmt.Errorf("%w: %d of %d bytes were cut off", ErrCut, p.cut, p.found),
			"they are in "+cut+": look what they are, and remove it")
	}
	if err := p.f.Truncate(p.size); err != nil {
		return fail(err)
	}
	p.begun = true
	if p.opts.MaxBytes > 0 {
		for _, n := range p.stale {
			if err := p.disk.Remove(p.opts.complete(n)); err != nil {
				return fail(err)
			}
		}
	}
	return nil
}

// keep copies a range of the file to one of its own, and returns its name. The copy
// is on the disk when it returns.
func (p *part) keep(from, to int64) (path string, err error) {
	var f file
	for n := 1; ; n++ {
		path = p.opts.cut(n)
		if f, err = p.disk.Open(path, os.O_CREATE|os.O_EXCL); !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if err != nil {
		return "", err
	}
	_, err = io.Copy(io.NewOffsetWriter(f, 0), io.NewSectionReader(p.f, from, to-from))
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = p.disk.SyncFolder(filepath.Dir(path))
	}
	if err != nil {
		p.disk.Remove(path)
	}
	return path, errors.Join(err, f.Close())
}
