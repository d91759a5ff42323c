package stepper

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"shmkit/internal/proctest"

	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"
)

const (
	// maxSteps bounds one operation: an honest one takes hundreds of instructions,
	// a few thousand when the scheduler or the allocator joins in.
	maxSteps = 2_000_000

	// patience bounds a failing test only: how long a helper may take from one
	// Begin to the next before it is killed.
	patience = 90 * time.Second
)

// Process is the test's end of a helper that runs under ptrace. Its methods may
// only be called from the goroutine that called [Start]: the kernel knows the
// tracer by its thread, and Start locks the goroutine to it until the test ends.
type Process struct {
	cmd    *exec.Cmd
	image  []byte
	report []byte

	pid      int
	inside   bool        // between Begin and End
	ended    bool        // reaped
	deliver  unix.Signal // a signal of somebody else, to hand on when resuming
	err      error
	watchdog *time.Timer

	pinned bool        // thread locked, on one processor
	mask   unix.CPUSet // where it could run before
}

// Start runs the named proctest helper under ptrace, with image as the first
// contents of the memory it shares. The helper stands before its first
// instruction. Start skips the test where a process cannot be stepped.
func Start(t testing.TB, helper string, image []byte, args ...string) *Process {
	t.Helper()
	// First of all: a helper counts as used even when the test is then skipped.
	cmd := proctest.Command(t, helper, args...)
	if reason := unfit(); reason != "" {
		t.Skip("stepper: " + reason)
	}

	p := &Process{cmd: cmd}
	t.Cleanup(p.close)
	imageFile := p.share(t, len(image), &p.image)
	defer imageFile.Close()
	reportFile := p.share(t, reportSize, &p.report)
	defer reportFile.Close()
	copy(p.image, image)

	cmd.ExtraFiles = []*os.File{imageFile, reportFile}
	cmd.Env = append(cmd.Env, envImage+"="+strconv.Itoa(len(image)),
		"GOMAXPROCS=1", "GOGC=off", "GODEBUG=asyncpreemptoff=1")
	cmd.SysProcAttr = &unix.SysProcAttr{Ptrace: true}

	runtime.LockOSThread() // undone by close
	p.pin()
	if err := cmd.Start(); err != nil {
		// The child asks to be traced before it becomes the helper, and its errno
		// comes back through Start.
		for _, cannot := range []error{unix.EPERM, unix.EACCES, unix.ENOSYS, unix.ENOEXEC} {
			if errors.Is(err, cannot) {
				t.Skipf("stepper: a process cannot be traced here: %v", err)
			}
		}
		t.Fatalf("stepper: start helper %q: %v", helper, err)
	}
	p.pid = cmd.Process.Pid
	p.watchdog = time.AfterFunc(patience, func() { cmd.Process.Kill() })
	if sig := p.wait(); sig != unix.SIGTRAP {
		t.Fatalf("stepper: helper %q did not stop after exec: %v, %v", helper, sig, p.err)
	}
	if err := unix.PtraceSetOptions(p.pid, unix.PTRACE_O_EXITKILL); err != nil {
		t.Fatalf("stepper: PTRACE_O_EXITKILL: %v", err)
	}
	return p
}

// Image is the memory shared with the helper, as it is now: valid until the test
// ends, readable and writable while the helper stands still.
func (p *Process) Image() []byte { return p.image }

// Next runs the helper up to its next Begin, out of an operation in progress too,
// and reports whether it got there. False means that the helper has ended:
// [Process.Err] tells how.
func (p *Process) Next() bool {
	if p.watchdog != nil {
		p.watchdog.Reset(patience)
	}
	for !p.ended {
		p.resume(unix.PTRACE_CONT)
		switch sig := p.wait(); sig {
		case markBegin:
			p.inside = true
			return true
		case markEnd:
			p.inside = false
		default:
			p.deliver = sig
		}
	}
	return false
}

// Steps executes the operation at whose Begin the helper stands. It yields 1, 2,
// 3… after each instruction, up to its End or the helper's death. A caller that
// stops early leaves the helper standing at that very instruction, and may
// continue with another Steps, with Next or with Kill.
func (p *Process) Steps() iter.Seq[int] {
	return func(yield func(int) bool) {
		for n := 1; p.inside && !p.ended; n++ {
			if n > maxSteps {
				p.fail(fmt.Errorf("stepper: no End after %d steps, now at %s", maxSteps, p.Where()))
				return
			}
			p.resume(unix.PTRACE_SINGLESTEP)
			switch sig := p.waitStep(); {
			case p.ended:
				return
			case sig == markEnd:
				p.inside = false
				return
			case sig != unix.SIGTRAP:
				// Nothing was executed: the signal came first.
				p.deliver = sig
				n--
				continue
			}
			if !yield(n) {
				return
			}
		}
	}
}

// Kill ends the helper where it stands, as SIGKILL at this instruction does.
func (p *Process) Kill() {
	if p.ended {
		return
	}
	p.cmd.Process.Kill()
	for !p.ended {
		p.wait()
	}
	p.err = nil // it died as asked
}

// Err tells how the helper ended: nil while it runs, after exit code 0 and after
// Kill.
func (p *Process) Err() error { return p.err }

// Report reads what the helper reported last into v.
func (p *Process) Report(v any) error {
	n := binary.NativeEndian.Uint64(p.report[reportLen:])
	if n == 0 || n > reportSize-reportText {
		return fmt.Errorf("stepper: no report from the helper (length %d)", n)
	}
	return json.Unmarshal(p.report[reportText:][:n], v)
}

// Func names the function that the helper's program counter stands in, such as
// "shmkit/ring.(*Producer).Commit".
func (p *Process) Func() string { return p.funcAt(p.rawPC()) }

// Where names the function and the source line.
func (p *Process) Where() string {
	pc := p.here(p.rawPC())
	fn := runtime.FuncForPC(pc)
	if fn == nil {
		return fmt.Sprintf("pc %#x", pc)
	}
	file, line := fn.FileLine(pc)
	return fmt.Sprintf("%s (%s:%d)", fn.Name(), filepath.Base(file), line)
}

func (p *Process) funcAt(pc uintptr) string {
	if fn := runtime.FuncForPC(p.here(pc)); fn != nil {
		return fn.Name()
	}
	return ""
}

// rawPC is the helper's program counter, 0 when it cannot be had.
func (p *Process) rawPC() uintptr {
	var regs unix.PtraceRegs
	if p.ended || unix.PtraceGetRegs(p.pid, &regs) != nil {
		return 0
	}
	return uintptr(regs.PC())
}

// here translates a code address of the helper to this process, which runs the
// same binary, perhaps elsewhere.
func (p *Process) here(pc uintptr) uintptr {
	theirs := uintptr(binary.NativeEndian.Uint64(p.report[reportAnchor:]))
	return pc - theirs + anchor()
}

// resume lets the helper go on, by PTRACE_CONT or PTRACE_SINGLESTEP, with the
// signal it is owed.
func (p *Process) resume(request int) {
	sig := p.deliver
	p.deliver = 0
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(request), uintptr(p.pid), 0, uintptr(sig), 0, 0)
	if errno != 0 && errno != unix.ESRCH { // ESRCH: it was killed, which wait reports
		p.fail(fmt.Errorf("stepper: ptrace request %d: %w", request, errno))
	}
}

// wait returns the signal that the helper stopped by, or 0 when it has ended.
func (p *Process) wait() unix.Signal {
	for {
		var status unix.WaitStatus
		_, err := unix.Wait4(p.pid, &status, unix.WALL, nil)
		if err != unix.EINTR {
			return p.stopped(status, err)
		}
	}
}

// waitStep is wait after a single step. One instruction does not take long enough
// to tell the Go scheduler that the thread blocks, which would cost more than the
// step.
func (p *Process) waitStep() unix.Signal {
	for {
		var status unix.WaitStatus
		_, _, errno := unix.RawSyscall6(unix.SYS_WAIT4, uintptr(p.pid), uintptr(unsafe.Pointer(&status)), unix.WALL, 0, 0, 0)
		if errno == 0 {
			return p.stopped(status, nil)
		}
		if errno != unix.EINTR {
			return p.stopped(status, errno)
		}
	}
}

// stopped takes what a wait returned.
func (p *Process) stopped(status unix.WaitStatus, err error) unix.Signal {
	switch {
	case err != nil:
		p.fail(fmt.Errorf("stepper: wait for the helper: %w", err))
	case status.Stopped():
		return status.StopSignal()
	case status.Signaled():
		p.ended = true
		p.err = fmt.Errorf("stepper: the helper was killed by %v (or took more than %v)", status.Signal(), patience)
	case status.Exited():
		p.ended = true
		if code := status.ExitStatus(); code != 0 {
			p.err = fmt.Errorf("stepper: the helper exited with code %d", code)
		}
	}
	return 0
}

// fail gives the helper up after an error of the tracing itself.
func (p *Process) fail(err error) {
	p.cmd.Process.Kill()
	for !p.ended {
		var status unix.WaitStatus
		if _, e := unix.Wait4(p.pid, &status, unix.WALL, nil); e != nil && e != unix.EINTR {
			break
		} else if e == nil && !status.Stopped() {
			break
		}
	}
	p.ended = true
	p.err = err
}

// share makes n bytes of memory that the helper can map, maps them into *m for
// the test's lifetime, and returns the file to hand over.
func (p *Process) share(t testing.TB, n int, m *[]byte) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("stepper", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatalf("stepper: memfd_create: %v", err)
	}
	f := os.NewFile(uintptr(fd), "stepper")
	page := os.Getpagesize()
	if err := f.Truncate(int64((n + page - 1) / page * page)); err != nil {
		t.Fatalf("stepper: %v", err)
	}
	if *m, err = unix.Mmap(fd, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		t.Fatalf("stepper: map %d bytes: %v", n, err)
	}
	return f
}

// close leaves nothing of the helper behind.
func (p *Process) close() {
	if p.pid != 0 {
		p.watchdog.Stop()
		p.Kill()
		// Reaped above, with the status of a tracee; this frees the process handle.
		p.cmd.Process.Release()
	}
	if p.pinned {
		unix.SchedSetaffinity(0, &p.mask)
		runtime.UnlockOSThread()
	}
	for _, m := range [][]byte{p.image, p.report} {
		if m != nil {
			unix.Munmap(m)
		}
	}
}

// pin keeps the tracer and the helper it is about to start on one processor: only
// one of them ever runs, and waking the other one there costs a third of what it
// costs across processors.
func (p *Process) pin() {
	p.pinned = true
	var one unix.CPUSet
	var now uint32
	unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&now)), 0, 0)
	one.Set(int(now))
	if unix.SchedGetaffinity(0, &p.mask) == nil {
		unix.SchedSetaffinity(0, &one) // slower, not wrong, if refused
	}
}

// unfit says why a process could not be stepped here, or nothing.
func unfit() string {
	switch {
	case raceBuild:
		return "in a race build nearly every instruction is the detector's"
	case runtime.GOARCH == "arm64" && !cpu.ARM64.HasATOMICS:
		// The exception of a single step clears the exclusive monitor.
		return "load/store-exclusive loops never succeed when single-stepped, and this CPU has no LSE atomics"
	}
	return ""
}
