package main

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"shmkit/internal/pgtest"
)

// logged runs two workers that log into every kind of file and database, and
// returns the sources.
func (l *lab) logged() []string {
	l.t.Helper()
	script := `echo "out $SHMKIT_RANK"; echo "err $SHMKIT_RANK" >&2; printf 'odd \033[31m "=] \342\200\256 ü\n'`
	l.want("run", "-n", "2", "--name", "job", "--log", "json:out.jsonl", "--log", "text:out.log",
		"--log", "rotate:out.rot?mb=1", "--log", "sqlite:out.db", "--", "sh", "-c", script)
	return []string{"out.jsonl", "out.log", "out.rot", "out.db"}
}

// Whatever a run has logged to, the same records come out of it, as JSON, as text,
// and under every condition.
func TestLogsQuery(t *testing.T) {
	l := newLab(t)
	sources := l.logged()
	for _, c := range []struct {
		args string
		want int
	}{
		{"", 6}, {"--level warn", 2}, {"--worker 1", 3}, {"--worker 0 --worker 1", 6},
		{"--worker 7", 0}, {"--group node", 0}, {"--text OUT", 2}, {"--regexp ^err.[01]$", 2}, {"--since 1h", 6}, {"--until 1h", 0},
		{"--since 2020-01-01 --level warn --worker 0 --text err", 1}, {"--text nothing", 0},
	} {
		first := ""
		for _, source := range sources {
			args := append([]string{"logs", "query"}, strings.Fields(c.args)...)
			text := l.want(append(args, source)...)
			if n := strings.Count(text, "\n"); n != c.want {
				t.Errorf("%s %s: %d lines, want %d", c.args, source, n, c.want)
			}
			if first == "" {
				first = text
			}
			if text != first {
				t.Errorf("%s: %s has\n%s%s has\n%s", c.args, sources[0], first, source, text)
			}
		}
	}
	for _, source := range sources {
		text := l.want("logs", "query", "--worker", "1", source)
		if !strings.Contains(text, "/1 stdout| out 1\n") || !strings.Contains(text, `| odd \x1b[31m "=] \u202e ü`) || strings.ContainsAny(text, "\x1b\u202e") {
			t.Errorf("%s: %q", source, text)
		}
		l.write("again.jsonl", l.want("logs", "query", "--json", source))
		if got, _ := captured(l.records("again.jsonl")); !slices.Equal(got["1/stderr"], []string{"err 1"}) || got["0/stdout"][1] != "odd \x1b[31m \"=] \u202e ü" {
			t.Errorf("%s as JSON: %q", source, got)
		}
	}
	if n := strings.Count(l.want("logs", "query", "out.jsonl", "out.db"), "\n"); n != 12 {
		t.Errorf("two sources: %d lines", n)
	}
	if n := strings.Count(l.want("logs", "tail", "-n", "2", "out.log"), "\n"); n != 2 {
		t.Errorf("the last two: %d lines", n)
	}
	if out := l.want("logs", "tail", "-n", "0", "out.db"); out != "" {
		t.Errorf("the last none: %q", out)
	}
}

const jsonRecord = `{"time":"2026-01-02T03:04:%02d.5Z","level":"INFO","msg":"n %d","group":"g","worker":0,"pid":1,"http":{"status":404},"i":%d}` + "\n"

// Old files are read before the new one, compressed or not, by any scheme, and sources
// are merged by time.
func TestLogsRotatedAndMerged(t *testing.T) {
	l := newLab(t)
	next := 0
	some := func(n int) (s string) {
		for range n {
			s += fmt.Sprintf(jsonRecord, next, next, next)
			next++
		}
		return s
	}
	packed := func(name, s string) {
		f, err := os.Create(l.path(name))
		if err != nil {
			t.Fatal(err)
		}
		z := gzip.NewWriter(f)
		io.WriteString(z, s)
		z.Close()
		f.Close()
	}
	packed("run.jsonl.10.gz", some(2))
	l.write("run.jsonl.2", some(2))
	packed("run-2026-01-02T03-04-05.000-size.jsonl.gz", some(2))
	l.write("run-2026-01-02T03-04-06.000-time.jsonl", some(2))
	l.write("run-away.jsonl", "not of this log\n")
	l.write("run.jsonl", some(2)+"{\"half")
	r := l.shmkit("logs", "query", "run.jsonl")
	if r.code != 0 || r.stderr != "shmkit: run.jsonl: 1 lines are no records and were skipped\n" {
		t.Errorf("%+v", r)
	}
	i := 0
	for line := range strings.Lines(r.stdout) {
		if !strings.HasSuffix(line, fmt.Sprintf("INFO  g/0 n %d http.status=404 i=%d\n", i, i)) {
			t.Errorf("line %d: %q", i, line)
		}
		i++
	}
	if i != next {
		t.Errorf("%d lines of %d", i, next)
	}

	a, b := "", ""
	for i := range 10 {
		if line := fmt.Sprintf(jsonRecord, i, i, i); i%3 == 0 {
			a += line
		} else {
			b += line
		}
	}
	l.write("a", a)
	l.write("b", b)
	out := l.want("logs", "query", "a", "b")
	i = 0
	for line := range strings.Lines(out) {
		if !strings.Contains(line, fmt.Sprintf("n %d ", i)) {
			t.Errorf("merged line %d: %q", i, line)
		}
		i++
	}
	c := l.command("logs", "query", "--json", "-")
	c.Stdin = strings.NewReader(a)
	if r := c.start().wait(); r.stdout != a || r.code != 0 {
		t.Errorf("standard input: %+v", r)
	}
}

// tail -f prints what comes, each record once and in order, through rotations and a
// file that is cut.
func TestLogsFollow(t *testing.T) {
	l := newLab(t)
	path := l.path("run.jsonl")
	n := 0
	put := func() {
		t.Helper()
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		line := fmt.Sprintf(jsonRecord, n%60, n, n)
		io.WriteString(f, line[:20]) // a line comes in pieces
		io.WriteString(f, line[20:])
		n++
	}
	put()
	put()
	c := l.command("logs", "tail", "-f", "-n", "1", "run.jsonl")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c.Cmd.Stdout = w
	c.start()
	w.Close()
	out := bufio.NewScanner(r)
	want := 1
	expect := func() {
		t.Helper()
		for ; want < n; want++ {
			if !out.Scan() {
				t.Fatalf("ended: %+v", c.wait())
			}
			if !strings.Contains(out.Text(), fmt.Sprintf(" n %d ", want)) {
				t.Fatalf("got %q, want record %d", out.Text(), want)
			}
		}
	}
	expect()
	put()
	expect()
	for i := range 3 { // as logrotate does
		put()
		os.Rename(path, fmt.Sprintf("%s-moved-%d", path, i))
		put()
		put()
		expect()
	}
	for i := range 3 { // as shmkit does, several times between two looks
		put()
		os.Rename(path, l.path(fmt.Sprintf("run-2026-01-02T03-04-0%d.000-size.jsonl", i)))
		put()
	}
	expect()
	put()
	expect()
	os.Truncate(path, 0)
	for range 2 {
		put()
		expect()
	}
	c.signal(syscall.SIGINT)
	if r := c.wait(); r.code != 130 || r.stderr != "" {
		t.Errorf("%+v", r)
	}
}

// A database that is being written is followed, too.
func TestLogsFollowDatabase(t *testing.T) {
	l := newLab(t)
	turn := l.gate("turn")
	run := l.command("run", "--log", "sqlite:out.db", "--", "sh", "-c", "echo one; read x < turn; echo two").start()
	for { // bounded by the test's deadline
		if r := l.shmkit("logs", "query", "--text", "one", "out.db"); r.code == 0 && strings.Contains(r.stdout, "one") {
			break
		}
	}
	c := l.command("logs", "tail", "-f", "--text", "o", "out.db")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c.Cmd.Stdout = w
	c.start()
	w.Close()
	out := bufio.NewScanner(r)
	for _, want := range []string{"one", "two"} {
		if !out.Scan() || !strings.HasSuffix(out.Text(), "stdout| "+want) {
			t.Fatalf("%q, want %s", out.Text(), want)
		}
		if want == "one" {
			turn.open(t)
		}
	}
	if r := run.wait(); r.code != 0 {
		t.Errorf("%+v", r)
	}
	c.signal(syscall.SIGINT)
	c.wait()
}

// PostgreSQL as sink and as source.
func TestLogsPostgres(t *testing.T) {
	s := pgtest.Start(t)
	l := newLab(t)
	url := "postgres://test:secret@/postgres?sslmode=disable&host=" + filepath.Dir(s.Socket())
	l.want("run", "-n", "2", "--log", url, "--", "sh", "-c", "echo hello $SHMKIT_RANK")
	out := l.want("logs", "query", "--worker", "1", "--since", "1h", url)
	if !strings.HasSuffix(out, "/1 stdout| hello 1\n") || strings.Count(out, "\n") != 1 {
		t.Errorf("%q", out)
	}
	s.Crash()
	for _, args := range [][]string{{"logs", "query", url}, {"run", "--log", url, "--", "true"}} {
		r := l.shmkit(args...)
		if r.code != 1 || strings.Contains(r.stderr, "secret") {
			t.Errorf("%+v", r)
		}
		oneLineError(t, r.stderr, "is the server running", "xxxxx")
	}
}
