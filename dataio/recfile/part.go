package recfile

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A part is the file that is being written: PATH.partial until it is complete. Only
// the writer's goroutine uses it.
type part struct {
	opts Options
	name string
	f    *os.File
	size int64 // of whole records in the file
	n    int   // which one it is, from 1, with MaxBytes

	buf       []byte // whole records that are not written yet, a header perhaps
	attempted uint64 // records since the last write
	count     uint64 // of these, in buf

	dirty   bool // written, and not flushed to the disk
	flushed time.Time
	failing time.Time // since when writes have failed; zero if they have not
	broken  error     // given up
}

const frameHeader = 8

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (o *Options) partial() string { return o.Path + ".partial" }

// complete is the name of the n-th complete file.
func (o *Options) complete(n int) string {
	if o.MaxBytes <= 0 {
		return o.Path
	}
	ext := filepath.Ext(o.Path)
	return fmt.Sprintf("%s.%04d%s", strings.TrimSuffix(o.Path, ext), n, ext)
}

// openPart begins a file, or goes on with one that was left.
func openPart(name string, o Options) (*part, error) {
	fail := func(err error, advice string) (*part, error) {
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) {
			err = pathErr.Err
		}
		return nil, &Error{o.Path, "open", err, advice}
	}
	p := &part{opts: o, name: name, n: 1, flushed: time.Now()}
	for o.MaxBytes > 0 && exists(o.complete(p.n)) && !o.Replace {
		if p.n++; !o.Resume {
			return fail(fs.ErrExist, "set Resume or Replace, or choose another name")
		}
	}
	if o.MaxBytes <= 0 && exists(o.Path) && !o.Replace {
		return fail(fs.ErrExist, "it is complete: set Replace, or choose another name")
	}
	flags := os.O_RDWR | os.O_CREATE | syscall.O_CLOEXEC
	f, err := os.OpenFile(o.partial(), flags, 0o666)
	if err != nil {
		return fail(err, "choose a folder that exists and can be written")
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return fail(fmt.Errorf("another node writes it: %w", err), "end that one, or choose another name")
	}
	p.f = f
	st, err := f.Stat()
	switch {
	case err != nil:
	case st.Size() > 0 && !o.Resume && !o.Replace:
		f.Close()
		return fail(fmt.Errorf("%w: %s", ErrUnfinished, o.partial()), "set Resume to go on with it, or Replace")
	case o.Resume:
		p.size, err = validPrefix(f, o)
	}
	if err == nil {
		err = f.Truncate(p.size)
	}
	if err != nil {
		f.Close()
		return fail(err, "")
	}
	p.header()
	return p, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// header puts the header in front of everything else.
func (p *part) header() {
	if p.size == 0 && len(p.opts.Header) > 0 {
		p.append(p.opts.Header)
	}
}

// append adds one record to the next write. It copies it, and refuses it if it cannot
// be told from its neighbours.
func (p *part) append(rec []byte) error {
	start := len(p.buf)
	if p.opts.Format == Frames {
		p.buf = append(p.buf, make([]byte, frameHeader)...)
		p.buf = append(p.buf, rec...)
		frame := p.buf[start:]
		binary.LittleEndian.PutUint32(frame, uint32(len(rec)))
		binary.LittleEndian.PutUint32(frame[4:], crc32.Checksum(frame[frameHeader:], castagnoli))
		return nil
	}
	p.buf = append(p.buf, rec...)
	if bytes.IndexByte(p.buf[start:], '\n') >= 0 {
		p.buf = p.buf[:start]
		return ErrNewline
	}
	p.buf = append(p.buf, '\n')
	return nil
}

// write writes what was appended, as a whole. When that fails, the file ends with the
// last whole record, as before, and again says whether it is to be tried again.
func (p *part) write() (again bool, err error) {
	if len(p.buf) > 0 {
		_, err = p.f.WriteAt(p.buf, p.size)
	}
	if err == nil && (p.opts.Sync < 0 || p.opts.Sync > 0 && p.dirty && time.Since(p.flushed) >= p.opts.Sync) {
		err = p.sync()
	}
	if err != nil {
		p.f.Truncate(p.size) // half a record is worse than none
		if p.failing.IsZero() {
			p.failing = time.Now()
		}
		if time.Since(p.failing) < p.opts.Patience {
			return true, err
		}
		p.broken = &Error{p.opts.Path, "write", err, "make room or repair the disk, and go on with Resume"}
		p.buf = nil
		return false, p.broken
	}
	p.size += int64(len(p.buf))
	p.dirty = p.dirty || len(p.buf) > 0
	p.failing = time.Time{}
	if p.buf = p.buf[:0]; cap(p.buf) > maxBuffer {
		p.buf = nil
	}
	return false, nil
}

// maxBuffer is the largest buffer that is kept.
const maxBuffer = 4 << 20

func (p *part) sync() error {
	p.flushed = time.Now()
	err := p.f.Sync()
	if err == nil {
		p.dirty = false
	}
	return err
}

// rotate completes a file that is large enough and begins the next one.
func (p *part) rotate() error {
	if p.opts.MaxBytes <= 0 || p.size < p.opts.MaxBytes {
		return nil
	}
	if err := p.finish(); err != nil {
		p.broken = err
		return err
	}
	o := p.opts
	o.Resume, o.Replace = true, false // what is there is ours
	next, err := openPart(p.name, o)
	if err != nil {
		p.broken = err
		return err
	}
	next.opts, next.attempted, next.count = p.opts, p.attempted, p.count
	*p = *next
	return nil
}

// finish gives the file its name. The data are on the disk before the name is.
func (p *part) finish() error {
	err := p.f.Sync()
	if err == nil {
		err = os.Rename(p.opts.partial(), p.opts.complete(p.n))
	}
	if err == nil {
		err = syncFolder(filepath.Dir(p.opts.Path))
	}
	if closeErr := p.f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return &Error{p.opts.Path, "complete", err, "what is written is in " + p.opts.partial()}
	}
	return nil
}

// syncFolder makes a rename last.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) { // some file systems cannot
		return err
	}
	return nil
}

// validPrefix returns the length of the whole records that r begins with.
func validPrefix(r io.Reader, o Options) (int64, error) {
	var valid int64
	in := bufio.NewReaderSize(r, 1<<20)
	if o.Format == Frames {
		for rec, err := range frames(in, o.MaxRecord) {
			if err != nil {
				return valid, nil // torn here, or damaged: what follows cannot be told apart
			}
			valid += frameHeader + int64(len(rec))
		}
		return valid, nil
	}
	var at int64
	for {
		line, err := in.ReadSlice('\n')
		at += int64(len(line))
		switch {
		case err == nil:
			valid = at
		case err == io.EOF:
			return valid, nil
		case err != bufio.ErrBufferFull:
			return valid, err
		}
	}
}

// ErrTorn is the error of a file of [Frames] that ends, or goes on, with something that
// is no whole record.
var ErrTorn = errors.New("torn record")

// Records reads the records of a file of [Frames], the header first if there is one. A
// record is valid until the next one is read. The last error, if any, is [ErrTorn] or
// that of reading.
func Records(r io.Reader) iter.Seq2[[]byte, error] { return frames(bufio.NewReaderSize(r, 1<<20), 0) }

// frames reads frames; max bounds a payload, or is 0.
func frames(in *bufio.Reader, max int) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		var head [frameHeader]byte
		var rec bytes.Buffer
		for {
			if _, err := io.ReadFull(in, head[:]); err == io.EOF {
				return
			} else if err != nil {
				yield(nil, torn(err))
				return
			}
			n := int64(binary.LittleEndian.Uint32(head[:]))
			if max > 0 && n > int64(max) {
				yield(nil, ErrTorn)
				return
			}
			rec.Reset() // it grows with what is there, not with what the length says
			if _, err := io.CopyN(&rec, in, n); err != nil {
				yield(nil, torn(err))
				return
			}
			if crc32.Checksum(rec.Bytes(), castagnoli) != binary.LittleEndian.Uint32(head[4:]) {
				yield(nil, ErrTorn)
				return
			}
			if !yield(rec.Bytes(), nil) {
				return
			}
		}
	}
}

func torn(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return ErrTorn
	}
	return err
}
