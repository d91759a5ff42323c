package shm

import (
	"fmt"
	"os"
	"strings"
)

// PageSize is the size in bytes of the header page, and so the offset of the
// region in every segment, whatever the page size of the machine.
const PageSize = 4096

// Access says what a process may do with a segment.
type Access int

const (
	ReadOnly  Access = iota // map for reading
	ReadWrite               // map for reading and writing
)

func (a Access) String() string {
	switch a {
	case ReadOnly:
		return "read-only"
	case ReadWrite:
		return "read-write"
	}
	return fmt.Sprintf("Access(%d)", int(a))
}

// HugePages says whether a segment should be backed by huge pages.
type HugePages int

const (
	HugePagesOff     HugePages = iota // ordinary pages
	HugePagesTry                      // hugetlb pages, else transparent huge pages, else ordinary ones; [Info.Huge] tells which
	HugePagesRequire                  // hugetlb pages or an error
)

// Kind is the four-character code that says what a region holds, such as
// "RING". It guards against attaching a reader of one format to another.
type Kind uint32

// KindOf packs the first four bytes of code, the first one lowest, so that the
// code can be read in a hex dump. A shorter code is filled up with spaces.
func KindOf(code string) Kind {
	var k Kind
	for i := range 4 {
		c := byte(' ')
		if i < len(code) {
			c = code[i]
		}
		k |= Kind(c) << (8 * i)
	}
	return k
}

// String returns the code, or a number if it is not printable.
func (k Kind) String() string {
	b := []byte{byte(k), byte(k >> 8), byte(k >> 16), byte(k >> 24)}
	for _, c := range b {
		if c < ' ' || c > '~' {
			return fmt.Sprintf("%#x", uint32(k))
		}
	}
	return strings.TrimRight(string(b), " ")
}

// Options describe a segment to be made. Name and Size are what most callers
// set, HandOff what they should think about.
type Options struct {
	Name   string // for errors, Info, /proc/PID/maps, and the file name of a named segment
	Kind   Kind   // what the region holds, checked by attaching processes
	Schema uint64 // hash or number of the region's layout, checked by attaching processes
	Size   int    // bytes of the region, at least 1; rounded up to whole pages on top of the header page

	// HandOff is what other processes may get. ReadOnly seals the memory of an
	// anonymous segment: nobody but this one mapping can ever write to it.
	HandOff Access

	HugePages HugePages // zero: ordinary pages
	NUMANodes []int     // prefer the memory of these nodes; empty: of the node that Create runs on
	Prefault  bool      // fill the page tables now, so that no later access takes a page fault
	Lock      bool      // keep the pages in memory (mlock), or fail
}

// Expect describes the segment that an attaching process is ready to read.
type Expect struct {
	Name    string // for errors; the file name for [OpenNamed]; empty: taken from the file
	Kind    Kind   // zero: not checked
	Schema  uint64 // zero: not checked
	MinSize int    // least number of bytes of the region
	Access  Access // how to map it

	// Salvage lets [OpenNamed] attach to a segment whose owner is gone, or that
	// is from before the last boot: to read what a dead process left behind.
	Salvage bool

	Prefault bool // as in Options
	Lock     bool // as in Options
}

// maxName bounds a name so that a memfd or a file can carry it.
const maxName = 200

// check finds what is wrong with options before anything is made.
func (o Options) check(op string) error {
	if err := checkName(op, o.Name); err != nil {
		return err
	}
	switch {
	case o.Size < 1:
		return fail(op, o.Name, &sizeError{o.Size}, "ask for at least 1")
	case int64(o.Size) > maxTotal/2:
		return fail(op, o.Name, &sizeError{o.Size}, fmt.Sprintf("ask for at most %d", int64(maxTotal/2)))
	case o.HandOff != ReadOnly && o.HandOff != ReadWrite:
		return fail(op, o.Name, fmt.Errorf("%w: HandOff %v", os.ErrInvalid, o.HandOff), "use ReadOnly or ReadWrite")
	case o.HugePages < HugePagesOff || o.HugePages > HugePagesRequire:
		return fail(op, o.Name, fmt.Errorf("%w: HugePages %d", os.ErrInvalid, o.HugePages), "use one of the constants")
	}
	return nil
}

func (e Expect) check(op string) error {
	if e.Access != ReadOnly && e.Access != ReadWrite {
		return fail(op, e.Name, fmt.Errorf("%w: Access %v", os.ErrInvalid, e.Access), "use ReadOnly or ReadWrite")
	}
	return nil
}

func checkName(op, name string) error {
	if len(name) > maxName {
		return fail(op, name[:20]+"…", fmt.Errorf("%w: name of %d bytes", os.ErrInvalid, len(name)), fmt.Sprintf("use at most %d", maxName))
	}
	for _, c := range []byte(name) {
		if c < ' ' || c == 0x7f {
			return fail(op, name, fmt.Errorf("%w: control character in the name", os.ErrInvalid), "use printable characters")
		}
	}
	return nil
}

// A sizeError is an impossible size, found before there is a segment.
type sizeError struct{ size int }

func (e *sizeError) Error() string   { return fmt.Sprintf("impossible size of %d bytes", e.size) }
func (e *sizeError) Unwrap() []error { return []error{os.ErrInvalid, ErrSize} }
