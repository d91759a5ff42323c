package stepper

import (
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// A Trace is the path of one operation: Trace[i] is where the program counter
// stood after i+1 steps, in the helper's addresses.
type Trace []uintptr

// Trace executes the operation at whose Begin the helper stands, to its End, and
// returns its path.
//
// Where the scheduler broke in, it did so at the beginning of a function, which
// then begins again. That first beginning is left out: it is not on the path that
// an undisturbed run takes.
func (p *Process) Trace() Trace {
	var trace Trace
	disturbed := false
	for range p.Steps() {
		pc := p.rawPC()
		name := p.funcAt(pc)
		switch {
		case strings.HasPrefix(name, "runtime.morestack"):
			if !disturbed && len(trace) > 0 {
				trace = p.dropPrologue(trace)
			}
			disturbed = true
		case !strings.HasPrefix(name, "runtime."):
			disturbed = false
		}
		trace = append(trace, pc)
	}
	return trace
}

// dropPrologue takes the steps from the entry of the function that trace ends in
// off its end.
func (p *Process) dropPrologue(trace Trace) Trace {
	fn := runtime.FuncForPC(p.here(trace[len(trace)-1]))
	for i := len(trace) - 1; i >= 0 && fn != nil && p.funcAt(trace[i]) == fn.Name(); i-- {
		if p.here(trace[i]) == fn.Entry() {
			return trace[:i]
		}
	}
	return trace
}

// Places returns the indexes i of trace that lie in code of the given package (or
// of one whose path begins with it, and so in its external tests): those that
// [Process.Goto] can go to. The Go runtime is not a place to go: other threads of
// the helper run its code too and would be hit by the breakpoint, and its path is
// never the same twice.
func (p *Process) Places(trace Trace, pkg string) []int {
	if len(trace) == 0 {
		return nil
	}
	var places []int
	// After the last step the End is already under way, and a breakpoint is late.
	for i, pc := range trace[:len(trace)-1] {
		if strings.HasPrefix(p.funcAt(pc), pkg) {
			places = append(places, i)
		}
	}
	return places
}

// Goto brings the helper, which stands at the Begin of an operation that takes
// the path of trace, to where it stands after i+1 steps. It uses a breakpoint and
// so costs a few stops where [Process.Steps] costs i+1. It reports false when the
// operation came to its End on another path, as happens when the scheduler broke
// into one of the two.
func (p *Process) Goto(trace Trace, i int) bool {
	at := trace[i]
	visits := 1
	for _, pc := range trace[:i] {
		if pc == at {
			visits++
		}
	}
	// The first step is a step: a breakpoint under the helper's feet, where Begin
	// stopped, would be one visit too many.
	p.resume(unix.PTRACE_SINGLESTEP)
	if sig := p.waitStep(); sig != unix.SIGTRAP {
		p.fail(fmt.Errorf("stepper: signal %v instead of the first step", sig))
		return false
	}
	if i == 0 {
		return true
	}
	code := make([]byte, len(trap))
	if _, err := unix.PtracePeekText(p.pid, at, code); err != nil {
		p.fail(fmt.Errorf("stepper: read code at %#x: %w", at, err))
		return false
	}
	poke := func(text []byte) {
		if _, err := unix.PtracePokeText(p.pid, at, text); err != nil && !p.ended {
			p.fail(fmt.Errorf("stepper: write code at %#x: %w", at, err))
		}
	}
	poke(trap)
	for p.inside && !p.ended {
		p.resume(unix.PTRACE_CONT)
		switch sig := p.wait(); sig {
		case markEnd:
			p.inside = false
		case unix.SIGTRAP:
			poke(code)
			var regs unix.PtraceRegs
			if err := unix.PtraceGetRegs(p.pid, &regs); err != nil {
				p.fail(fmt.Errorf("stepper: registers: %w", err))
				return false
			}
			regs.SetPC(uint64(at))
			if err := unix.PtraceSetRegs(p.pid, &regs); err != nil {
				p.fail(fmt.Errorf("stepper: registers: %w", err))
				return false
			}
			if visits--; visits == 0 {
				return true
			}
			p.resume(unix.PTRACE_SINGLESTEP)
			if sig := p.waitStep(); sig != unix.SIGTRAP {
				p.deliver = sig
			}
			poke(trap)
		default:
			p.deliver = sig
		}
	}
	if !p.ended {
		poke(code)
	}
	return false
}
