package spawn

import (
	"bytes"
	"crypto/rand"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// envMark is in the environment of every worker, and so in that of its descendants:
//
//	SHMKIT_MARK=RANDOM.SERIAL
//
// RANDOM is the server's, SERIAL the worker's number in it. It tells processes that
// belong to a run from all others, also after setsid and when all who knew them are
// dead. A process that clears or overwrites its environment is not found by it.
const envMark = "SHMKIT_MARK"

func newMark() string { return rand.Text() }

func markOf(mark string, serial uint64) string {
	return envMark + "=" + mark + "." + strconv.FormatUint(serial, 10)
}

// marked returns the worker's number in the environment of a process, if it has our
// mark.
func marked(pid int, mark string) (serial uint64, ours bool) {
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return 0, false
	}
	key := []byte(envMark + "=" + mark + ".")
	for kv := range bytes.SplitSeq(env, []byte{0}) {
		if rest, ok := bytes.CutPrefix(kv, key); ok {
			serial, err = strconv.ParseUint(string(rest), 10, 64)
			return serial, err == nil
		}
	}
	return 0, false
}

// killMarked kills a process if it has our mark. The pidfd is opened before the mark is
// read, so whoever has got the number since is not who is killed.
func killMarked(pid int, mark string, dead func(serial uint64) bool) (killed bool) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	serial, ours := marked(pid, mark)
	return ours && dead(serial) && unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil
}

// sweep kills all processes of a mark that /proc shows, again and again until none is
// found: one may have forked behind our back. It gives up when the time is over.
func sweep(mark string, limit time.Duration) {
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		found := false
		for _, pid := range allPids() {
			if pid != os.Getpid() && killMarked(pid, mark, func(uint64) bool { return true }) {
				found = true
			}
		}
		if !found {
			return
		}
	}
}

func allPids() (pids []int) {
	d, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// ownChildren lists the children of this process.
func ownChildren() (pids []int) {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return nil
	}
	for _, t := range tasks {
		b, err := os.ReadFile("/proc/self/task/" + t.Name() + "/children")
		if err != nil {
			continue
		}
		for f := range strings.FieldsSeq(string(b)) {
			if pid, err := strconv.Atoi(f); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	slices.Sort(pids)
	return pids
}
