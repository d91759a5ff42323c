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
// The scheduler breaks in where a function begins, and the function then begins
// again. All from the first beginning to the second is left out: it is not on the
// path of an undisturbed run.
func (p *Process) Trace() Trace {
	var trace Trace
	again := uintptr(0) // entry of the function that is to begin again
	for range p.Steps() {
		pc := p.rawPC()
		switch {
		case again == 0 && strings.HasPrefix(p.funcAt(pc), "runtime.morestack"):
			trace, again = p.dropBeginning(trace)
		case again == p.here(pc):
			again = 0
		}
		if again == 0 {
			trace = append(trace, pc)
		}
	}
	return trace
}

// dropBeginning takes the steps from the entry of the function that trace ends in
// off its end. It returns that entry, or 0 if there is none.
func (p *Process) dropBeginning(trace Trace) (Trace, uintptr) {
	if len(trace) == 0 {
		return trace, 0
	}
	fn := runtime.FuncForPC(p.here(trace[len(trace)-1]))
	for i := len(trace) - 1; i >= 0 && fn != nil && p.funcAt(trace[i]) == fn.Name(); i-- {
		if p.here(trace[i]) == fn.Entry() {
			return trace[:i], fn.Entry()
		}
	}
	return trace, 0
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
		fn := runtime.FuncForPC(p.here(pc))
		if fn == nil {
			continue
		}
		// By name it is the innermost function that was inlined here, by entry the
		// outermost: either may be of the package.
		outer := runtime.FuncForPC(fn.Entry())
		if strings.HasPrefix(fn.Name(), pkg) || outer != nil && strings.HasPrefix(outer.Name(), pkg) {
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
