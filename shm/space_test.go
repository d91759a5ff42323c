//go:build linux && (amd64 || arm64)

package shm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"shmkit/internal/proctest"
)

// mounter mounts a tmpfs of 4 MiB in a mount namespace of its own, which nothing
// outlives, and fills it.
var mounter = proctest.Helper("full tmpfs", func(args []string) {
	dir := args[0]
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m,mode=0700"); err != nil {
		fmt.Println("skip: mount:", err)
		return
	}
	expect := func(err error, need int) {
		var s *SpaceError
		if !errors.As(err, &s) || !errors.Is(err, ErrExhausted) || s.Need < uint64(need) || s.Available > 4<<20 ||
			s.Available >= s.Need || !strings.Contains(err.Error(), "tmpfs under "+dir) || !strings.Contains(err.Error(), fmt.Sprint(s.Available)) {
			check(fmt.Errorf("%d bytes: %v", need, err))
		}
	}
	_, err := CreateNamed(dir, Options{Name: "large", Size: 8 << 20})
	expect(err, 8<<20)
	s, err := CreateNamed(dir, Options{Name: "fits", Size: 3 << 20, Prefault: true})
	check(err)
	_, err = s.Grow(3<<20 + 1)
	expect(err, 3<<20+1)
	_, err = OpenOrCreateNamed(dir, Options{Name: "second", Size: 2 << 20})
	expect(err, 2<<20)

	// Fill it to the last page behind the back of the look at the limits: the
	// reservation itself says it as well.
	f, err := os.Create(filepath.Join(dir, "ballast"))
	check(err)
	expect(allocate(f, 2<<20), 2<<20)
	check(f.Close())
	check(os.Remove(f.Name()))

	// Every byte of what was made can be written: it is reserved.
	for i := range s.Region() {
		s.Region()[i] = 1
	}
	check(s.Close())
	list, err := os.ReadDir(dir)
	check(err)
	if len(list) != 0 {
		check(fmt.Errorf("left behind: %v", list))
	}
	fmt.Println("ok")
})

// inNamespace lets a helper mount file systems that nobody else sees.
func inNamespace(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
	}
}

// finish runs a helper that prints "ok" or "skip: why".
func finish(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	out, err := cmd.Output()
	said := strings.TrimSpace(string(out))
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EACCES):
		t.Skip("cannot start the helper that way here: ", err)
	case err != nil:
		t.Fatalf("%v: %s", err, said)
	case strings.HasPrefix(said, "skip: "):
		t.Skip(said[6:])
	case said != "ok":
		t.Fatalf("helper said %q", said)
	}
}

// A tmpfs that is too small or full is an error that names it, what was needed
// and what was there. It is never a SIGBUS.
func TestFullTmpfs(t *testing.T) {
	cmd := proctest.Command(t, mounter, privateDir(t))
	inNamespace(cmd)
	finish(t, cmd)
}

// hungry waits until it was put into its cgroup, and asks for too much.
var hungry = proctest.Helper("hungry", func(args []string) {
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	if args[0] == "blindly" {
		f, err := memfd("blind", false)
		check(err)
		check(allocate(f, 256<<20))
		return
	}
	_, err := Create(Options{Name: "large", Size: 256 << 20})
	var s *SpaceError
	if !errors.As(err, &s) || !strings.Contains(err.Error(), "memory cgroup ") || s.Need < 256<<20 || s.Available > 64<<20 {
		check(fmt.Errorf("beyond the cgroup's limit: %v", err))
	}
	small, err := Create(Options{Name: "small", Size: 4 << 20})
	check(err)
	check(small.Close())
	os.Stdout.WriteString("ok\n")
})

// A reservation beyond the limit of the memory cgroup is refused before the
// kernel kills the process for it.
func TestMemoryCgroup(t *testing.T) {
	for _, how := range []string{"looking", "blindly"} {
		t.Run(how, func(t *testing.T) {
			cmd := proctest.Command(t, hungry, how)
			group := newCgroup(t, 64<<20)
			in := must(cmd.StdinPipe())(t)
			var out strings.Builder
			stdout := must(cmd.StdoutPipe())(t)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			io.ReadFull(stdout, make([]byte, len("ready\n")))
			if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(cmd.Process.Pid)), 0); err != nil {
				t.Skip("cannot move a process: ", err)
			}
			in.Close()
			io.Copy(&out, stdout)
			err := cmd.Wait()
			switch {
			case how == "looking" && (err != nil || out.String() != "ok\n"):
				t.Errorf("%v: %q", err, out.String())
			case how == "blindly" && err == nil:
				// The planted bug: without the look at the limits it must go wrong.
				t.Error("the reservation went through: the limit is not one")
			case how == "blindly":
				t.Log("without the look at the limits: ", err)
			}
		})
	}
}

// newCgroup makes a memory cgroup under our own, with a limit.
func newCgroup(t *testing.T, limit int) string {
	groups, err := memoryCgroups()
	if err != nil || len(groups) == 0 {
		t.Skip("no memory cgroup: ", err)
	}
	for _, g := range groups {
		dir, err := os.MkdirTemp(g.dir, "shm-test-")
		if err != nil {
			continue
		}
		t.Cleanup(func() { os.Remove(dir) })
		file := "memory.limit_in_bytes"
		if g.v2 {
			file = "memory.max"
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(strconv.Itoa(limit)), 0); err != nil {
			continue
		}
		return dir
	}
	t.Skip("cannot make a memory cgroup")
	return ""
}

// The limits are read right from both versions of cgroups.
func TestCgroupFiles(t *testing.T) {
	write := func(files map[string]string) string {
		dir := t.TempDir()
		for name, content := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	for _, c := range []struct {
		name  string
		v2    bool
		files map[string]string
		free  uint64
		ok    bool
	}{
		{"v1", false, map[string]string{"memory.limit_in_bytes": "1000\n", "memory.usage_in_bytes": "700\n",
			"memory.stat": "inactive_file 1\ntotal_inactive_file 200\ntotal_active_file 100\ntotal_shmem 400\n"}, 600, true},
		{"v1 without limit", false, map[string]string{"memory.limit_in_bytes": "9223372036854771712\n", "memory.usage_in_bytes": "7\n"}, 0, false},
		{"v2", true, map[string]string{"memory.max": "1000\n", "memory.current": "700\n", "memory.stat": "anon 5\ninactive_file 20\nactive_file 80\n"}, 400, true},
		{"v2 without limit", true, map[string]string{"memory.max": "max\n", "memory.current": "700\n"}, 0, false},
		{"v2 over the limit", true, map[string]string{"memory.max": "1000\n", "memory.current": "1700\n"}, 0, true},
		{"no controller", true, nil, 0, false},
		{"nonsense", true, map[string]string{"memory.max": "many\n"}, 0, false},
	} {
		free, ok, err := cgroup{write(c.files), c.v2}.free()
		if free != c.free || ok != c.ok || err != nil {
			t.Errorf("%s: %d, %v, %v, want %d, %v", c.name, free, ok, err, c.free, c.ok)
		}
	}
	const mounts = `30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:27 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
32 30 0:28 /docker/x /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
`
	if root, top := cgroupMount(mounts, false); root != "/" || top != "/sys/fs/cgroup/memory" {
		t.Error(root, top)
	}
	if root, top := cgroupMount(mounts, true); root != "/docker/x" || top != "/sys/fs/cgroup/unified" {
		t.Error(root, top)
	}
}

// thrifty does everything there is to do at each descriptor limit.
var thrifty = proctest.Helper("thrifty", func(args []string) {
	dir := args[0]
	r, w, err := os.Pipe() // what any Go program has: a poller
	check(err)
	check(errors.Join(r.Close(), w.Close()))
	var old unix.Rlimit
	check(unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	limit := func(n uint64) { check(unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: old.Max})) }
	count := func() (int, int) {
		fds, err := os.ReadDir("/proc/self/fd")
		check(err)
		maps, err := os.ReadFile("/proc/self/maps")
		check(err)
		return len(fds), strings.Count(string(maps), "shmkit") + strings.Count(string(maps), dir)
	}
	fds, maps := count()
	failures, successes := 0, 0
	for n := range uint64(200) {
		limit(n)
		try := func(s *Segment, err error) *Segment {
			if err == nil {
				successes++
				return s
			}
			failures++
			var e *Error
			if !errors.As(err, &e) || !errors.Is(err, unix.EMFILE) {
				check(fmt.Errorf("limit %d: %w", n, err))
			}
			if !strings.Contains(err.Error(), fmt.Sprintf("raise RLIMIT_NOFILE, which is %d", n)) {
				check(fmt.Errorf("limit %d: no advice: %w", n, err))
			}
			return nil
		}
		var open []*Segment
		if s := try(Create(Options{Name: "a", Size: 100})); s != nil {
			open = append(open, s)
			f, err := s.Reopen()
			try(nil, err)
			if err == nil {
				a, err := Attach(f, Expect{})
				open = append(open, try(a, err))
			}
			open = append(open, try(s.Grow(1000)))
		}
		if s := try(CreateNamed(dir, Options{Name: "n", Size: 100})); s != nil {
			open = append(open, s)
			open = append(open, try(OpenNamed(dir, Expect{Name: "n"})))
			if next := try(s.Grow(200)); next != nil {
				open = append(open, next)
				try(nil, s.Supersede(next))
			}
			open = append(open, try(OpenOrCreateNamed(dir, Options{Name: "m", Size: 100})))
		}
		for _, s := range open {
			if s != nil {
				check(s.Close())
			}
		}
	}
	limit(old.Cur)
	if f, m := count(); f != fds || m != maps {
		check(fmt.Errorf("%d descriptors and %d mappings before, %d and %d after", fds, maps, f, m))
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		check(fmt.Errorf("left in the directory: %v, %v", left, err))
	}
	if failures == 0 || successes == 0 {
		check(fmt.Errorf("%d failures, %d successes", failures, successes))
	}
	fmt.Println("ok")
})

// At every descriptor limit each call either works or says that the limit is too
// low, and nothing is left open.
func TestDescriptorLimit(t *testing.T) {
	finish(t, proctest.Command(t, thrifty, privateDir(t)))
}

// limited asks for more than its limits give.
var limited = proctest.Helper("limited", func(args []string) {
	set := func(resource int, n uint64) {
		check(unix.Setrlimit(resource, &unix.Rlimit{Cur: n, Max: n}))
	}
	expect := func(err error, where string, available uint64) {
		var s *SpaceError
		if !errors.As(err, &s) || s.Where != where || s.Available != available || s.Need < 1<<20 {
			check(fmt.Errorf("want %s with %d available: %v", where, available, err))
		}
	}
	o := Options{Name: "x", Size: 1 << 20, Lock: true}
	set(unix.RLIMIT_MEMLOCK, 64<<10)
	_, err := Create(o)
	expect(err, "RLIMIT_MEMLOCK", 64<<10)
	o.Size = 8 << 10
	s, err := Create(o) // 12 KiB with the header page
	check(err)
	if !s.Info().Locked || lockedBytes() != 12<<10 {
		check(fmt.Errorf("locked %d bytes: %+v", lockedBytes(), s.Info()))
	}
	o.Size = 1 << 20
	_, err = Create(o)
	expect(err, "RLIMIT_MEMLOCK", 52<<10)
	o.Lock = false
	big, err := Create(o)
	check(err)
	f, err := big.Reopen()
	check(err)
	_, err = Attach(f, Expect{Lock: true})
	expect(err, "RLIMIT_MEMLOCK", 52<<10)
	check(big.Close())
	check(s.Close())

	set(unix.RLIMIT_FSIZE, 64<<10) // would be a signal, not an error
	_, err = Create(o)
	expect(err, "RLIMIT_FSIZE", 64<<10)
	fmt.Println("ok")
})

func TestResourceLimits(t *testing.T) {
	cmd := proctest.Command(t, limited)
	if os.Geteuid() == 0 { // which may lock whatever it likes
		cmd.Path = "/proc/self/exe"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	if os.Getpagesize() != 4096 {
		t.Skip("counts in pages of 4096 bytes")
	}
	finish(t, cmd)
}

// A file system without fallocate gets its zeros written.
func TestWriteZeros(t *testing.T) {
	f := must(os.CreateTemp(t.TempDir(), "zeros"))(t)
	defer f.Close()
	const total = 3<<20 + 5
	if err := writeZeros(f, 7, total); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Size != total || st.Blocks*512 < total-4096 {
		t.Errorf("%d bytes in %d blocks, %v", st.Size, st.Blocks, err)
	}
}
