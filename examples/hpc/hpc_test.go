package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var (
	slurm    *cluster
	programs string // hpc and shmkit, built once
)

func TestMain(m *testing.M) {
	code := 1
	defer func() { os.Exit(code) }()
	if err := needSlurm(); err == nil {
		var err error
		if programs, err = buildPrograms(); err == nil {
			slurm, err = startCluster()
			defer slurm.stop()
		}
		defer os.RemoveAll(programs)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return
		}
	}
	code = m.Run()
}

func buildPrograms() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "shmkit-programs-"); err != nil {
		return "", err
	}
	for name, pkg := range map[string]string{"hpc": ".", "shmkit": "../../cmd/shmkit"} {
		cmd := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(dir, name), ".")
		cmd.Dir = pkg
		if out, err := cmd.CombinedOutput(); err != nil {
			return dir, fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
		}
	}
	return dir, nil
}

var sites atomic.Int64

// newSite makes a folder for a user (0: root) and checks at the end that the jobs
// left nothing in ps, in /dev/shm and in TMPDIR.
func newSite(t *testing.T, uid int) *site {
	t.Helper()
	if err := needSlurm(); err != nil {
		t.Skip(err)
	}
	dir, err := os.MkdirTemp("", "shmkit-site-")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, dir: dir, home: fmt.Sprintf("/dev/shm/shmkit-%d", uid), mark: fmt.Sprintf("SHMKIT_HPC_SITE=%d.%d", os.Getpid(), sites.Add(1))}
	s.old, _ = filepath.Glob(s.home + "/*")
	if uid != 0 {
		s.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
	}
	for name, mode := range map[string]os.FileMode{"hpc": 0o755, "shmkit": 0o755} {
		s.copy(filepath.Join(programs, name), name, mode)
	}
	s.copy("rank.py", "rank.py", 0o644)
	s.copy("job.sbatch", "job.sbatch", 0o755)
	if err := os.Chown(dir, uid, uid); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, left := range s.leftovers(20 * time.Second) {
			t.Errorf("left behind: %s", left)
		}
		os.RemoveAll(dir)
	})
	return s
}

func (s *site) copy(from, to string, mode os.FileMode) {
	s.t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(filepath.Join(s.dir, to), b, mode)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// leftovers names what jobs of this site left, after some time to go.
func (s *site) leftovers(settle time.Duration) []string {
	for deadline := time.Now().Add(settle); ; time.Sleep(50 * time.Millisecond) {
		var left []string
		environs, _ := filepath.Glob("/proc/[0-9]*/environ")
		for _, path := range environs {
			env, err := os.ReadFile(path)
			if err == nil && slices.Contains(strings.Split(string(env), "\x00"), s.mark) {
				cmdline, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
				left = append(left, fmt.Sprintf("process %s: %q", filepath.Base(filepath.Dir(path)), cmdline))
			}
		}
		for _, pattern := range []string{s.home + "/*", s.dir + "/shmkit*-*", s.dir + "/ompi*"} {
			paths, _ := filepath.Glob(pattern)
			left = append(left, slices.DeleteFunc(paths, func(p string) bool { return slices.Contains(s.old, p) })...)
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}

// record is a line of the job's log.
type record struct {
	File   string `json:"-"`
	Msg    string
	Group  string
	Worker int
	Run    string
	Part   float64
	Blocks int
	Cause  string
}

func (s *site) records() []record {
	s.t.Helper()
	files, _ := filepath.Glob(filepath.Join(s.dir, "job-*.jsonl"))
	var all []record
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			s.t.Fatal(err)
		}
		for line := range bytes.Lines(b) {
			r := record{File: filepath.Base(f)}
			if err := json.Unmarshal(line, &r); err != nil {
				s.t.Fatalf("%s: %q: %v", f, line, err)
			}
			all = append(all, r)
		}
	}
	return all
}

func (s *site) want(cmd *exec.Cmd) string {
	s.t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%q: %v\n%s", cmd.Args, err, out)
	}
	return string(out)
}

// checkSum checks that each rank told its part once, that the parts make π, and
// that the ranks of a file shared one node.
func (s *site) checkSum(size, files int) {
	s.t.Helper()
	sum, ranks, runs := 0.0, map[int]int{}, map[string]map[string]bool{}
	for _, r := range s.records() {
		switch r.Msg {
		case "begin":
			if runs[r.File] == nil {
				runs[r.File] = map[string]bool{}
			}
			runs[r.File][r.Run] = true
		case "end":
			ranks[r.Worker]++
			sum += r.Part
		}
	}
	for i := range size {
		if ranks[i] != 1 {
			s.t.Errorf("rank %d told its part %d times", i, ranks[i])
		}
	}
	if math.Abs(sum-math.Pi) > 1e-9 {
		s.t.Errorf("the parts make %v", sum)
	}
	if len(runs) != files {
		s.t.Errorf("%d files, want %d: %v", len(runs), files, runs)
	}
	for f, names := range runs {
		if len(names) != 1 {
			s.t.Errorf("%s was written by the nodes of %d runs: %v", f, len(names), names)
		}
	}
}

// users are those that the jobs are run as.
var users = map[string]int{"root": 0, "nobody": 65534}

func TestSrun(t *testing.T) {
	for name, uid := range users {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, uid)
			s.want(s.command("srun", "-N2", "-n8", "hpc"))
			s.checkSum(8, 2)
		})
	}
}

func TestSrun64(t *testing.T) {
	s := newSite(t, 0)
	s.want(s.command("srun", "-N2", "-n64", "--overcommit", "hpc", "-blocks", "5"))
	s.checkSum(64, 2)
}

// A job of two programs in two languages, as its users would submit it.
func TestSbatch(t *testing.T) {
	for name, uid := range users {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, uid)
			s.want(s.command("sbatch", "--wait", "job.sbatch"))
			seen := map[string]int{}
			for _, r := range s.records() {
				seen[strings.TrimRight(r.Msg, "0123456789")]++
				if r.Msg == fmt.Sprintf("python rank %d of 8, level info", r.Worker) {
					seen["python"]++
				}
			}
			if seen["begin"] != 4 || seen["end"] != 4 || seen["python"] != 4 || seen["a warning from python"] != 4 {
				out, _ := filepath.Glob(filepath.Join(s.dir, "job-*.out"))
				for _, f := range out {
					b, _ := os.ReadFile(f)
					t.Logf("%s: %s", f, b)
				}
				t.Errorf("records: %v", seen)
			}
		})
	}
}

// await waits until n records say msg.
func (s *site) await(msg string, n int) {
	s.t.Helper()
	var got int
	for limit := time.Now().Add(2 * time.Minute); time.Now().Before(limit); time.Sleep(20 * time.Millisecond) {
		got = 0
		files, _ := filepath.Glob(filepath.Join(s.dir, "job-*.jsonl"))
		for _, f := range files {
			b, _ := os.ReadFile(f)
			got += bytes.Count(b, []byte(`"msg":"`+msg+`"`))
		}
		if got == n {
			return
		}
	}
	s.t.Fatalf("%d records %q, want %d", got, msg, n)
}

const forever = "1000000000"

func TestScancel(t *testing.T) {
	for name, uid := range users {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, uid)
			id := s.submit("--ntasks=8", "--nodes=2", "srun -N2 -n8 hpc -blocks "+forever)
			s.await("begin", 8)
			s.want(s.command("scancel", id))
			s.await("stopped", 8)
		})
	}
}

// submit submits a script of one line and returns the job's number.
func (s *site) submit(args ...string) string {
	s.t.Helper()
	script := args[len(args)-1]
	args = append([]string{"--parsable", "--output=job-%j.out"}, args[:len(args)-1]...)
	id := strings.TrimSpace(s.want(s.command("sbatch", append(args, "--wrap", script)...)))
	if _, err := strconv.Atoi(id); err != nil {
		s.t.Fatalf("sbatch said %q", id)
	}
	s.t.Cleanup(func() { exec.Command("env", "SLURM_CONF="+slurm.conf, "scancel", "-f", id).Run() })
	return id
}

// The warning before the end of the time ends the ranks in order.
func TestWarningSignal(t *testing.T) {
	s := newSite(t, 0)
	s.submit("--ntasks=4", "--time=1", "--signal=USR1@58", "srun -n4 hpc -blocks "+forever)
	s.await("begin", 4)
	s.await("stopped", 4)
	for _, r := range s.records() {
		if r.Msg == "stopped" && !strings.Contains(r.Cause, "user defined signal 1") {
			t.Errorf("stopped by %q", r.Cause)
		}
	}
}

// The end of the time itself is a SIGTERM.
func TestTimeLimit(t *testing.T) {
	s := newSite(t, 0)
	s.submit("--ntasks=4", "--time=1", "srun -n4 hpc -blocks "+forever)
	s.await("begin", 4)
	s.await("stopped", 4)
}

func TestMpirun(t *testing.T) {
	for name, uid := range users {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, uid)
			s.want(s.command("mpirun", "-np", "8", "--oversubscribe", "hpc"))
			s.checkSum(8, 1)
		})
	}
}

func TestMpirunForeign(t *testing.T) {
	s := newSite(t, 0)
	s.want(s.command("mpirun", "-np", "4", "--oversubscribe", "shmkit", "rank", "--set", "level=info", "--log", "json:job-%N.jsonl", "--", "python3", "rank.py"))
	got := map[string]int{}
	for _, r := range s.records() {
		got[r.Msg]++
	}
	for i := range 4 {
		if msg := fmt.Sprintf("python rank %d of 4, level info", i); got[msg] != 1 {
			t.Errorf("%q came %d times: %v", msg, got[msg], got)
		}
	}
}
