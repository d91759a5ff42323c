package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// pinPair keeps this process, and all that it starts, on two cores while the benchmark
// runs, so that both sides of each party have a core of their own, always the same ones.
// A machine without cores to spare is left alone: there the scheduler has no choice.
func pinPair(b *testing.B) {
	b.Helper()
	if cores := ownCores(); len(cores) >= 4 {
		b.Logf("pinned to processors %v", cores[1:3])
		pinTo(b, cores[1:3])
	}
}

// ownCores returns a processor of each core that this process may use.
func ownCores() (cpus []int) {
	var mask unix.CPUSet
	if unix.SchedGetaffinity(0, &mask) != nil {
		return nil
	}
	seen := map[string]bool{}
	for cpu := range 8 * len(mask) * 8 {
		if !mask.IsSet(cpu) {
			continue
		}
		core, err := os.ReadFile(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu))
		if err != nil || !seen[string(core)] {
			seen[string(core)] = err == nil
			cpus = append(cpus, cpu)
		}
	}
	return cpus
}

// pinTo moves all threads of this process until the test is over.
func pinTo(tb testing.TB, cpus []int) {
	tb.Helper()
	var before, mask unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		tb.Skip(err)
	}
	for _, cpu := range cpus {
		mask.Set(cpu)
	}
	moveThreads(tb, &mask)
	tb.Cleanup(func() { moveThreads(tb, &before) })
}

// moveThreads goes round until it meets no new thread: threads are made by others, whose
// mask they have.
func moveThreads(tb testing.TB, mask *unix.CPUSet) {
	tb.Helper()
	moved := map[int]bool{}
	for fresh := true; fresh; {
		fresh = false
		tasks, err := filepath.Glob("/proc/self/task/*")
		if err != nil {
			tb.Fatal(err)
		}
		for _, t := range tasks {
			tid, _ := strconv.Atoi(filepath.Base(t))
			if !moved[tid] {
				moved[tid], fresh = true, true
				if err := unix.SchedSetaffinity(tid, mask); err != nil && err != unix.ESRCH {
					tb.Fatal(err)
				}
			}
		}
	}
}

// What is started while the process is pinned is pinned, too, and nothing is afterwards.
func TestPin(t *testing.T) {
	allowed := func() string {
		out, err := exec.Command("cat", "/proc/self/status").Output()
		if err != nil {
			t.Skip(err)
		}
		_, rest, _ := strings.Cut(string(out), "Cpus_allowed_list:\t")
		list, _, _ := strings.Cut(rest, "\n")
		return list
	}
	before, last := allowed(), ownCores()[len(ownCores())-1]
	t.Run("pinned", func(t *testing.T) {
		pinTo(t, []int{last})
		if got := allowed(); got != strconv.Itoa(last) {
			t.Errorf("a child may run on %s, pinned to %d", got, last)
		}
	})
	if got := allowed(); got != before {
		t.Errorf("a child may run on %s afterwards, before on %s", got, before)
	}
}
