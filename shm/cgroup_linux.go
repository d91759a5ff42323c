//go:build amd64 || arm64

package shm

import (
	"path/filepath"
	"strconv"
	"strings"
)

// memoryRoom compares need with what the memory cgroups of this process, and
// the machine itself, have left.
func memoryRoom(need uint64) error {
	groups, err := memoryCgroups()
	if err != nil {
		return err
	}
	for _, g := range groups {
		free, ok, err := g.free()
		if err != nil {
			return err
		}
		if ok && need > free {
			return &SpaceError{"memory cgroup " + g.dir, need, free, nil}
		}
	}
	info, err := readMeminfo()
	if err != nil {
		return err
	}
	if free := info["MemAvailable"] + info["SwapFree"]; len(info) > 0 && need > free {
		return &SpaceError{"this machine's memory", need, free, nil}
	}
	return nil
}

// A cgroup is a directory of the memory controller, version 1 or 2.
type cgroup struct {
	dir string
	v2  bool
}

// free is the group's limit less what it uses. File pages are not counted as
// used: the kernel drops them before it kills.
func (g cgroup) free() (free uint64, limited bool, err error) {
	names := [3]string{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_"}
	if g.v2 {
		names = [3]string{"memory.max", "memory.current", ""}
	}
	limit, ok, err := readNumber(filepath.Join(g.dir, names[0]))
	if err != nil || !ok || limit > maxTotal*2 { // version 1 says "no limit" with a huge one
		return 0, false, err
	}
	used, ok, err := readNumber(filepath.Join(g.dir, names[1]))
	if err != nil || !ok {
		return 0, false, err
	}
	stat, err := readProc(filepath.Join(g.dir, "memory.stat"))
	if err != nil {
		return 0, false, err
	}
	for line := range strings.Lines(stat) {
		f := strings.Fields(line)
		if len(f) == 2 && (f[0] == names[2]+"inactive_file" || f[0] == names[2]+"active_file") {
			n, _ := strconv.ParseUint(f[1], 10, 64)
			used -= min(n, used)
		}
	}
	return limit - min(used, limit), true, nil
}

// memoryCgroups lists the groups whose limits apply to this process: its own and
// those above.
func memoryCgroups() ([]cgroup, error) {
	own, err := readProc("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	mounts, err := readProc("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var groups []cgroup
	for line := range strings.Lines(own) {
		// 8:memory:/a/b in version 1, 0::/a/b in version 2
		part := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(part) != 3 {
			continue
		}
		v2 := part[0] == "0" && part[1] == ""
		if !v2 && !hasWord(part[1], "memory") {
			continue
		}
		root, top := cgroupMount(mounts, v2)
		if top == "" {
			continue
		}
		rel, ok := strings.CutPrefix(part[2], root)
		if root != "/" && !ok { // in a namespace of its own, the mount shows what is ours
			rel = ""
		}
		dir := filepath.Join(top, rel)
		for strings.HasPrefix(dir, top) {
			groups = append(groups, cgroup{dir, v2})
			if dir == top {
				break
			}
			dir = filepath.Dir(dir)
		}
	}
	return groups, nil
}

// cgroupMount finds where the memory controller is mounted, and which part of
// the hierarchy is.
func cgroupMount(mountinfo string, v2 bool) (root, top string) {
	for line := range strings.Lines(mountinfo) {
		// 36 35 98:0 /root /mount/point rw,noatime master:1 - cgroup cgroup rw,memory
		before, after, ok := strings.Cut(line, " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 5 || len(g) < 3 {
			continue
		}
		if v2 && g[0] == "cgroup2" || !v2 && g[0] == "cgroup" && hasWord(g[2], "memory") {
			return f[3], f[4]
		}
	}
	return "", ""
}

func hasWord(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if w == word {
			return true
		}
	}
	return false
}
