//go:build linux && (amd64 || arm64)

package shm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"shmkit/internal/proctest"
)

// A scenario is a way to hand out a segment, and what it lets through.
type scenario struct {
	Undumpable bool
	Unsealed   bool // the planted bug: a read-only descriptor and mode 0400, but no seal
	UID        int  // of the attacker; -1: the owner's
}

type outcome struct {
	Answers  string   // of the system to each attack
	Changed  []string // attacks that left a mark, as the owner sees it
	Size     int64    // of the file in the end
	WantSize int64
}

// owner makes a segment, lets the attacker loose on it and reports what it sees
// afterwards in its own mapping. It says what it saw, not what the attacker was
// told.
var owner = proctest.Helper("owner of the attacked segment", func(args []string) {
	var sc scenario
	check(json.Unmarshal([]byte(args[0]), &sc))
	o := Options{Name: "victim", Size: len(attacks) * PageSize}
	if sc.Unsealed {
		o.HandOff = ReadWrite
	}
	s, err := Create(o)
	check(err)
	if sc.Unsealed {
		s.opts.HandOff = ReadOnly
		check(chmodFor(s.file, ReadOnly))
	}
	for i := range s.Region() {
		s.Region()[i] = 0x11
	}
	if sc.Undumpable {
		check(Undumpable())
	}
	f, err := s.Reopen()
	check(err)
	cmd := exec.Command("/proc/self/exe", "--", fmt.Sprint(os.Getpid()), fmt.Sprint(s.file.Fd()), fmt.Sprint(spanOf(s.region).lo))
	cmd.Env = append(os.Environ(), proctest.EnvHelper+"="+attacker)
	cmd.ExtraFiles = []*os.File{f}
	cmd.Stderr = os.Stderr
	if sc.UID >= 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(sc.UID), Gid: uint32(sc.UID)}}
	}
	out, err := cmd.Output()
	check(err)

	got := outcome{Answers: string(out), WantSize: int64(s.Info().Total)}
	fi, err := s.file.Stat()
	check(err)
	got.Size = fi.Size()
	if got.Size == got.WantSize { // else the pages are gone
		for i, a := range attacks {
			if page := s.Region()[i*PageSize : (i+1)*PageSize]; !bytes.Equal(page, bytes.Repeat([]byte{0x11}, PageSize)) {
				got.Changed = append(got.Changed, a.name)
			}
		}
	}
	check(json.NewEncoder(os.Stdout).Encode(got))
})

// nobody is a uid without privileges; others is a second one.
const nobody, others = 65534, 65533

// attackSegment plays a scenario with an owner of the given uid, -1 for ours.
func attackSegment(t *testing.T, uid int, sc scenario) outcome {
	t.Helper()
	proctest.Command(t, attacker) // started by the owner
	arg, _ := json.Marshal(sc)
	cmd := proctest.Command(t, owner, string(arg))
	if uid >= 0 {
		cmd.Path = "/proc/self/exe" // the path of the test binary may be closed to that uid
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
		if sc.UID >= 0 { // it has to start the attacker under another uid
			cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_SETUID, unix.CAP_SETGID}
		}
	}
	out, err := cmd.Output()
	if errors.Is(err, unix.EPERM) {
		t.Skip("cannot start a process of another uid: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	var got outcome
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	t.Logf("\n%s", got.Answers)
	return got
}

func names(list []attack) (n []string) {
	for _, a := range list {
		n = append(n, a.name)
	}
	return n
}

// Taking F_SEAL_FUTURE_WRITE away makes this test and the next but one fail.
//
// No path through a descriptor or a mapping changes a byte of a segment that was
// handed out read-only, whoever tries. What can be done is to write into the
// owner's own process, and Undumpable puts an end to that for all but root.
func TestReadOnlyHandOffCannotBeTurned(t *testing.T) {
	proctest.SkipIfEmulated(t, "the attacker changes its user and executes itself again")
	uid := -1
	if os.Geteuid() == 0 {
		uid = nobody // root may do anything
	}
	open := names(processAttacks) // to the same uid, unless Undumpable
	cases := []struct {
		name     string
		ownerUID int
		scenario
		changed []string
		root    bool // needs root
	}{
		{"same uid", uid, scenario{UID: -1}, open, false},
		{"same uid, undumpable", uid, scenario{UID: -1, Undumpable: true}, nil, false},
		{"other uid", nobody, scenario{UID: others}, nil, true},
		{"other uid, undumpable", nobody, scenario{UID: others, Undumpable: true}, nil, true},
		{"root, undumpable", -1, scenario{UID: -1, Undumpable: true}, names(processAttacks), true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.root && os.Geteuid() != 0 {
				t.Skip("needs root to start processes of other uids")
			}
			got := attackSegment(t, c.ownerUID, c.scenario)
			for _, name := range got.Changed {
				if !slices.Contains(c.changed, name) {
					t.Errorf("%q changed the segment", name)
				}
			}
			if len(got.Changed) < len(c.changed) {
				t.Logf("this machine stops more than Linux by itself: of %q only %q got through", c.changed, got.Changed)
			}
			if got.Size != got.WantSize {
				t.Errorf("the file has %d bytes now, had %d", got.Size, got.WantSize)
			}
		})
	}
}

// secluded does what an owner does, after Undumpable.
var secluded = proctest.Helper("secluded", func(args []string) {
	check(Undumpable())
	dir := filepath.Join(args[0], "private")
	check(os.Mkdir(dir, 0o700))
	for _, make := range []func() (*Segment, error){
		func() (*Segment, error) { return Create(Options{Size: 100, Prefault: true}) },
		func() (*Segment, error) {
			return CreateNamed(dir, Options{Name: "n", Size: 100, HugePages: HugePagesTry})
		},
	} {
		s, err := make()
		check(err)
		f, err := s.Reopen()
		check(err)
		a, err := Attach(f, Expect{})
		check(err)
		next, err := s.Grow(200)
		check(err)
		check(s.Supersede(next))
		check(errors.Join(a.Close(), s.Close(), next.Close()))
	}
	fmt.Println("ok")
})

// An owner that nobody can look into can still do its own work: what the package
// needs of /proc/self is open to the process itself.
func TestUndumpableOwnerWorks(t *testing.T) {
	dir := t.TempDir()
	cmd := proctest.Command(t, secluded, dir)
	if os.Geteuid() == 0 {
		if err := os.Chmod(filepath.Dir(dir), 0o711); err != nil { // or the other uid cannot enter
			t.Fatal(err)
		}
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Skip(err)
		}
		cmd.Path = "/proc/self/exe"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	finish(t, cmd)
}

// The check above catches what it is for: without the seal, the same attacks on
// a descriptor that is only read-only do get through.
func TestReadOnlyDescriptorAloneProtectsNothing(t *testing.T) {
	proctest.SkipIfEmulated(t, "the attacker changes its user and executes itself again")
	uid := -1
	if os.Geteuid() == 0 {
		uid = nobody
	}
	got := attackSegment(t, uid, scenario{UID: -1, Unsealed: true, Undumpable: true})
	for _, name := range []string{"chmod, reopen, mmap", "chmod, reopen, pwrite", "chmod, reopen, punch a hole"} {
		if !slices.Contains(got.Changed, name) {
			t.Errorf("%q did not get through to a segment without a seal: the test above proves nothing", name)
		}
	}
}

// The facts about Linux that the design rests on, for ordinary pages and, where
// there are some, for huge ones.
func TestSealFacts(t *testing.T) {
	t.Run("pages", func(t *testing.T) { sealFacts(t, Options{Size: 3 * PageSize, HandOff: ReadOnly}) })
	t.Run("huge pages", func(t *testing.T) {
		o := Options{Size: 4 << 20, HandOff: ReadOnly, HugePages: HugePagesRequire}
		if s, err := Create(o); err != nil {
			t.Skip(err)
		} else {
			s.Close()
		}
		sealFacts(t, o)
	})
}

func sealFacts(t *testing.T, o Options) {
	s := newTestSegment(t, o)
	fd := int(s.file.Fd())

	// 1. The mapping made before the seal goes on to be writable.
	s.Region()[0] = 1
	// 2. Every later one, and every write, is refused, even through the original
	//    descriptor, which is open for reading and writing.
	refused := map[string]error{
		"mmap":      mmapAllAndWrite(fd, s.Info().Total),
		"punch":     unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, int64(s.Info().Total)),
		"truncate":  unix.Ftruncate(fd, 0),
		"extend":    unix.Ftruncate(fd, int64(2*s.Info().Total)),
		"more seal": second(unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE)),
	}
	if o.HugePages == HugePagesOff { // a huge file knows no write at all
		refused["pwrite"], refused["splice"] = write(fd, PageSize), spliceInto(fd, PageSize)
	}
	for name, err := range refused {
		if !errors.Is(err, unix.EPERM) {
			t.Errorf("%s: %v, want EPERM", name, err)
		}
	}
	// 3. What was written before and after is seen by readers.
	a := attachTo(t, s, Expect{})
	s.Region()[1] = 2
	if r := a.Region(); r[0] != 1 || r[1] != 2 {
		t.Errorf("reader sees %v", r[:2])
	}
	// 4. Each descriptor for a worker is a description of its own: flags and
	//    locks of one are not those of another.
	f, g := must(s.Reopen())(t), must(s.Reopen())(t)
	defer f.Close()
	defer g.Close()
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFL, unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	if fl, _ := unix.FcntlInt(g.Fd(), unix.F_GETFL, 0); fl&unix.O_NONBLOCK != 0 {
		t.Error("two workers share the flags of one description")
	}
	if fl, _ := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0); fl&unix.O_ACCMODE != unix.O_RDONLY {
		t.Errorf("handed out with mode %#x", fl)
	}
	// 5. Nobody can execute it.
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&0o777 != 0o400 {
		t.Errorf("mode %#o, %v", st.Mode, err)
	}
}
