package spawn

import (
	"os"
	"strconv"
	"strings"
	"sync"
)

// An oomWatch tells deaths for want of memory from other SIGKILLs. The kernel says
// them apart only in a count of its kills, of this cgroup where there is a memory
// controller, else of the machine: a SIGKILL that the server did not send, with a kill
// on the count that no other death has claimed, was one of them.
type oomWatch struct {
	read func() (uint64, bool) // for tests

	mu      sync.Mutex
	claimed uint64
	ok      bool
}

func newOOMWatch() *oomWatch {
	o := &oomWatch{read: oomKills}
	o.claimed, o.ok = o.read()
	return o
}

// claim reports whether a death by SIGKILL was the kernel's doing.
func (o *oomWatch) claim() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, ok := o.read()
	if !o.ok || !ok || n <= o.claimed {
		return false
	}
	o.claimed++
	return true
}

// oomKills reads the count of processes that the kernel killed for want of memory.
func oomKills() (uint64, bool) {
	b, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		file := ""
		switch {
		case f[0] == "0" && f[1] == "":
			file = "/sys/fs/cgroup" + f[2] + "/memory.events"
		case strings.Contains(","+f[1]+",", ",memory,"):
			file = "/sys/fs/cgroup/memory" + f[2] + "/memory.oom_control"
		default:
			continue
		}
		if n, ok := readCount(file, "oom_kill"); ok {
			return n, true
		}
	}
	return readCount("/proc/vmstat", "oom_kill")
}

// readCount finds "key N" in a file of such lines.
func readCount(path, key string) (uint64, bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == key {
			n, err := strconv.ParseUint(f[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
