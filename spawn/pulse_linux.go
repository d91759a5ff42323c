package spawn

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A pulse is two words in memory that a worker shares with its server, in a page of
// its own: a worker can write to no other's. The page is a memfd that can neither
// shrink nor grow, so that touching it never faults.
//
// Each word has one writer, the worker, and is loaded by the server's monitor. They
// are counts and guard no other memory: that a load may be late by one beat is all
// that could be wrong with it. What they say is the worker's word, and decides about
// that worker only.
type pulse struct {
	beats atomic.Uint64
	tasks atomic.Uint64
}

const (
	pulseName = "_pulse" // among the donations
	pulseSize = 4096
)

// newPulse makes the page of one worker: the server's view, and the file to donate.
func newPulse() (*pulsePage, *os.File, error) {
	fd, err := unix.MemfdCreate("shmkit.pulse", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, nil, explainFiles(os.NewSyscallError("memfd_create", err))
	}
	f := os.NewFile(uintptr(fd), "pulse")
	err = unix.Fallocate(fd, 0, 0, pulseSize)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	var p *pulsePage
	if err == nil {
		p, err = mapPulse(f, unix.PROT_READ)
	}
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("heartbeat page of %d bytes: %w", pulseSize, err)
	}
	return p, f, nil
}

// A pulsePage is a mapping of a pulse.
type pulsePage struct {
	mem []byte
	sync.Mutex
}

var _ io.Closer = (*pulsePage)(nil)

func mapPulse(f *os.File, prot int) (*pulsePage, error) {
	mem, err := unix.Mmap(int(f.Fd()), 0, pulseSize, prot, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return &pulsePage{mem: mem}, nil
}

// words is the page as what it holds: mmap aligns it, and it is long enough.
func (p *pulsePage) words() *pulse { return (*pulse)(unsafe.Pointer(&p.mem[0])) }

// read returns both counts, and zeros after Close.
func (p *pulsePage) read() (beats, tasks uint64) {
	if p == nil {
		return 0, 0
	}
	p.Lock()
	defer p.Unlock()
	if p.mem == nil {
		return 0, 0
	}
	w := p.words()
	return w.beats.Load(), w.tasks.Load()
}

func (p *pulsePage) Close() error {
	p.Lock()
	defer p.Unlock()
	if p.mem == nil {
		return nil
	}
	mem := p.mem
	p.mem = nil
	return unix.Munmap(mem)
}

// attachPulse takes the worker's own page out of what it was given, or private
// memory that nobody looks at.
func attachPulse(c *Child) (*pulse, error) {
	r := c.resource(pulseName)
	if r == nil || len(r.files) != 1 {
		return new(pulse), nil
	}
	p, err := mapPulse(r.files[0], unix.PROT_READ|unix.PROT_WRITE)
	r.files[0].Close()
	r.files = nil
	if err != nil {
		return nil, err
	}
	return p.words(), nil // mapped as long as the process lives
}

// Beat tells the server that this worker makes progress ([Spec].Heartbeat). It is
// one addition to a word in shared memory: call it as often as you like, from where
// the work is done. It does nothing when nobody looks.
func (c *Child) Beat() { c.pulse.beats.Add(1) }

// TaskDone counts a task for [Recycle].Tasks. It is a beat, too.
func (c *Child) TaskDone() {
	c.pulse.tasks.Add(1)
	c.pulse.beats.Add(1)
}
