//go:build amd64 || arm64

package shm

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"

	"github.com/edsrzf/mmap-go"
	"golang.org/x/sys/unix"
)

// Create makes an anonymous segment: a memfd that has no name in any directory
// and is gone when the last process lets go of it. All its memory is reserved
// now and its size is sealed, so that no access can fail later. With
// HandOff ReadOnly it is also sealed against writing: the mapping behind this
// [Segment] is the only one that can ever be written through.
//
// The error is a [SpaceError] if memory runs short.
func Create(o Options) (*Segment, error) {
	return create("create", o, newLineage())
}

// lineage is what tells the generations of one segment from those of another.
type lineage struct {
	uuid       UUID
	generation int
}

func newLineage() lineage {
	l := lineage{generation: 1}
	rand.Read(l.uuid[:])
	l.uuid[6] = l.uuid[6]&0x0f | 0x40 // version 4: random
	l.uuid[8] = l.uuid[8]&0x3f | 0x80
	return l
}

func create(op string, o Options, l lineage) (*Segment, error) {
	if o.Name == "" {
		o.Name = "anonymous"
	}
	if err := o.check(op); err != nil {
		return nil, err
	}
	b, err := newMemory(op, o)
	if err != nil {
		return nil, err
	}
	s, err := b.finish(op, o, l, 0)
	if err != nil {
		return nil, err
	}
	if err := seal(s.file, o.HandOff); err != nil {
		s.Close()
		return nil, fail(op, o.Name, err, "memfd sealing is needed: run on Linux 5.1 or later")
	}
	s.info.Sealed = true
	return s, nil
}

// memory is a file that is reserved and mapped, on its way to be a segment.
type memory struct {
	file    *os.File
	mapping mmap.MMap
	pages   pages
}

func (m *memory) discard() {
	if m.mapping != nil {
		m.mapping.Unmap()
	}
	m.file.Close()
}

// newMemory makes the memfd for o, of huge pages if they are asked for and to be
// had.
func newMemory(op string, o Options) (*memory, error) {
	p, err := planPages(o)
	if err != nil {
		return nil, fail(op, o.Name, err, "reserve huge pages in /proc/sys/vm/nr_hugepages, or use HugePagesTry")
	}
	for {
		m, err := tryMemory(o, p)
		switch {
		case err == nil:
			return m, nil
		case p.hugetlb && o.HugePages == HugePagesTry && !errors.Is(err, unix.EMFILE) && !errors.Is(err, unix.ENFILE):
			p = p.withoutHugetlb(err)
		default:
			return nil, fail(op, o.Name, err, advice(err))
		}
	}
}

func tryMemory(o Options, p pages) (*memory, error) {
	f, err := memfd(o.Name, p.hugetlb)
	if err != nil {
		return nil, err
	}
	m := &memory{file: f, pages: p}
	// The mode is for receivers of another uid: they can neither reopen the file
	// for writing nor change the mode back.
	err = chmodFor(f, o.HandOff)
	if err == nil {
		err = m.fill(p.total(o.Size), o.NUMANodes)
	}
	if err != nil {
		m.discard()
		return nil, err
	}
	return m, nil
}

// memfd makes an empty memfd that can be sealed and, from Linux 6.3 on, never
// executed.
func memfd(name string, hugetlb bool) (*os.File, error) {
	flags := unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	if hugetlb {
		flags |= unix.MFD_HUGETLB
	}
	fd, err := unix.MemfdCreate("shmkit:"+name, flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before 6.3
		fd, err = unix.MemfdCreate("shmkit:"+name, flags)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), "memfd:shmkit:"+name), nil
}

func chmodFor(f *os.File, handOff Access) error {
	mode := uint32(0o600)
	if handOff == ReadOnly {
		mode = 0o400
	}
	return os.NewSyscallError("fchmod", unix.Fchmod(int(f.Fd()), mode))
}

// fill gives the memory its size, maps it for writing and reserves all of it.
// The mapping comes first because where the pages come from, and how large they
// are, is said through it. Nobody touches a page before it is reserved.
func (m *memory) fill(total int, nodes []int) error {
	if err := room(m.file, uint64(total)); err != nil {
		return err
	}
	if err := os.NewSyscallError("ftruncate", unix.Ftruncate(int(m.file.Fd()), int64(total))); err != nil {
		return err
	}
	var err error
	if m.mapping, err = mapFile(m.file, total, ReadWrite); err != nil {
		return spaceOr(err, "the address space", total)
	}
	if len(nodes) > 0 {
		if err := bind(m.mapping, nodes); err != nil {
			return err
		}
	}
	if m.pages.transparent && unix.Madvise(m.mapping, unix.MADV_HUGEPAGE) == nil {
		// Transparent huge pages come with a touch through this mapping, not with
		// the reservation: that adds what is missing, and fails if it cannot.
		_ = populate(m.mapping, ReadWrite)
	}
	return allocate(m.file, int64(total))
}

// mapFile maps the first total bytes of f.
func mapFile(f *os.File, total int, a Access) (mmap.MMap, error) {
	prot := mmap.RDONLY
	if a == ReadWrite {
		prot = mmap.RDWR
	}
	m, err := mmap.MapRegion(f, total, prot, 0, 0)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	process.mapped(spanOf(m))
	return m, nil
}

// seal fixes the size for ever, and the content for all but the mappings that
// exist, which is ours alone.
func seal(f *os.File, handOff Access) error {
	seals := unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	if handOff == ReadOnly {
		seals |= unix.F_SEAL_FUTURE_WRITE
	}
	_, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals)
	return os.NewSyscallError("fcntl F_ADD_SEALS", err)
}

// finish writes the header and makes a segment of m. On an error m is discarded.
func (m *memory) finish(op string, o Options, l lineage, flags uint32) (*Segment, error) {
	if o.HandOff == ReadOnly {
		flags |= flagReadOnly
	}
	if m.pages.hugetlb {
		flags |= flagHuge
	}
	h := header{
		total:        uint64(len(m.mapping)),
		kind:         uint32(o.Kind),
		flags:        flags | uint32(l.generation)<<generationShift,
		schema:       o.Schema,
		regionLength: uint64(o.Size),
		uuid:         l.uuid,
		pid:          uint64(os.Getpid()),
		startTime:    startTime(),
		bootID:       bootID(),
	}.encode()
	s := newSegment(o.Name, h, m.mapping, ReadWrite)
	s.opts, s.file, s.info.Owner = o, m.file, true
	s.info.PageBytes, s.info.HugeNote = m.pages.size, m.pages.note

	err := guard(m.mapping, func() error {
		copy(m.mapping, h.bytes())
		s.state.set(Live)
		return nil
	})
	if err == nil {
		err = s.settle(o.Prefault, o.Lock)
	}
	if err == nil && o.HugePages != HugePagesOff {
		s.info.HugeBytes = hugeBytes(m.mapping, m.pages)
		if m.pages.transparent && s.info.HugeBytes == 0 {
			s.info.HugeNote += "; " + whyNotTransparent()
		}
	}
	if err != nil {
		m.discard()
		return nil, fail(op, o.Name, err, advice(err))
	}
	return s, nil
}

// newSegment builds what made and attached segments have in common.
func newSegment(name string, h header, mapping mmap.MMap, a Access) *Segment {
	end := PageSize + int(h.regionLength)
	s := &Segment{
		name:    name,
		h:       h,
		access:  a,
		mapping: mapping,
		region:  mapping[PageSize:end:end],
		state:   stateOf(mapping),
	}
	s.info = Info{
		Name:       name,
		UUID:       UUID(h.uuid),
		Generation: int(h.flags >> generationShift),
		Kind:       Kind(h.kind),
		Schema:     h.schema,
		Size:       int(h.regionLength),
		Total:      len(mapping),
		Access:     a,
		HandOff:    h.handOff(),
		PageBytes:  os.Getpagesize(),
		CreatorPID: int(h.pid),
	}
	return s
}

// Reopen returns a descriptor for one worker, to be passed on by
// exec.Cmd.ExtraFiles or SCM_RIGHTS and attached there. The caller closes it.
// It is a new open file description with the access of HandOff: what one worker
// does to its flags, offset or locks reaches nobody else. Only the owner has the
// file; on an attached segment the error is [ErrNotOwner].
func (s *Segment) Reopen() (*os.File, error) {
	if s == nil {
		return nil, fail("reopen", "", os.ErrInvalid, "the segment is nil")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, fail("reopen", s.name, os.ErrClosed, "")
	case s.file == nil:
		return nil, fail("reopen", s.name, ErrNotOwner, "ask the process that made it")
	}
	flags := os.O_RDONLY
	if s.opts.HandOff == ReadWrite {
		flags = os.O_RDWR
	}
	fd, err := unix.Open(selfFD(s.file), flags|unix.O_CLOEXEC, 0)
	if err != nil {
		err = &os.PathError{Op: "open", Path: selfFD(s.file), Err: err}
		return nil, fail("reopen", s.name, err, advice(err))
	}
	return os.NewFile(uintptr(fd), s.file.Name()), nil
}

// selfFD is a path that opens the file of f anew.
func selfFD(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }
