// Package stepper runs an operation of a second process one machine instruction
// at a time, and lets a test look at (or change) the memory both share after
// each of them.
//
// "The writer may die at any instruction" is a claim about every instruction, so
// it is tested at every instruction:
//
//	var _ = proctest.Helper("commit", func([]string) {
//		tracee := stepper.Attach()
//		p, _ := ring.NewProducer(tracee.Image, ring.ProducerOptions{})
//		tracee.Begin()
//		p.Write(1, payload)
//		tracee.End()
//	})
//
//	func TestCommitAtEveryInstruction(t *testing.T) {
//		p := stepper.Start(t, "commit", make([]byte, size))
//		for p.Next() { // up to the next Begin
//			for range p.Steps() { // after every instruction up to its End
//				check(t, bytes.Clone(p.Image()))
//			}
//		}
//		if err := p.Err(); err != nil {
//			t.Fatal(err)
//		}
//	}
//
// What a test can rely on:
//
//   - Between two steps the stepped thread has executed exactly one instruction
//     (a system call counts as one), and it stands still while the test looks.
//     To every other process a thread in this state is the same as one stopped
//     by SIGSTOP, and killing it here is the same as SIGKILL at this instruction.
//   - Only what stands between Begin and End is stepped; the rest runs at speed.
//   - The helper's image is mapped between two inaccessible pages, so that an
//     access outside it, on page granularity, is a fault and not a lucky read.
//   - The helper is gone when the test ends.
//
// Single steps show the program order of one thread. They do not show what the
// store buffers of a processor may still hold back; the models in docs/model
// cover that part.
//
// Only the main thread of the helper is traced (with PTRACE_TRACEME and no
// clone option), and the helper function is locked to it. The collector and
// asynchronous preemption are off in the helper. Go's monitor thread may still
// ask for a cooperative reschedule inside a long operation: this adds a few
// thousand instructions of the scheduler to the step count and changes nothing
// else.
//
// [Start] skips the test, with the reason, where the system refuses ptrace (some
// containers), does not have it (emulators of user programs), and in race builds,
// where nearly every instruction would be the detector's.
package stepper
