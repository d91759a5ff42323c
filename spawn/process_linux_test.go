//go:build linux

package spawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// traits prints what this process was given.
func traits() string {
	umask := syscall.Umask(0)
	prio, _ := unix.Getpriority(unix.PRIO_PROCESS, 0)
	policy, _, _ := unix.Syscall(unix.SYS_SCHED_GETSCHEDULER, 0, 0, 0)
	var set unix.CPUSet
	unix.SchedGetaffinity(0, &set)
	var files, core unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_NOFILE, &files)
	unix.Getrlimit(unix.RLIMIT_CORE, &core)
	var cpus []int
	for i := range maxCPU {
		if set.IsSet(i) {
			cpus = append(cpus, i)
		}
	}
	return fmt.Sprintf("umask %03o nice %d policy %d cpus %v nofile %d %d core %d %d uid %d gomaxprocs %s omp %s from %q shim %q",
		umask, 20-prio, policy, cpus, files.Cur, files.Max, core.Cur, core.Max, os.Getuid(), os.Getenv("GOMAXPROCS"), os.Getenv("OMP_NUM_THREADS"), os.Getenv("FROM"), os.Getenv(envShim))
}

var traited = workerFunc("traited", func(*Child) { fmt.Println(traits()) })

// The same attributes for a function worker and for a command, all at once; and the
// next group, which asks for none, has none of them.
func TestAttributes(t *testing.T) {
	usable, err := usableProcessors()
	must(t, err)
	cpu := usable[len(usable)-1].id
	t.Setenv("FROM", "process")
	rec := newRecorder()
	s := newServer(t, Options{Output: rec.output})
	before := traits()
	syscall.Umask(0o022)
	spec := Spec{
		Func: traited, Workers: 2, Group: "func",
		Placement: Placement{Policy: PlaceList, CPUs: []string{fmt.Sprint(cpu)}},
		Process:   Process{Umask: "027", Nice: 3, Scheduling: "batch", Limits: map[string]uint64{"nofile": 100, "core": 0}, CleanEnv: true},
	}
	if err := start(t, s, spec).Wait(); err != nil {
		t.Error(err)
	}
	base, _ := unix.Getpriority(unix.PRIO_PROCESS, 0)
	want := fmt.Sprintf(`umask 027 nice %d policy 3 cpus [%d] nofile 100 100 core 0 0 uid %d gomaxprocs 1 omp 1 from "" shim ""`, min(19, 20-base+3), cpu, os.Getuid())
	for rank := range 2 {
		if got := rec.get(fmt.Sprintf("func/%d/stdout", rank)); !slices.Equal(got, []string{want}) {
			t.Errorf("worker %d:\ngot  %q\nwant %q", rank, got, want)
		}
	}
	spec.Func, spec.Group = "", "cmd"
	spec.Cmd = []string{"sh", "-c", `umask; nice; grep Cpus_allowed_list /proc/self/status; ulimit -n; ulimit -Hn; ulimit -c; echo "$GOMAXPROCS $OMP_NUM_THREADS $FROM $SHMKIT_SHIM $SHMKIT_RANK $#"; ls /proc/self/fd | wc -w`, "sh", "a b", "c"}
	if err := start(t, s, spec).Wait(); err != nil {
		t.Error(err)
	}
	wantLines := []string{"0027", fmt.Sprint(min(19, 20-base+3)), fmt.Sprintf("Cpus_allowed_list:\t%d", cpu), "100", "100", "0", "1 1   1 2"}
	start(t, s, Spec{Cmd: spec.Cmd, Workers: 1, Group: "bare"}).Wait()
	bare := rec.get("bare/0/stdout")
	wantLines = append(wantLines, bare[len(bare)-1]) // as many descriptors as without
	if got := rec.get("cmd/1/stdout"); !slices.Equal(got, wantLines) {
		t.Errorf("the command:\ngot  %q\nwant %q", got, wantLines)
	}
	start(t, s, Spec{Func: traited, Workers: 1, Group: "plain"}).Wait()
	plain := rec.get("plain/0/stdout")[0]
	cut := func(s string) string { return s[strings.Index(s, " nice"):strings.Index(s, " nofile")] }
	if cut(plain) != cut(before) {
		t.Errorf("a group without attributes:\ngot  %s\nwant %s", plain, before)
	}
}

// Umask and working directory of the launcher's thread are its own: those of this
// process stay, and a group with a umask works where this process works now.
func TestUmaskLeavesTheProcessAlone(t *testing.T) {
	rec := newRecorder()
	s := newServer(t, Options{Output: rec.output})
	start(t, s, Spec{Cmd: []string{"true"}, Workers: 1, Process: Process{Umask: "077"}}).Wait()
	if old := syscall.Umask(0o022); old != 0o022 {
		t.Errorf("the umask of this process became %03o", old)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	t.Chdir(dir)
	spec := shell(1, "pwd -P; umask")
	spec.Process.Umask = "077"
	start(t, s, spec).Wait()
	if got := rec.get("sh/0/stdout"); !slices.Equal(got, []string{dir, "0077"}) {
		t.Errorf("%q", got)
	}
}

// Another user, for root.
func TestUser(t *testing.T) {
	rec := newRecorder()
	s := newServer(t, Options{Output: rec.output})
	spec := shell(1, "id -u; id -g; id -G")
	spec.Process.User = &User{UID: 60123, GID: 60124, Groups: []uint32{60125}}
	g, err := s.Start(context.Background(), spec)
	if os.Geteuid() != 0 {
		if !errors.Is(err, errNotRoot) || !strings.Contains(err.Error(), "Spec.Process.User") {
			t.Errorf("not as root: %v", err)
		}
		return
	}
	must(t, err)
	g.Wait()
	if got := rec.get("sh/0/stdout"); !slices.Equal(got, []string{"60123", "60124", "60124 60125"}) {
		t.Errorf("%q, %v", got, rec.get("sh/0/stderr"))
	}
}

// A cgroup, where one can be written.
func TestCgroup(t *testing.T) {
	s := newServer(t, Options{})
	dir := testCgroup(t)
	spec := shell(1, "exec sleep 600")
	spec.Process.Cgroup = dir
	g := start(t, s, spec)
	procs, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil || strings.TrimSpace(string(procs)) != fmt.Sprint(g.Infos()[0].Pid) {
		t.Errorf("in the cgroup: %q, %v", procs, err)
	}
	must(t, g.Stop(context.Background()))
}

// testCgroup makes a cgroup, or skips.
func testCgroup(t *testing.T) string {
	t.Helper()
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if typ, err := statfsType(root); err != nil || typ != unix.CGROUP2_SUPER_MAGIC {
			continue
		}
		dir, err := os.MkdirTemp(root, "shmkit-test-")
		if err != nil {
			t.Skip("no cgroup can be made here: ", err)
		}
		t.Cleanup(func() {
			eventually(t, "the cgroup is empty", func() bool { return os.Remove(dir) == nil || errors.Is(os.Remove(dir), os.ErrNotExist) })
		})
		return dir
	}
	t.Skip("no version 2 cgroup file system here")
	return ""
}

func TestBadAttributes(t *testing.T) {
	s := newServer(t, Options{})
	var core unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_NOFILE, &core)
	for want, p := range map[string]Process{
		`Spec.Process.Umask: "9"`:                       {Umask: "9"},
		"Spec.Process.Nice: 77":                         {Nice: 77},
		`Spec.Process.Scheduling: "rr"`:                 {Scheduling: "rr"},
		`Spec.Process.Scheduling: "batch:1"`:            {Scheduling: "batch:1"},
		`Spec.Process.Limits["files"]: no such limit`:   {Limits: map[string]uint64{"files": 1}},
		`Spec.Process.Limits["nofile"]: 3: a worker`:    {Limits: map[string]uint64{"nofile": 3}},
		`is above the hard limit of this process`:       {Limits: map[string]uint64{"nofile": core.Max + 1}},
		"Spec.Process.Cgroup: /tmp is not in a version": {Cgroup: "/tmp"},
		"Spec.Process.Cgroup":                           {Cgroup: "/nonexistent"},
	} {
		_, err := s.Start(context.Background(), Spec{Cmd: []string{"true"}, Workers: 1, Process: p})
		var se *SpecError
		if !errors.As(err, &se) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", p, err, want)
		}
	}
	if _, err := s.Start(context.Background(), Spec{Func: traited, Workers: 1, Spares: 1, Placement: Placement{Policy: PlaceCompact}}); err == nil || !strings.Contains(err.Error(), "either Spares or Placement") {
		t.Errorf("spares with a placement: %v", err)
	}
	// A command that turns out not to be one only when the limits are set.
	file := filepath.Join(t.TempDir(), "garbage")
	must(t, os.WriteFile(file, []byte("\x7fELF"), 0o755))
	err := start(t, s, Spec{Cmd: []string{file}, Workers: 1, Process: Process{Limits: map[string]uint64{"core": 0}}}).Wait()
	if err == nil || !strings.Contains(err.Error(), "exited with code 126") || !strings.Contains(err.Error(), file) {
		t.Errorf("garbage: %v", err)
	}
}

// What attributes cost: a plain start, one with traits of the thread, and one with
// limits, which executes this binary first.
func BenchmarkSpawnAttributes(b *testing.B) {
	for name, p := range map[string]Process{"none": {}, "umask+nice": {Umask: "022", Nice: 1}, "limits": {Limits: map[string]uint64{"core": 0}}} {
		b.Run(name, func(b *testing.B) {
			s := newServer(b, Options{})
			for b.Loop() {
				if err := start(b, s, Spec{Cmd: []string{benchProgram}, Workers: 1, Process: p}).Wait(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("placement", func(b *testing.B) {
		s := newServer(b, Options{})
		for b.Loop() {
			if err := start(b, s, Spec{Cmd: []string{benchProgram}, Workers: 1, Placement: Placement{Policy: PlaceScatter}}).Wait(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
