//go:build linux && (amd64 || arm64)

package shm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"

	"shmkit/internal/proctest"
)

// bothTmpfiles runs a test with nameless files and with temporary names.
func bothTmpfiles(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Run("O_TMPFILE", test)
	t.Run("temporary names", func(t *testing.T) {
		withoutTmpfile(t)
		test(t)
	})
}

func withoutTmpfile(t *testing.T) {
	old := tmpfile
	tmpfile = 0
	t.Cleanup(func() { tmpfile = old })
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var n []string
	for _, e := range list {
		n = append(n, e.Name())
	}
	return n
}

// keeper makes or opens a named segment, says what it got, and holds it until
// its standard input ends.
var keeper = proctest.Helper("keeper of a name", func(args []string) {
	if args[3] != "" {
		tmpfile = 0
	}
	size, _ := strconv.Atoi(args[2])
	s, err := OpenOrCreateNamed(args[0], Options{Name: args[1], Size: size, HandOff: ReadWrite})
	check(err)
	fmt.Println(s.Info().Owner, s.Info().UUID)
	io.Copy(io.Discard, os.Stdin)
	check(s.Close())
})

// keep starts a keeper and returns it with what it said.
func keep(t *testing.T, dir, name string, size int) (cmd *exec.Cmd, in io.Closer, said string) {
	t.Helper()
	plain := ""
	if tmpfile == 0 {
		plain = "plain"
	}
	cmd = proctest.Command(t, keeper, dir, name, strconv.Itoa(size), plain)
	stdin := must(cmd.StdinPipe())(t)
	stdout := must(cmd.StdoutPipe())(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return cmd, stdin, strings.TrimSpace(line)
}

// What these tests are worth was shown by taking away, one at a time: the lock
// that the owner holds, the lock of the directory, the second look at the name,
// and the guard of Access. Each time a test failed.

// 1. A segment is found by its name, while its owner lives, by other processes.
// 2. Making it again is refused, and says who owns it.
// 3. Close removes the name, and nothing else is left in the directory.
func TestNamed(t *testing.T) {
	bothTmpfiles(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "made") // CreateNamed makes it
		o := Options{Name: "ring.0", Kind: KindOf("RING"), Size: 5000, HandOff: ReadWrite}
		s, err := CreateNamed(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		s.Region()[0] = 5

		cmd, in, said := keep(t, dir, "ring.0", 5000)
		if said != fmt.Sprint(false, " ", s.Info().UUID) {
			t.Errorf("the second process got %q", said)
		}
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}

		a, err := OpenNamed(dir, Expect{Name: "ring.0", Kind: KindOf("RING"), Access: ReadWrite})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		if i := a.Info(); a.Region()[0] != 5 || i.Sealed || i.Stale || i.Path != filepath.Join(dir, "ring.0") || i.UUID != s.Info().UUID {
			t.Errorf("attached %+v", i)
		}
		if _, err := CreateNamed(dir, o); !errors.Is(err, os.ErrExist) || !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getpid())) {
			t.Errorf("making it again: %v", err)
		}
		if err := RemoveStale(dir, "ring.0"); !errors.Is(err, ErrInUse) {
			t.Errorf("removing a live one: %v", err)
		}
		if n := entries(t, dir); len(n) != 1 {
			t.Errorf("the directory holds %q", n)
		}
		f := must(s.Reopen())(t)
		b := must(Attach(f, Expect{Access: ReadWrite}))(t)
		defer b.Close()

		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if n := entries(t, dir); len(n) != 0 {
			t.Errorf("left in the directory: %q", n)
		}
		if v, _ := a.State(); v != Retired || a.Region()[0] != 5 {
			t.Errorf("after the owner's close: %v", v)
		}
		if _, err := OpenNamed(dir, Expect{Name: "ring.0"}); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("open after close: %v", err)
		}
	})
}

// What a killed owner leaves can be read, is not mistaken for a live one, and is
// replaced without anybody's help.
func TestKilledOwner(t *testing.T) {
	bothTmpfiles(t, func(t *testing.T) {
		dir := privateDir(t)
		cmd, _, said := keep(t, dir, "left", 5000)
		live := must(OpenNamed(dir, Expect{Name: "left", Access: ReadWrite}))(t)
		copy(live.Region(), "last words")
		live.Close()
		cmd.Process.Kill()
		cmd.Wait()

		if _, err := OpenNamed(dir, Expect{Name: "left"}); !errors.Is(err, ErrStale) || !strings.Contains(err.Error(), fmt.Sprint("process ", cmd.Process.Pid)) {
			t.Errorf("opening a dead owner's segment: %v", err)
		}
		old, err := OpenNamed(dir, Expect{Name: "left", Salvage: true})
		if err != nil {
			t.Fatal(err)
		}
		defer old.Close()
		if i := old.Info(); !i.Stale || "true "+i.UUID.String() != said || string(old.Region()[:10]) != "last words" {
			t.Errorf("salvaged %+v, made by %q", i, said)
		}

		s, err := CreateNamed(dir, Options{Name: "left", Size: 100})
		if err != nil {
			t.Fatal(err)
		}
		if s.Info().UUID == old.Info().UUID {
			t.Error("not a new segment")
		}
		if string(old.Region()[:10]) != "last words" {
			t.Error("the old memory changed under its reader")
		}
		s.Close()

		cmd, _, _ = keep(t, dir, "left", 5000)
		cmd.Process.Kill()
		cmd.Wait()
		if err := RemoveStale(dir, "left"); err != nil || len(entries(t, dir)) != 0 {
			t.Errorf("RemoveStale: %v, left %q", err, entries(t, dir))
		}
	})
}

// opener runs many concurrent OpenOrCreateNamed over one name and reports, one
// line each, what they got. It holds everything until its input ends, so that no
// name is given up meanwhile.
var opener = proctest.Helper("crowd of openers", func(args []string) {
	n, _ := strconv.Atoi(args[2])
	if args[3] != "" {
		tmpfile = 0
	}
	lines := make([]string, n)
	segments := make([]*Segment, n)
	in := bufio.NewReader(os.Stdin)
	fmt.Println("ready")
	_, err := in.ReadString('\n') // the starting shot
	check(err)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			s, err := OpenOrCreateNamed(args[0], Options{Name: args[1], Size: 1 << 16, HandOff: ReadWrite})
			if err != nil {
				lines[i] = "error " + err.Error()
				return
			}
			segments[i] = s
			lines[i] = "attached " + s.Info().UUID.String()
			if s.Info().Owner {
				lines[i] = "created " + s.Info().UUID.String()
			}
		})
	}
	wg.Wait()
	for _, l := range lines {
		fmt.Println(l)
	}
	fmt.Println("done")
	io.Copy(io.Discard, in)
	for _, s := range segments {
		if s != nil {
			check(s.Close())
		}
	}
})

// Of 1,000 concurrent openers over a killed owner's name exactly one makes the
// segment anew, and all others attach to that one.
func TestThousandOpenersOverAKilledOwner(t *testing.T) {
	bothTmpfiles(t, func(t *testing.T) {
		rounds, processes, each := 3, 4, 250
		if testing.Short() {
			rounds = 1
		}
		dir := privateDir(t)
		dead := ""
		for range rounds {
			cmd, _, said := keep(t, dir, "crowded", 1<<16)
			cmd.Process.Kill()
			cmd.Wait()
			dead, _ = strings.CutPrefix(said, "true ")

			type crowd struct {
				cmd *exec.Cmd
				in  io.WriteCloser
				out *bufio.Reader
			}
			var crowds []crowd
			plain := ""
			if tmpfile == 0 {
				plain = "plain"
			}
			for range processes {
				c := crowd{cmd: proctest.Command(t, opener, dir, "crowded", strconv.Itoa(each), plain)}
				c.in = must(c.cmd.StdinPipe())(t)
				c.out = bufio.NewReader(must(c.cmd.StdoutPipe())(t))
				if err := c.cmd.Start(); err != nil {
					t.Fatal(err)
				}
				crowds = append(crowds, c)
			}
			for _, c := range crowds {
				if l, err := c.out.ReadString('\n'); err != nil || l != "ready\n" {
					t.Fatal(l, err)
				}
			}
			for _, c := range crowds {
				io.WriteString(c.in, "go\n")
			}
			created, attached := map[string]int{}, map[string]int{}
			for _, c := range crowds {
				for {
					l, err := c.out.ReadString('\n')
					if err != nil {
						t.Fatal(err)
					}
					what, which, _ := strings.Cut(strings.TrimSpace(l), " ")
					if what == "done" {
						break
					}
					switch what {
					case "created":
						created[which]++
					case "attached":
						attached[which]++
					default:
						t.Error(l)
					}
				}
			}
			for _, c := range crowds {
				c.in.Close()
				if err := c.cmd.Wait(); err != nil {
					t.Error(err)
				}
			}
			if len(created) != 1 || len(attached) != 1 {
				t.Fatalf("created %v, attached %v", created, attached)
			}
			for uuid, n := range created {
				if n != 1 || attached[uuid] != processes*each-1 || uuid == dead {
					t.Errorf("created %v, attached %v, dead %s", created, attached, dead)
				}
			}
			if n := entries(t, dir); len(n) != 0 {
				t.Errorf("left in the directory: %q", n)
			}
		}
	})
}

// The planted bug for the test above: an owner that is taken for dead although
// it lives, because its lock is gone, is replaced. So the lock is what keeps
// openers from making it twice.
func TestLostLockIsTakenForDeath(t *testing.T) {
	dir := privateDir(t)
	o := Options{Name: "n", Size: 100, HandOff: ReadWrite}
	s := must(CreateNamed(dir, o))(t)
	defer s.Close()
	s.claim.lock.Unlock()
	again := must(OpenOrCreateNamed(dir, o))(t)
	defer again.Close()
	if !again.Info().Owner || again.Info().UUID == s.Info().UUID {
		t.Error("an unlocked segment was not replaced")
	}
	// The first owner's Close leaves the name alone, which is another's now.
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if n := entries(t, dir); len(n) != 1 {
		t.Errorf("the directory holds %q", n)
	}
}

// The name is looked at once more before it is removed: what was found dead may
// have been replaced meanwhile, and the successor must not be removed for it.
func TestReclaimLooksTwice(t *testing.T) {
	dir := privateDir(t)
	d := must(openDirectory(dir))(t)
	defer d.Close()
	s := must(CreateNamed(dir, Options{Name: "n", Size: 100}))(t)
	dead := must(os.Open(s.Info().Path))(t)
	defer dead.Close()
	s.Close()
	next := must(CreateNamed(dir, Options{Name: "n", Size: 100}))(t)
	defer next.Close()
	if err := d.reclaim("n", dead); !errors.Is(err, ErrBusy) || len(entries(t, dir)) != 1 {
		t.Errorf("%v, left %q", err, entries(t, dir))
	}
}

// A maker that was stopped in the middle keeps others waiting for a few seconds,
// not for ever, and they say who it is. Those who only attach do not wait.
func TestStoppedMaker(t *testing.T) {
	defer func(old time.Duration) { busyLimit = old }(busyLimit)
	busyLimit = 50 * time.Millisecond
	dir := privateDir(t)
	s := must(CreateNamed(dir, Options{Name: "there", Size: 100}))(t)
	defer s.Close()
	l := flock.New(dir, flock.SetFlag(os.O_RDONLY)) // as a stopped maker would hold it
	if ok, err := l.TryLock(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	defer l.Unlock()
	a, err := OpenOrCreateNamed(dir, Options{Name: "there", Size: 100})
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	if _, err := OpenOrCreateNamed(dir, Options{Name: "new", Size: 100}); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getpid())) {
		t.Errorf("while another is making: %v", err)
	}
}

// Temporary names of dead makers are swept away, those of live ones are not, and
// foreign files are never touched.
func TestSweep(t *testing.T) {
	withoutTmpfile(t)
	dir := privateDir(t)
	for _, n := range []string{tempPrefix + "DEAD", "foreign", ".hidden"} {
		if err := os.WriteFile(filepath.Join(dir, n), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := must(CreateNamed(dir, Options{Name: "a", Size: 100}))(t)
	defer s.Close()
	next := must(s.Grow(200))(t) // has a temporary name until it supersedes
	defer next.Close()
	b := must(CreateNamed(dir, Options{Name: "b", Size: 100}))(t)
	defer b.Close()
	got := strings.Join(entries(t, dir), " ")
	if strings.Contains(got, "DEAD") || !strings.Contains(got, tempPrefix) || !strings.Contains(got, "foreign") || !strings.Contains(got, ".hidden") {
		t.Errorf("the directory holds %s", got)
	}
	if err := s.Supersede(next); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(entries(t, dir), " "); got != ".hidden a b foreign" {
		t.Errorf("the directory holds %s", got)
	}
	if _, err := CreateNamed(dir, Options{Name: "foreign", Size: 1}); !errors.Is(err, ErrNotSegment) {
		t.Errorf("over a foreign file: %v", err)
	}
	if _, err := OpenNamed(dir, Expect{Name: "foreign"}); !errors.Is(err, ErrNotSegment) {
		t.Errorf("opening a foreign file: %v", err)
	}
	if _, err := OpenOrCreateNamed(dir, Options{Name: "foreign", Size: 1}); !errors.Is(err, ErrNotSegment) {
		t.Errorf("over a foreign file: %v", err)
	}
}

// While a segment grows again and again its name always leads to one that is
// whole: openers see every generation or a later one, and never nothing.
func TestGrowNamed(t *testing.T) {
	bothTmpfiles(t, func(t *testing.T) {
		dir := privateDir(t)
		s := must(CreateNamed(dir, Options{Name: "g", Size: 100}))(t)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			for last := 0; ctx.Err() == nil; {
				a, err := OpenNamed(dir, Expect{Name: "g"})
				if err != nil {
					t.Error(err)
					return
				}
				if g := a.Info().Generation; g < last || len(a.Region()) != 100*g {
					t.Errorf("generation %d of %d bytes after %d", g, len(a.Region()), last)
				} else {
					last = g
				}
				a.Close()
			}
		})
		for i := range 50 {
			next, err := s.Grow(100 * (i + 2))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Supersede(next); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = next
		}
		cancel()
		wg.Wait()
		if n := entries(t, dir); len(n) != 1 {
			t.Errorf("the directory holds %q", n)
		}
		abandoned := must(s.Grow(10_000))(t)
		abandoned.Close()
		os.Remove(filepath.Join(dir, "g"))
		next := must(s.Grow(10_000))(t)
		if err := s.Supersede(next); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("superseding a name that was taken away: %v", err)
		}
		next.Close()
		s.Close()
		if n := entries(t, dir); len(n) != 0 {
			t.Errorf("the directory holds %q", n)
		}
	})
}

// Directories that others can reach into, or whose locks mean nothing, are refused.
func TestUnsafeDirectory(t *testing.T) {
	mode := func(m os.FileMode) string {
		d := filepath.Join(t.TempDir(), "d")
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(d, m); err != nil {
			t.Fatal(err)
		}
		return d
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(privateDir(t), link); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dirs := map[string]string{
		"others may enter":       mode(0o701),
		"others may write":       mode(0o1777),
		"the group may look":     mode(0o750),
		"a symbolic link":        link,
		"a file":                 file,
		"a link with slash":      file + "/",
		"the root's, or others'": "/tmp",
	}
	if os.Geteuid() == 0 {
		d := mode(0o700)
		if err := os.Chown(d, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		dirs["another uid's"] = d
	}
	for name, dir := range dirs {
		for call, err := range map[string]error{
			"create":         second(CreateNamed(dir, Options{Name: "n", Size: 1})),
			"open":           second(OpenNamed(dir, Expect{Name: "n"})),
			"open or create": second(OpenOrCreateNamed(dir, Options{Name: "n", Size: 1})),
			"remove":         RemoveStale(dir, "n"),
		} {
			if !errors.Is(err, ErrUnsafeDir) || !strings.Contains(err.Error(), "0700") {
				t.Errorf("%s, %s: %v", name, call, err)
			}
		}
	}
	for magic, name := range networkFS {
		if err := refuseNetwork("/d", magic); !errors.Is(err, ErrUnsafeDir) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, magic := range []int64{unix.TMPFS_MAGIC, unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.OVERLAYFS_SUPER_MAGIC} {
		if err := refuseNetwork("/d", magic); err != nil {
			t.Error(err)
		}
	}
}

// A name may be a trap: a symbolic link, a directory, a FIFO that blocks.
func TestTrapsUnderAName(t *testing.T) {
	dir := privateDir(t)
	target := filepath.Join(t.TempDir(), "target")
	if err := os.WriteFile(target, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	os.Symlink(target, filepath.Join(dir, "link"))
	os.Mkdir(filepath.Join(dir, "dir"), 0o700)
	unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600)
	for _, name := range []string{"link", "dir", "fifo"} {
		var e *Error
		if _, err := OpenNamed(dir, Expect{Name: name}); !errors.As(err, &e) {
			t.Errorf("open %s: %v", name, err)
		}
		if _, err := CreateNamed(dir, Options{Name: name, Size: 1}); !errors.As(err, &e) {
			t.Errorf("create %s: %v", name, err)
		}
	}
	if n := entries(t, dir); len(n) != 3 {
		t.Errorf("the directory holds %q", n)
	}
}

// A name that is handed out read-only cannot be opened for writing by mistake.
func TestNamedReadOnly(t *testing.T) {
	dir := privateDir(t)
	s := must(CreateNamed(dir, Options{Name: "r", Size: 100}))(t)
	defer s.Close()
	if _, err := OpenNamed(dir, Expect{Name: "r", Access: ReadWrite}); !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("for writing: %v", err)
	}
	a := must(OpenNamed(dir, Expect{Name: "r"}))(t)
	defer a.Close()
	fi, err := os.Stat(filepath.Join(dir, "r"))
	if err != nil || fi.Mode() != 0o400 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
}

// truncator cuts off the file behind a named segment.
var truncator = proctest.Helper("truncator", func(args []string) {
	n, _ := strconv.ParseInt(args[1], 10, 64)
	check(os.Truncate(args[0], n))
})

// Another process truncates the file under a mapping: every access ends in a
// typed error, the segment is quarantined, and the process lives on.
func TestTruncatedUnderUs(t *testing.T) {
	needFaultAddresses(t)
	touches := map[string]func(b []byte) error{
		"load":   func(b []byte) error { _ = b[20_000]; sink = b[20_000]; return nil },
		"store":  func(b []byte) error { b[20_000] = 1; return nil },
		"copy":   func(b []byte) error { copy(make([]byte, len(b)), b); return nil },
		"clear":  func(b []byte) error { clear(b); return nil },
		"string": func(b []byte) error { sinkString = string(b); return nil },
	}
	for name, touch := range touches {
		t.Run(name, func(t *testing.T) {
			dir := privateDir(t)
			s := must(CreateNamed(dir, Options{Name: "cut", Size: 40_000, HandOff: ReadWrite}))(t)
			defer s.Close()
			a := must(OpenNamed(dir, Expect{Name: "cut", Access: ReadWrite}))(t)
			defer a.Close()
			if err := a.Access(touch); err != nil {
				t.Fatal(err)
			}
			if err := proctest.Command(t, truncator, s.Info().Path, "8192").Run(); err != nil {
				t.Fatal(err)
			}
			deferred := false
			err := a.Access(func(b []byte) error {
				defer func() { deferred = true }()
				return touch(b)
			})
			var fault *FaultError
			if !errors.As(err, &fault) || !errors.Is(err, ErrTruncated) || !strings.Contains(err.Error(), `"cut"`) {
				t.Fatalf("access to a truncated segment: %v", err)
			}
			if fault.Offset < 4096 || fault.Offset >= 40_000 || fault.Size != 40_000 || !deferred {
				t.Errorf("fault at %d of %d, deferred call ran: %v", fault.Offset, fault.Size, deferred)
			}
			if err := a.Access(func([]byte) error { return nil }); !errors.Is(err, ErrQuarantined) || !errors.Is(err, ErrTruncated) {
				t.Errorf("second access: %v", err)
			}
			if _, err := a.View(); !errors.Is(err, ErrQuarantined) {
				t.Errorf("view: %v", err)
			}
			if a.Region() != nil {
				t.Error("region of a quarantined segment")
			}
			if _, err := OpenNamed(dir, Expect{Name: "cut"}); !errors.Is(err, ErrTruncated) {
				t.Errorf("opening a truncated segment: %v", err)
			}
			// The owner announces its end into a header that is gone as well.
			if err := os.Truncate(s.Info().Path, 0); err != nil {
				t.Fatal(err)
			}
			if _, err := s.State(); !errors.Is(err, ErrTruncated) {
				t.Errorf("state: %v", err)
			}
			word := wordAt(s.mapping, 128)
			if err := Wait(t.Context(), word, 0); !errors.Is(err, ErrUnmapped) {
				t.Errorf("waiting on a word that is gone: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			if err := a.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
}

// needFaultAddresses skips a test where a SIGBUS does not say which address it is
// about: some versions of qemu-user.
func needFaultAddresses(t *testing.T) {
	t.Helper()
	f := must(os.CreateTemp(t.TempDir(), "hole"))(t)
	defer f.Close()
	m, err := unix.Mmap(int(f.Fd()), 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(m)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if _, ok := recover().(interface{ Addr() uintptr }); !ok {
			t.Skip("a SIGBUS carries no address here")
		}
	}()
	sink = m[0]
}

var (
	sink       byte
	sinkString string
)

// What a truncated segment leaves when its owner dies as well is reclaimed.
func TestTruncatedAndStale(t *testing.T) {
	for _, size := range []string{"0", "100", "4096"} {
		dir := privateDir(t)
		cmd, _, _ := keep(t, dir, "n", 10_000)
		if err := proctest.Command(t, truncator, filepath.Join(dir, "n"), size).Run(); err != nil {
			t.Fatal(err)
		}
		cmd.Process.Kill()
		cmd.Wait()
		s, err := OpenOrCreateNamed(dir, Options{Name: "n", Size: 10_000})
		if err != nil {
			t.Errorf("cut to %s: %v", size, err)
			continue
		}
		if !s.Info().Owner {
			t.Error("attached to the remains")
		}
		s.Close()
	}
}

// Faults and panics that are not the segment's own go through.
func TestAccessLetsOtherPanicsThrough(t *testing.T) {
	s := newTestSegment(t, Options{Size: 100})
	for name, f := range map[string]func([]byte) error{
		"panic":       func([]byte) error { panic("mine") },
		"nil pointer": func([]byte) error { var p *int; *p = 1; return nil },
		"index":       func(b []byte) error { b[len(b)] = 1; return nil },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: swallowed", name)
				}
			}()
			s.Access(f)
		}()
	}
	if err := s.Access(func([]byte) error { return nil }); err != nil {
		t.Errorf("after panics: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// The guard is needed: the same access without it kills the process.
var _ = proctest.Helper("unguarded", func(args []string) {
	s, err := CreateNamed(args[0], Options{Name: "cut", Size: 40_000})
	check(err)
	check(os.Truncate(s.Info().Path, 4096))
	s.Region()[20_000] = 1
})

func TestUnguardedAccessKills(t *testing.T) {
	cmd := proctest.Command(t, "unguarded", privateDir(t))
	cmd.Stderr = nil
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).ExitStatus() == 0 {
		t.Errorf("touching a truncated file: %v", err)
	}
}
