package main

import (
	"bufio"
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"shmkit"
	"shmkit/adapters/sqlitedb"
)

func TestMain(m *testing.M) {
	shmkit.Main() // the workers of the tests are this binary
	os.Exit(m.Run())
}

// goSource is real input: a part of the installed Go's source tree, which the
// tests of a Go program can count on. A different folder for -short.
func goSource(t *testing.T) string {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Skipf("go env GOROOT: %v", err)
	}
	dir := filepath.Join(strings.TrimSpace(string(root)), "src")
	if testing.Short() {
		dir = filepath.Join(dir, "net")
	}
	return dir
}

// countAlone counts a folder in this process with other means than the example:
// bytes.FieldsFunc and bytes.Count instead of one pass.
func countAlone(t *testing.T, root string) (files int, c Counts) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || filepath.Ext(path) != ".go" {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		c.add(Counts{
			Lines: uint64(bytes.Count(b, []byte{'\n'})),
			Words: uint64(wordsOf(b)),
			Bytes: uint64(len(b)),
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, c
}

// wordsOf splits at single bytes: bytes.Fields would see Unicode spaces too.
func wordsOf(b []byte) int {
	n := 0
	for _, line := range bytes.FieldsFunc(latin1(b), func(r rune) bool { return strings.ContainsRune(" \t\n\v\f\r", r) }) {
		if len(line) > 0 {
			n++
		}
	}
	return n
}

// latin1 makes one rune of each byte, so that FieldsFunc sees bytes.
func latin1(b []byte) []byte {
	var out bytes.Buffer
	for _, x := range b {
		out.WriteRune(rune(x))
	}
	return out.Bytes()
}

// TestTheWholeJob runs the example on real input and holds its three outputs
// against an independent count and against each other.
func TestTheWholeJob(t *testing.T) {
	input, out := goSource(t), t.TempDir()
	t.Setenv("SHMKIT_DIR", t.TempDir())
	var stdout, stderr bytes.Buffer
	if code := run([]string{"-input", input, "-workers", "4", "-out", out}, &stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr.String())
	}

	var s summary
	readJSON(t, filepath.Join(out, "summary.json"), &s)
	files, want := countAlone(t, input)
	if s.Files != files || s.Counts != want {
		t.Errorf("summary: %d files %+v, want %d files %+v", s.Files, s.Counts, files, want)
	}
	if s.Records.Attempted != s.Records.Delivered+s.Records.Dropped {
		t.Errorf("attempted ≠ delivered + dropped: %+v", s.Records)
	}
	if s.Config.Versions != 2 {
		t.Errorf("%d config versions, want 2: the first one and the one with debug on", s.Config.Versions)
	}
	if len(s.Workers) != 4 {
		t.Fatalf("%d workers in the summary, want 4", len(s.Workers))
	}
	for rank, w := range s.Workers {
		if w.Rank != rank || w.Exit != 0 || w.PID <= 0 {
			t.Errorf("worker %d: %+v", rank, w)
		}
	}
	for _, want := range []string{fmt.Sprint(files), fmt.Sprint(want.Words), "delivered"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the table on stdout lacks %s:\n%s", want, stdout.String())
		}
	}
	checkLog(t, filepath.Join(out, "run.jsonl"), s)
	checkDB(t, filepath.Join(out, "run.db"), s)
}

// checkLog: one record a line, as many as delivered, and debug ones only after
// the node said that it turned them on.
func checkLog(t *testing.T, path string, s summary) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var lines uint64
	var debug, info int
	var turnedOn time.Time
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		lines++
		var r struct {
			Time   time.Time
			Level  string
			Msg    string
			Worker int
		}
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			t.Fatalf("%s:%d: %v\n%s", path, lines, err, in.Bytes())
		}
		switch {
		case r.Worker == -1 && strings.HasPrefix(r.Msg, "half-way"):
			turnedOn = r.Time
		case r.Level == "DEBUG":
			debug++
			if turnedOn.IsZero() || r.Time.Before(turnedOn) {
				t.Fatalf("%s:%d: debug record before debug logging was turned on", path, lines)
			}
		case r.Level == "INFO" && r.Worker >= 0:
			info++
		}
	}
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
	if lines != s.Records.Delivered {
		t.Errorf("%s: %d lines, delivered are %d", path, lines, s.Records.Delivered)
	}
	if debug == 0 {
		t.Errorf("%s: no debug record: the workers did not obey the new config", path)
	}
	perWorker := s.Files / len(s.Workers) / startConfig.Every
	if min := perWorker * len(s.Workers); info < min {
		t.Errorf("%s: %d info records of workers, want at least %d", path, info, min)
	}
}

// checkDB: as many log rows as delivered, and file rows that add up.
func checkDB(t *testing.T, path string, s summary) {
	t.Helper()
	db, err := sqlitedb.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var logs uint64
	scan(t, db, `SELECT count(*) FROM logs`, &logs)
	if logs != s.Records.Delivered {
		t.Errorf("%d rows in logs, delivered are %d", logs, s.Records.Delivered)
	}
	var files, ranks int
	var c Counts
	scan(t, db, `SELECT count(*), count(DISTINCT rank), sum(lines), sum(words), sum(bytes) FROM files`,
		&files, &ranks, &c.Lines, &c.Words, &c.Bytes)
	if files != s.Files || c != s.Counts || ranks != len(s.Workers) {
		t.Errorf("files: %d rows by %d ranks, %+v; the summary says %d by %d, %+v", files, ranks, c, s.Files, len(s.Workers), s.Counts)
	}
}

func scan(t *testing.T, db *sql.DB, query string, to ...any) {
	t.Helper()
	if err := db.QueryRow(query).Scan(to...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func TestCountBytes(t *testing.T) {
	for in, want := range map[string]Counts{
		"":                       {},
		"\n":                     {Lines: 1, Bytes: 1},
		"a":                      {Words: 1, Bytes: 1},
		"a b\n c\n":              {Lines: 2, Words: 3, Bytes: 7},
		" \t\v\f\r\n":            {Lines: 1, Bytes: 6},
		"no\u00a0break \u2003x ": {Words: 2, Bytes: 15}, // Unicode spaces are parts of words
		"\x00\x85\xa0":           {Words: 1, Bytes: 3},
	} {
		if got := countBytes([]byte(in)); got != want {
			t.Errorf("countBytes(%q) = %+v, want %+v", in, got, want)
		}
	}
}

// Bad input is told in one line that names the thing, with 2 for wrong usage and
// 1 for failure, and leaves nothing behind.
func TestBadInput(t *testing.T) {
	empty := t.TempDir()
	file := filepath.Join(empty, "plain.txt")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	nowhere := filepath.Join(empty, "nowhere")
	for name, tc := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no such input":     {[]string{"-input", nowhere}, 1, nowhere},
		"input is a file":   {[]string{"-input", file}, 1, file},
		"nothing to count":  {[]string{"-input", empty}, 1, "no .go file"},
		"no workers":        {[]string{"-workers", "0"}, 2, "-workers 0"},
		"too many workers":  {[]string{"-workers", "100000"}, 2, "-workers 100000"},
		"not a number":      {[]string{"-workers", "many"}, 2, "many"},
		"unknown flag":      {[]string{"-wrokers", "2"}, 2, "wrokers"},
		"stray argument":    {[]string{"src"}, 2, "src"},
		"out is not a dir":  {[]string{"-input", ".", "-out", filepath.Join(file, "out")}, 1, file},
		"out folder no one": {[]string{"-input", ".", "-out", "/proc/nowhere"}, 1, "/proc/nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			runtime := t.TempDir()
			t.Setenv("SHMKIT_DIR", runtime)
			args := append([]string{"-out", filepath.Join(t.TempDir(), "out")}, tc.args...)
			var stdout, stderr bytes.Buffer
			if code := run(args, &stdout, &stderr); code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			if text := stderr.String(); !strings.Contains(text, tc.says) || strings.Count(text, "\n") != 1 {
				t.Errorf("stderr is not one line that names %q:\n%s", tc.says, text)
			}
			if left, _ := os.ReadDir(runtime); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// A file that cannot be read fails the job, and the others are counted all the
// same.
func TestUnreadableFile(t *testing.T) {
	input, out := t.TempDir(), t.TempDir()
	t.Setenv("SHMKIT_DIR", t.TempDir())
	for i := range 20 {
		if err := os.WriteFile(filepath.Join(input, fmt.Sprintf("f%02d.go", i)), []byte("one two\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	secret := filepath.Join(input, "f07.go")
	if err := os.Chmod(secret, 0); err != nil {
		t.Fatal(err)
	}
	if f, err := os.Open(secret); err == nil {
		f.Close()
		t.Skip("this user may read every file")
	}
	var stdout, stderr bytes.Buffer
	if code := run([]string{"-input", input, "-out", out}, &stdout, &stderr); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if !strings.Contains(stderr.String(), secret) {
		t.Errorf("stderr does not name %s:\n%s", secret, stderr.String())
	}
	var s summary
	readJSON(t, filepath.Join(out, "summary.json"), &s)
	if s.Files != 19 || s.Words != 38 {
		t.Errorf("%d files and %d words counted, want 19 and 38", s.Files, s.Words)
	}
}
