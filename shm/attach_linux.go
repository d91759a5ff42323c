//go:build amd64 || arm64

package shm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Attach maps the segment behind f, which another process has passed on:
// by exec.Cmd.ExtraFiles, by SCM_RIGHTS. It takes ownership of f and closes it,
// on an error as well; the mapping needs no descriptor.
//
// Everything about the segment is checked before a byte of it is used, and
// nothing is believed later than that. The error is a [MismatchError] when f is
// not what want says.
func Attach(f *os.File, want Expect) (*Segment, error) {
	return attach("attach", f, want)
}

func attach(op string, f *os.File, want Expect) (*Segment, error) {
	if f == nil {
		return nil, fail(op, want.Name, fmt.Errorf("%w: nil file", os.ErrInvalid), "pass the file that the owner's Reopen returned")
	}
	defer f.Close()
	if want.Name == "" {
		want.Name = nameOf(f)
	}
	if err := want.check(op); err != nil {
		return nil, err
	}
	h, do, err := readHeader(f)
	if err != nil {
		return nil, fail(op, want.Name, err, do)
	}
	if do, err := h.check(want); err != nil {
		return nil, fail(op, want.Name, err, do)
	}
	if want.Access == ReadWrite && h.handOff() == ReadOnly {
		return nil, fail(op, want.Name, fmt.Errorf("%w: handed out read-only", os.ErrPermission),
			"attach with ReadOnly, and ask the owner to change the content")
	}
	if id := bootID(); !want.Salvage && h.bootID != id && h.bootID != [16]byte{} && id != [16]byte{} {
		return nil, fail(op, want.Name, fmt.Errorf("%w: made before the last boot", ErrStale), "make it anew")
	}
	mapping, err := mapFile(f, int(h.total), want.Access)
	if err != nil {
		do := advice(err)
		if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
			do = "attach with ReadOnly, or hand out a descriptor for writing"
		}
		return nil, fail(op, want.Name, spaceOr(err, "the address space", int(h.total)), do)
	}
	s := newSegment(want.Name, h, mapping, want.Access)
	s.info.Sealed = sealed(f)
	if h.flags&flagHuge != 0 {
		if fs, err := statfs(f); err == nil {
			s.info.PageBytes, s.info.HugeBytes = int(fs.Bsize), len(mapping)
		}
	}
	if err := s.settle(want.Prefault, want.Lock); err != nil {
		mapping.Unmap()
		return nil, fail(op, want.Name, err, advice(err))
	}
	return s, nil
}

// readHeader reads and checks the header of f. It reads with a system call and
// not through a mapping, so a file that shrinks meanwhile is short, not fatal.
func readHeader(f *os.File) (header, string, error) {
	fi, err := f.Stat()
	if err != nil {
		return header{}, "", err
	}
	if !fi.Mode().IsRegular() { // reading another kind might block
		return header{}, "pass a file made by this package",
			&MismatchError{ErrNotSegment, "file of type " + fi.Mode().Type().String(), "a regular file"}
	}
	var raw [headerBytes]byte
	n, err := f.ReadAt(raw[:], 0)
	if err != nil && err != io.EOF {
		return header{}, "", err
	}
	return decodeHeader(raw[:n], fi.Size())
}

// sealed reports whether the size of f can never change again.
func sealed(f *os.File) bool {
	seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	return err == nil && seals&unix.F_SEAL_SHRINK != 0
}

// nameOf is the name that the creator gave the memory behind f, for messages.
func nameOf(f *os.File) string {
	target, err := os.Readlink(selfFD(f))
	if err != nil {
		return f.Name()
	}
	target = strings.TrimSuffix(target, " (deleted)")
	if name, ok := strings.CutPrefix(target, "/memfd:shmkit:"); ok {
		return name
	}
	return target
}
