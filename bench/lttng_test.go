package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// BenchmarkLTTng compares an event with one of LTTng-UST, same three values, by
// quill's method: medians of batches of 20 calls, each party in a process of its
// own, its consumer in another.
//
// The bar: an event costs at most a quarter.
func BenchmarkLTTng(b *testing.B) {
	pinPair(b)
	exe := buildLTTng(b)
	startLTTng(b)
	var ours, theirs []float64
	for b.Loop() {
		for range rounds {
			ours = append(ours, runHotPath(b, 0)[0])
			theirs = append(theirs, runLTTng(b, exe))
		}
	}
	reportPair(b, "ns", ours, theirs)
}

// buildLTTng builds the program, or skips with a plain message.
func buildLTTng(b *testing.B) string {
	b.Helper()
	for program, pkg := range map[string]string{"cc": "gcc", "lttng": "lttng-tools", "lttng-sessiond": "lttng-tools"} {
		if _, err := exec.LookPath(program); err != nil {
			b.Skipf("%s is not installed (Debian package %s): nothing to compare with", program, pkg)
		}
	}
	exe := filepath.Join(b.TempDir(), "hot_path")
	if out, err := exec.Command("cc", "-O2", "-Ilttng", "-o", exe, "lttng/hot_path.c", "-llttng-ust", "-ldl").CombinedOutput(); err != nil {
		b.Skipf("hot_path.c does not build (Debian package liblttng-ust-dev): %v\n%s", err, out)
	}
	return exe
}

// startLTTng starts a session daemon that ends with the benchmark.
func startLTTng(b *testing.B) {
	b.Helper()
	b.Setenv("LTTNG_HOME", b.TempDir())
	if exec.Command("lttng", "--no-sessiond", "list").Run() == nil {
		b.Skip("a session daemon of LTTng is running: its sessions are not to be disturbed")
	}
	daemon := exec.Command("lttng-sessiond", "--no-kernel")
	if err := daemon.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		daemon.Process.Signal(os.Interrupt)
		daemon.Wait()
	})
	for start := time.Now(); exec.Command("lttng", "--no-sessiond", "list").Run() != nil; time.Sleep(20 * time.Millisecond) {
		if time.Since(start) > 10*time.Second {
			b.Skip("lttng-sessiond does not answer")
		}
	}
}

// runLTTng runs the program in a session of its own and returns its p50 in ns.
func runLTTng(b *testing.B, exe string) (p50 float64) {
	b.Helper()
	session := fmt.Sprintf("shmkit-%d", os.Getpid())
	for _, args := range [][]string{
		{"create", session, "--output", filepath.Join(b.TempDir(), "trace")},
		{"enable-event", "-u", "-s", session, "shmkit:request"},
		{"start", session},
	} {
		if out, err := exec.Command("lttng", args...).CombinedOutput(); err != nil {
			b.Fatalf("lttng %v: %v\n%s", args, err, out)
		}
	}
	defer exec.Command("lttng", "destroy", session).Run()
	out, err := exec.Command(exe, runtimeString).Output()
	if err != nil {
		b.Fatal(err)
	}
	if _, err := fmt.Sscan(string(out), &p50); err != nil {
		b.Fatalf("hot_path printed %q", out)
	}
	return p50
}
