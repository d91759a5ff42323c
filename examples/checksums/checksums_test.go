package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shmkit"
	"shmkit/adapters/fxkit"
)

func TestMain(m *testing.M) {
	shmkit.Main() // the workers of the tests are this binary
	os.Exit(m.Run())
}

// folder is one with n files, and their sums as the program should print them.
func folder(t *testing.T, n int) (dir, sha, crc string) {
	t.Helper()
	dir = t.TempDir()
	for i := range n {
		name, text := fmt.Sprintf("f%03d", i), bytes.Repeat([]byte{byte(i)}, i*1000)
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
		sha += fmt.Sprintf("%x  %s\n", sha256.Sum256(text), name)
		crc += fmt.Sprintf("%08x  %s\n", crc32.ChecksumIEEE(text), name)
	}
	return dir, sha, crc
}

func TestChecksums(t *testing.T) {
	t.Setenv("SHMKIT_DIR", t.TempDir())
	dir, sha, crc := folder(t, 100)
	config := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(config, []byte("hash: crc32\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-workers=3", dir}, sha},
		{[]string{"-workers=3", "-config=" + config, dir}, crc},
	} {
		var out, errs strings.Builder
		if code := run(c.args, &out, &errs); code != 0 || out.String() != c.want || errs.Len() > 0 {
			t.Errorf("%v: exit code %d, %s\n%.300s", c.args, code, &errs, &out)
		}
	}
}

func TestWrongUse(t *testing.T) {
	t.Setenv("SHMKIT_DIR", t.TempDir())
	dir, _, _ := folder(t, 1)
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return "-config=" + path
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{nil, 2, "want one folder"},
		{[]string{filepath.Join(dir, "nowhere")}, 1, "no such file or directory"},
		{[]string{file("hsah: crc32"), dir}, 1, `line 1: unknown key "hsah": did you mean "hash"?`},
		{[]string{file("hash: [1"), dir}, 1, "c.yaml"},
		{[]string{"-workers=0", dir}, 1, "want 1 to"},
	} {
		var out, errs strings.Builder
		if code := run(c.args, &out, &errs); code != c.code || !strings.Contains(errs.String(), c.says) || strings.Count(errs.String(), "\n") > 1 && c.code == 1 {
			t.Errorf("%v: exit code %d, %q, want %q", c.args, code, &errs, c.says)
		}
	}
	var out, errs strings.Builder
	if code := run([]string{"-workers=1", file("hash: md5"), dir}, &out, &errs); code != 1 { // the worker's
		t.Errorf("exit code %d, %s", code, &errs)
	}
}

// The worker can be built: found without starting one.
func TestGraph(t *testing.T) {
	if err := fxkit.Check(worker); err != nil {
		t.Error(err)
	}
}
