package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"shmkit/adapters/sqlitedb"
)

// writes is a shell script that writes n lines to each stream.
const writes = `i=0
while [ $i -lt %d ]; do
	echo "out $SHMKIT_RANK $i"
	echo "err $SHMKIT_RANK $i" >&2
	i=$((i+1))
done
`

// Guarantees, for every worker and both of its streams:
//  1. every line is one record, once,
//  2. in order,
//  3. with the rank, pid, stream, group and level it has,
//  4. in every sink.
//
// The check was seen to fail with a stream swapped, a line dropped and two
// lines exchanged in the expected lists.
func TestEveryLineOnce(t *testing.T) {
	l := newLab(t)
	const workers, lines = 8, 300
	r := l.shmkit("run", "-n", fmt.Sprint(workers), "--name", "lines",
		"--log", "json:out.jsonl", "--log", "text:out.txt", "--log", "sqlite:out.db", "--log", "console",
		"--", "sh", "-c", fmt.Sprintf(writes, lines))
	if r.code != 0 || r.stderr != "" {
		t.Fatalf("exit code %d, stderr %q", r.code, r.stderr)
	}

	all := l.records("out.jsonl")
	got, _ := captured(all)
	pids := map[int]int{}
	for rank := range workers {
		for _, stream := range []string{"stdout", "stderr"} {
			var want []string
			for i := range lines {
				want = append(want, fmt.Sprintf("%s %d %d", strings.TrimPrefix(stream, "std"), rank, i))
			}
			if key := fmt.Sprintf("%d/%s", rank, stream); !slices.Equal(got[key], want) {
				t.Errorf("worker %s: %d lines, not the %d written: %.300q…", key, len(got[key]), lines, got[key])
			}
		}
	}
	if len(got) != 2*workers {
		t.Errorf("%d streams", len(got))
	}
	for _, rec := range all {
		if *rec.Worker < 0 {
			continue
		}
		want := map[string]string{"stdout": "INFO", "stderr": "WARN"}[rec.Stream]
		if rec.Level != want || rec.Group != "sh" || rec.PID <= 0 || rec.Time.IsZero() {
			t.Fatalf("record %+v", rec)
		}
		if pid, ok := pids[*rec.Worker]; ok && pid != rec.PID {
			t.Fatalf("worker %d has pids %d and %d", *rec.Worker, pid, rec.PID)
		}
		pids[*rec.Worker] = rec.PID
	}
	l.absent("out.db-wal", "out.db-shm")
	l.sinksAgree(len(all), r.stdout)
}

// sinksAgree compares the number of records in out.txt, out.db and the console
// with that of the json sink.
func (l *lab) sinksAgree(want int, console string) {
	l.t.Helper()
	text, err := os.ReadFile(l.path("out.txt"))
	if err != nil {
		l.t.Fatal(err)
	}
	if n := strings.Count(string(text), "\n"); n != want {
		l.t.Errorf("text has %d records, json %d", n, want)
	}
	if n := strings.Count(console, "\n"); n != want {
		l.t.Errorf("console has %d records, json %d", n, want)
	}
	db, err := sqlitedb.Open(l.path("out.db"))
	if err != nil {
		l.t.Fatal(err)
	}
	defer db.Close()
	var n int
	if err := db.QueryRow("SELECT count(*) FROM " + logTable).Scan(&n); err != nil || n != want {
		l.t.Errorf("sqlite has %d records, json %d (%v)", n, want, err)
	}
}

// Workers that kill themselves half-way, in the middle of a line: what they had
// written is there, the unterminated part included, and nothing else.
func TestKilledWorkersLoseNothing(t *testing.T) {
	l := newLab(t)
	const workers, lines = 8, 200
	r := l.shmkit("run", "-n", fmt.Sprint(workers), "--log", "json:out.jsonl", "--log", "text:out.txt",
		"--log", "sqlite:out.db", "--log", "console", "--",
		"sh", "-c", fmt.Sprintf(writes, lines)+`printf "half $SHMKIT_RANK"
printf "half $SHMKIT_RANK" >&2
kill -9 $$
echo never`)
	if r.code != 137 {
		t.Errorf("exit code %d, want 137", r.code)
	}
	oneLineError(t, r.stderr, "8 of 8 workers", "killed by signal 9")
	all := l.records("out.jsonl")
	got, _ := captured(all)
	for rank := range workers {
		for _, stream := range []string{"stdout", "stderr"} {
			var want []string
			for i := range lines {
				want = append(want, fmt.Sprintf("%s %d %d", strings.TrimPrefix(stream, "std"), rank, i))
			}
			want = append(want, fmt.Sprintf("half %d", rank))
			if key := fmt.Sprintf("%d/%s", rank, stream); !slices.Equal(got[key], want) {
				t.Errorf("worker %s: %d lines, want %d: …%.100q", key, len(got[key]), len(want), got[key][max(0, len(got[key])-2):])
			}
		}
	}
	l.sinksAgree(len(all), r.stdout)
}

// oneLineError checks standard error: one line, from shmkit, that says these things.
func oneLineError(t *testing.T, stderr string, says ...string) {
	t.Helper()
	if !strings.HasPrefix(stderr, "shmkit: ") || strings.Count(stderr, "\n") != 1 || !strings.HasSuffix(stderr, "\n") {
		t.Errorf("not one line of shmkit: %q", stderr)
	}
	for _, s := range says {
		if !strings.Contains(stderr, s) {
			t.Errorf("stderr %q does not say %q", stderr, s)
		}
	}
}

// A line of up to 65536 bytes is one record; a longer one comes in marked pieces
// that make the line again.
func TestLongLines(t *testing.T) {
	l := newLab(t)
	r := l.shmkit("run", "-n", "2", "--log", "json:out.jsonl", "--", "sh", "-c", `
line() { head -c $1 /dev/zero | tr '\0' "$2"; }
line 65535 a; echo
line 65536 b; echo
line 65537 c; echo
line 200000 d; echo
echo short
line 65536 e; echo >&2
line 70000 f`)
	if r.code != 0 || r.stderr != "" {
		t.Fatalf("exit code %d, stderr %q", r.code, r.stderr)
	}
	all := l.records("out.jsonl")
	pieces := map[string]int{}
	for _, rec := range all {
		if *rec.Worker == 0 && rec.Stream == "stdout" && rec.Msg != "" {
			pieces[rec.Msg[:1]]++
		}
		if len(rec.Msg) > 65536 {
			t.Errorf("a record of %d bytes", len(rec.Msg))
		}
	}
	for letter, want := range map[string]int{"a": 1, "b": 1, "c": 2, "d": 4, "s": 1} {
		if pieces[letter] != want {
			t.Errorf("line %q came in %d pieces, want %d", letter, pieces[letter], want)
		}
	}
	got, split := captured(all)
	if split != 2*(1+3+2) { // of c, d, and e with f
		t.Errorf("%d continuations", split)
	}
	for rank := range 2 {
		want := []string{
			strings.Repeat("a", 65535), strings.Repeat("b", 65536), strings.Repeat("c", 65537),
			strings.Repeat("d", 200000), "short", strings.Repeat("e", 65536) + strings.Repeat("f", 70000),
		}
		if key := fmt.Sprintf("%d/stdout", rank); !slices.Equal(got[key], want) {
			var lens []int
			for _, s := range got[key] {
				lens = append(lens, len(s))
			}
			t.Errorf("worker %s: lines of %d bytes", key, lens)
		}
		if key := fmt.Sprintf("%d/stderr", rank); !slices.Equal(got[key], []string{""}) {
			t.Errorf("worker %s: %q", key, got[key])
		}
	}
}

// Whatever bytes a worker writes, a record stays one line in every sink.
func TestHostileLines(t *testing.T) {
	l := newLab(t)
	r := l.shmkit("run", "--log", "json:out.jsonl", "--log", "text:out.txt", "--log", "console", "--log", "sqlite:out.db",
		"--", "sh", "-c", `printf 'esc \033[31m\r mid\rdle \000 nul \377\n'
printf "'); DROP TABLE logs; --\n"
printf '{"level":"ERROR","worker":7}\n'
printf '\342\200\256 bidi\n\n'`)
	if r.code != 0 || r.stderr != "" {
		t.Fatalf("exit code %d, stderr %q", r.code, r.stderr)
	}
	all := l.records("out.jsonl")
	if len(all) != 5 {
		t.Errorf("%d records", len(all))
	}
	l.sinksAgree(len(all), r.stdout)
	text, _ := os.ReadFile(l.path("out.txt"))
	for name, s := range map[string]string{"console": r.stdout, "text": string(text)} {
		if strings.ContainsAny(s, "\x1b\r\x00\u202e") || !utf8.ValidString(s) {
			t.Errorf("%s has raw control characters: %q", name, s)
		}
	}
	for _, rec := range all {
		if *rec.Worker != 0 || rec.Level != "INFO" {
			t.Errorf("forged: %+v", rec)
		}
	}
}

// Python buffers what it writes into a pipe, unless it is told not to.
func TestPythonIsUnbuffered(t *testing.T) {
	if err := exec.Command("python3", "-c", "pass").Run(); err != nil {
		t.Skip("needs python3:", err)
	}
	l := newLab(t)
	r := l.shmkit("run", "-n", "4", "--log", "json:out.jsonl", "--", "python3", "-c", `
import os, signal, sys
rank = os.environ["SHMKIT_RANK"]
for i in range(100):
    print("out", rank, i)
    print("err", rank, i, file=sys.stderr)
print("half", rank, end="")
os.kill(os.getpid(), signal.SIGKILL)
`)
	if r.code != 137 {
		t.Errorf("exit code %d", r.code)
	}
	got, _ := captured(l.records("out.jsonl"))
	for rank := range 4 {
		out, errs := got[fmt.Sprintf("%d/stdout", rank)], got[fmt.Sprintf("%d/stderr", rank)]
		if len(out) != 101 || len(errs) != 100 || out[99] != fmt.Sprintf("out %d 99", rank) || out[100] != fmt.Sprintf("half %d", rank) {
			t.Errorf("worker %d: %d lines on stdout, %d on stderr", rank, len(out), len(errs))
		}
	}
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		script string
		n      string
		code   int
		says   []string
	}{
		{"exit 0", "4", 0, nil},
		{"exit $SHMKIT_RANK", "4", 3, []string{"3 of 4 workers", "worker 3", "exited with code 3"}},
		{"test $SHMKIT_RANK != 2 || { echo 'no such input' >&2; exit 5; }", "4", 5, []string{"worker 2", "exited with code 5", "no such input"}},
		{"kill -TERM $$", "1", 143, []string{"worker 0", "killed by signal 15"}},
		{"kill -KILL $$", "2", 137, []string{"killed by signal 9"}},
		{"exit 255", "1", 255, []string{"exited with code 255"}},
	} {
		l := newLab(t)
		r := l.shmkit("run", "-n", c.n, "--", "sh", "-c", c.script)
		if r.code != c.code {
			t.Errorf("%s: exit code %d, want %d", c.script, r.code, c.code)
		}
		if c.says == nil {
			if r.stderr != "" {
				t.Errorf("%s: stderr %q", c.script, r.stderr)
			}
			continue
		}
		oneLineError(t, r.stderr, c.says...)
	}
}

// The flags of the command belong to the command, with and without --.
func TestFlagsEndAtTheCommand(t *testing.T) {
	l := newLab(t)
	l.want("run", "--log", "json:1", "echo", "-n", "--log", "x")
	l.want("run", "--log", "json:2", "--", "echo", "-e", "--", "x")
	for name, want := range map[string]string{"1": "--log x", "2": "-- x"} {
		got, _ := captured(l.records(name))
		if lines := got["0/stdout"]; len(lines) != 1 || !strings.HasSuffix(lines[0], want) {
			t.Errorf("%s: %q", name, lines)
		}
	}
}

// A command gets its identity, an empty standard input, and no descriptor of
// shmkit's.
func TestEnvironment(t *testing.T) {
	l := newLab(t)
	// What this test itself was given without close-on-exec is passed on to everybody.
	const descriptors = "ls /proc/self/fd | tr '\\n' ' '"
	bare, err := exec.Command("sh", "-c", descriptors).Output()
	if err != nil {
		t.Fatal(err)
	}
	l.want("run", "-n", "3", "--name", "env", "--log", "json:out.jsonl", "--",
		"sh", "-c", `echo "$SHMKIT_RUN $SHMKIT_RANK/$SHMKIT_SIZE"; cat; `+descriptors)
	got, _ := captured(l.records("out.jsonl"))
	for rank := range 3 {
		lines := got[fmt.Sprintf("%d/stdout", rank)]
		if want := []string{fmt.Sprintf("env %d/3", rank), string(bare)}; !slices.Equal(lines, want) {
			t.Errorf("worker %d: %q, want %q", rank, lines, want)
		}
	}
}

// A second run appends to the same files.
func TestSinksAppend(t *testing.T) {
	l := newLab(t)
	for range 2 {
		l.want("run", "--log", "json:out.jsonl", "--log", "sqlite:out.db", "--log", "text:out.txt", "--", "echo", "x")
	}
	l.sinksAgree(2, "x\nx\n")
	if n := len(l.records("out.jsonl")); n != 2 {
		t.Errorf("%d records", n)
	}
}

// Without SHMKIT_DIR a run makes the runtime directory itself, and removes it.
func TestDefaultRuntimeDirIsRemoved(t *testing.T) {
	l := newLab(t)
	xdg := t.TempDir()
	c := l.command("run", "--name", "here", "--log", "json:out.jsonl", "--", "sh", "-c", `ls "$SHMKIT_DIR"; echo "$SHMKIT_DIR"`)
	c.Env = slices.DeleteFunc(c.Env, func(kv string) bool { return strings.HasPrefix(kv, "SHMKIT_DIR=") })
	c.Env = append(c.Env, "XDG_RUNTIME_DIR="+xdg)
	if r := c.start().wait(); r.code != 0 || r.stderr != "" {
		t.Fatalf("%+v", r)
	}
	got, _ := captured(l.records("out.jsonl"))
	if want := []string{"here", filepath.Join(xdg, "shmkit")}; !slices.Equal(got["0/stdout"], want) {
		t.Errorf("worker saw %q, want %q", got["0/stdout"], want)
	}
	if entries, err := os.ReadDir(xdg); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
