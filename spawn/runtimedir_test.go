//go:build linux

package spawn

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRuntimeDirOrder(t *testing.T) {
	own := t.TempDir()
	uid := strconv.Itoa(os.Geteuid())
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)

	t.Setenv("SHMKIT_DIR", "/given")
	t.Setenv("XDG_RUNTIME_DIR", own)
	for _, step := range []struct{ unset, want string }{
		{"", "/given"},
		{"SHMKIT_DIR", own + "/shmkit"},
		{"XDG_RUNTIME_DIR", ""},
	} {
		if step.unset != "" {
			t.Setenv(step.unset, "")
		}
		want := step.want
		if want == "" {
			switch {
			case ownDir("/run/user/" + uid):
				want = "/run/user/" + uid + "/shmkit"
			case unix.Access("/dev/shm", unix.W_OK) == nil:
				want = "/dev/shm/shmkit-" + uid
			default:
				want = filepath.Join(tmp, "shmkit-"+uid)
			}
		}
		if got, err := RuntimeDir(); got != want || err != nil {
			t.Errorf("with %s unset: got %s, %v; want %s", step.unset, got, err, want)
		}
	}
	if left := names(t, own); len(left) > 0 {
		t.Errorf("asking for the directory made %q", left)
	}
	// A runtime directory that sudo or su left to us is not ours.
	if os.Geteuid() == 0 {
		other := t.TempDir()
		if err := os.Chown(other, 65534, 65534); err == nil {
			t.Setenv("XDG_RUNTIME_DIR", other)
			if got, _ := RuntimeDir(); strings.HasPrefix(got, other) {
				t.Errorf("chose %s, which belongs to another user", got)
			}
		}
	}
}

// A directory that somebody else could have put there, could change, or shares
// with another machine is refused, with what to do; nothing is left behind.
func TestRuntimeDirRefused(t *testing.T) {
	base := t.TempDir()
	file := filepath.Join(base, "file")
	link := filepath.Join(base, "link")
	wide := filepath.Join(base, "wide")
	nfs := filepath.Join(base, "nfs")
	target := t.TempDir()
	must(t, os.WriteFile(file, nil, 0o600))
	must(t, os.Symlink(target, link))
	must(t, os.Mkdir(wide, 0o700))
	must(t, os.Chmod(wide, 0o777))
	real := statfsType
	set(t, &statfsType, func(path string) (int64, error) {
		if strings.HasPrefix(path, nfs) {
			return unix.NFS_SUPER_MAGIC, nil
		}
		return real(path)
	})
	cases := map[string]string{
		file: "not a directory", link: "symbolic link", wide: "chmod 700", nfs: "NFS",
		filepath.Join(base, "missing", "deep"): "no such file",
	}
	if os.Geteuid() == 0 {
		other := filepath.Join(base, "other")
		must(t, os.Mkdir(other, 0o700))
		must(t, os.Chown(other, 65534, 65534))
		cases[other] = "belongs to uid 65534"
	}
	for dir, want := range cases {
		_, err := NewServer(Options{Run: "x", Dir: dir})
		var de *DirError
		if !errors.As(err, &de) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v (want %q)", dir, err, want)
		}
	}
	if _, err := os.Lstat(nfs); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory was made on NFS: %v", err)
	}
	if left := names(t, target); len(left) > 0 {
		t.Errorf("behind the link: %q", left)
	}
}

// A directory that is made is 0700, a given one is kept, a made one removed.
func TestRuntimeDirMadeAndRemoved(t *testing.T) {
	base := t.TempDir()
	made := filepath.Join(base, "made")
	s1 := newServer(t, Options{Run: "a", Dir: made})
	for _, dir := range []string{made, s1.Dir()} {
		if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", dir, fi.Mode(), err)
		}
	}
	must(t, os.WriteFile(filepath.Join(s1.Dir(), "something"), nil, 0o600))
	must(t, s1.Close())
	must(t, s1.Close())
	if _, err := os.Lstat(made); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the runtime directory is left: %v", err)
	}
	must(t, newServer(t, Options{Run: "a", Dir: base}).Close())
	if _, err := os.Lstat(base); err != nil {
		t.Errorf("the given directory is gone: %v", err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
