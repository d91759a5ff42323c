package proctest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// inventory is what a process holds that outlives a careless test.
type inventory struct {
	files      map[string]int // link target of each descriptor → count
	maps       map[string]int // shared mapping → count
	children   map[string]bool
	goroutines int
}

// settle is how long leftovers may take to go away by themselves: goroutines
// and reaped children end shortly after the test that owned them. It bounds a
// failing run only; a clean one returns at once.
const settle = 5 * time.Second

func takeInventory() inventory {
	return inventory{
		files:      openFiles(),
		maps:       sharedMaps(),
		children:   children(),
		goroutines: runtime.NumGoroutine(),
	}
}

// leftovers describes what is held now and was not before.
func (b inventory) leftovers() []string {
	var left []string
	for deadline := time.Now().Add(settle); ; time.Sleep(10 * time.Millisecond) {
		left = left[:0]
		now := takeInventory()
		left = append(left, surplus("descriptor", b.files, now.files)...)
		left = append(left, surplus("mapping", b.maps, now.maps)...)
		for pid := range now.children {
			if !b.children[pid] {
				left = append(left, "child process "+pid)
			}
		}
		if now.goroutines > b.goroutines {
			buf := make([]byte, 1<<20)
			left = append(left, fmt.Sprintf("%d goroutines more than before:\n%s",
				now.goroutines-b.goroutines, buf[:runtime.Stack(buf, true)]))
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
		runtime.GC() // closes files that only a finalizer still owns, as a long-lived program would
	}
}

func surplus(what string, before, now map[string]int) []string {
	var left []string
	for k, n := range now {
		if d := n - before[k]; d > 0 {
			left = append(left, fmt.Sprintf("%s %s (%d)", what, k, d))
		}
	}
	return left
}

// openFiles counts descriptors by what they are. Those that the runtime and the
// testing package open for themselves are not anybody's leak.
func openFiles() map[string]int {
	count := map[string]int{}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return count
	}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name()))
		if err != nil {
			continue // the descriptor of this very listing
		}
		switch {
		case strings.HasPrefix(target, "anon_inode:[eventpoll]"),
			strings.HasPrefix(target, "anon_inode:[eventfd]"): // the netpoller
			continue
		case strings.HasPrefix(target, "/proc/"), strings.HasPrefix(target, "/sys/"):
			continue
		}
		// Sockets and pipes carry an inode number; the kind is what counts.
		if i := strings.IndexByte(target, '['); i > 0 && !strings.HasPrefix(target, "/") {
			target = target[:i]
		}
		count[target]++
	}
	return count
}

// sharedMaps counts shared mappings (permission column ending in s).
func sharedMaps() map[string]int {
	count := map[string]int{}
	b, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return count
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) >= 5 && strings.HasSuffix(f[1], "s") {
			name := f[4]
			if len(f) > 5 {
				name = strings.Join(f[5:], " ")
			}
			count[name]++
		}
	}
	return count
}

func children() map[string]bool {
	set := map[string]bool{}
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, l := range lists {
		b, err := os.ReadFile(l)
		if err != nil {
			continue
		}
		for _, pid := range strings.Fields(string(b)) {
			set[pid] = true
		}
	}
	return set
}
