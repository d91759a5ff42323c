package cfgblob

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"shmkit/internal/proctest"
	"shmkit/shm"
)

// attack tries every way a process has to change a segment whose file it was
// given, and prints one line for each: the way and how it ended.
var attack = proctest.Helper("attack", func([]string) {
	const fd = 3
	var st unix.Stat_t
	must(unix.Fstat(fd, &st))
	size := int(st.Size)
	tell := func(way string, err error) {
		verdict := "DONE"
		if err != nil {
			verdict = err.Error()
		}
		fmt.Printf("%s: %s\n", way, verdict)
	}
	// through says what one descriptor allows.
	through := func(name string, fd int) {
		_, err := unix.Pwrite(fd, []byte("tampered"), shm.PageSize)
		tell(name+" pwrite", err)
		_, err = unix.Pwritev(fd, [][]byte{[]byte("tampered")}, shm.PageSize)
		tell(name+" pwritev", err)
		m, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err == nil {
			copy(m[shm.PageSize:], "tampered")
			must(unix.Munmap(m))
		}
		tell(name+" mmap", err)
		m, err = unix.Mmap(fd, 0, size, unix.PROT_READ, unix.MAP_SHARED)
		must(err)
		err = unix.Mprotect(m, unix.PROT_READ|unix.PROT_WRITE)
		if err == nil {
			copy(m[shm.PageSize:], "tampered")
		}
		tell(name+" mprotect", err)
		tell(name+" store", poke(&m[shm.PageSize]))
		must(unix.Munmap(m))
		tell(name+" ftruncate", unix.Ftruncate(fd, 0))
		tell(name+" punch", unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, st.Size))
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE)
		tell(name+" seal", err)
	}
	through("given", fd)
	_ = unix.Fchmod(fd, 0o666) // allowed to who owns it, and of no use
	path := "/proc/self/fd/" + strconv.Itoa(fd)
	for name, flags := range map[string]int{"reopened": unix.O_RDWR, "truncating": unix.O_RDWR | unix.O_TRUNC} {
		if again, err := unix.Open(path, flags, 0); err != nil {
			tell(name+" open", err)
		} else {
			through(name, again)
			unix.Close(again)
		}
	}
})

// poke stores to *b and returns the fault as an error.
func poke(b *byte) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = errors.New(fmt.Sprint(r))
		}
	}()
	*b = 't'
	return nil
}

// runAttack returns the lines of those ways that worked, and how many failed.
func runAttack(t *testing.T, cmd *exec.Cmd) (done []string, failed int) {
	t.Helper()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasSuffix(line, ": DONE\n") {
			done = append(done, strings.TrimSpace(line))
		} else {
			failed++
		}
	}
	t.Logf("%s", out)
	return done, failed
}

func TestWorkerCannotWrite(t *testing.T) {
	s := newStore(t, StoreOptions{}, `{"level":"untouched"}`)
	before := bytes.Clone(s.general.segment.Region())
	done, failed := runAttack(t, worker(t, s, attack))
	if len(done) > 0 || failed < 8 {
		t.Errorf("these worked: %q; %d failed", done, failed)
	}
	if !bytes.Equal(before, s.general.segment.Region()) {
		t.Error("the bytes have changed")
	}
	// The owner can still publish, and others can still attach.
	if _, err := s.Set("x", "level", "changed", 0); err != nil {
		t.Error(err)
	}
	if got := attach(t, s).Snapshot(); string(got.Doc) != `{"level":"changed"}` {
		t.Errorf("%v", got)
	}
}

// The attack is a real one: without the seal it works.
func TestAttackWorksOnAWritableSegment(t *testing.T) {
	seg, err := shm.Create(shm.Options{Name: "victim", Size: 1 << 14, HandOff: shm.ReadWrite})
	if err != nil {
		t.Fatal(err)
	}
	defer seg.Close()
	f, err := seg.Reopen()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := proctest.Command(t, attack)
	cmd.ExtraFiles = []*os.File{f}
	if done, _ := runAttack(t, cmd); len(done) < 8 {
		t.Errorf("only %q worked", done)
	}
}

// A python program reads a configuration by the format in the package comment.
func TestFormatReadByPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 here")
	}
	s := newStore(t, StoreOptions{Name: "job", Schema: 77}, `{"level":"info"}`)
	for n := range 5 {
		if _, err := s.Set("zoë", "n", n, 0); err != nil {
			t.Fatal(err)
		}
	}
	files, _, _, err := s.Donate("g", 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer files[0].Close()
	cmd := exec.Command(python, "-c", `
import json, mmap, os, struct
size = os.fstat(3).st_size
m = mmap.mmap(3, size, prot=mmap.PROT_READ)
region, = struct.unpack_from("<Q", m, 48)
V, P, N, form = struct.unpack_from("<QII4s", m, region)
assert form == b"SLB1", form
stride = ((P + 7) // 8 * 8 + 8 + 127) // 128 * 128
slot = region + 128 + V % N * stride
L, = struct.unpack_from("<Q", m, slot)
assert L <= P
blob = m[slot + 8 : slot + 8 + L]
V2, = struct.unpack_from("<Q", m, region)
assert V2 - V <= N - 2
magic, fmt, H, hash, version, ns, schema, length, flags, A = struct.unpack_from("<4sHHQQqQQQH", blob)
assert magic == b"CFGB" and fmt == 1 and length == L - H and flags == 0, blob
print(version, schema, ns, blob[64:64+A].decode(), json.loads(blob[H:]))
`)
	cmd.ExtraFiles = files
	cmd.Env = append(os.Environ(), "PYTHONIOENCODING=utf-8")
	out, err := cmd.CombinedOutput()
	want := fmt.Sprintf("6 77 %d zoë {'level': 'info', 'n': 4}\n", s.Snapshot().Time.UnixNano())
	if err != nil || string(out) != want {
		t.Errorf("%v\n got %s\nwant %s", err, out, want)
	}
}
