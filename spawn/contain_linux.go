package spawn

import (
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// containment is what a server has of the means to keep its processes together.
type containment struct {
	cgroup    *os.File
	guardian  *guardian
	orphans   *orphans
	namespace *guardian
	ns        *os.File
}

// contain sets up the means that were asked for, as far as they are to be had.
func (s *Server) contain(want Containment) {
	c := &s.contained
	if want&ContainCgroup != 0 {
		c.cgroup, _ = ownCgroup(s.opt.Run)
	}
	if want&ContainGuardian != 0 {
		order := s.mark + ";"
		if c.cgroup != nil {
			order += c.cgroup.Name()
		}
		c.guardian, _ = startGuardian(s.opt.Run, order, 0)
	}
	if want&ContainSubreaper != 0 {
		c.orphans, _ = adoptOrphans(s)
	}
	if want&ContainNamespace != 0 {
		c.enterNamespace(s.opt.Run)
	}
}

func (c *containment) enterNamespace(run string) {
	g, err := startGuardian(run, "", syscall.CLONE_NEWPID)
	if err != nil {
		return
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/pid", g.cmd.Process.Pid))
	if err != nil {
		g.release()
		return
	}
	c.namespace, c.ns = g, f
}

// Containment returns the means in force.
func (s *Server) Containment() Containment {
	c := &s.contained
	have := ContainGroups
	if c.namespace.alive() {
		have |= ContainNamespace
	} else {
		have |= ContainParentDeath
	}
	if c.cgroup != nil {
		have |= ContainCgroup
	}
	if c.guardian.alive() {
		have |= ContainGuardian
	}
	if c.orphans != nil {
		have |= ContainSubreaper
	}
	return have
}

// release ends what is left, and the means with it.
func (s *Server) releaseContainment() {
	c := &s.contained
	c.orphans.stop()
	if c.guardian != nil || c.orphans != nil {
		sweep(s.mark, time.Second)
	}
	c.namespace.release()
	if c.ns != nil {
		c.ns.Close()
	}
	if c.cgroup != nil {
		removeCgroup(c.cgroup.Name())
		c.cgroup.Close()
	}
	c.guardian.release()
}

// isWorker reports whether a child of this process is one that the server waits for
// itself.
func (s *Server) isWorker(pid int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pids[pid] != nil
}

// isOver reports whether a worker has ended.
func (s *Server) isOver(serial uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.serials[serial]
}

// enrol gives a worker that is about to be started its number.
func (s *Server) enrol() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serial++
	s.serials[s.serial] = true
	return s.serial
}

// started and over keep the list of the workers that run.
func (s *Server) started(w *worker) {
	s.mu.Lock()
	s.pids[w.pid] = w
	ready := s.notices.wasEarly(w.pid)
	s.mu.Unlock()
	if ready {
		w.setReady()
	}
}

func (s *Server) over(w *worker) {
	s.mu.Lock()
	delete(s.serials, w.serial)
	delete(s.pids, w.pid)
	s.mu.Unlock()
	s.contained.orphans.ended(w.pid)
}

func prctlGet(option int, v *int32) error {
	_, _, errno := unix.Syscall(unix.SYS_PRCTL, uintptr(option), uintptr(unsafe.Pointer(v)), 0)
	if errno != 0 {
		return os.NewSyscallError("prctl", errno)
	}
	return nil
}
