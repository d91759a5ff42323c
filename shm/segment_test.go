//go:build linux && (amd64 || arm64)

package shm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"shmkit/internal/proctest"
)

// echo attaches to the segment that it was given and changes every byte of it.
var echo = proctest.Helper("segment echo", func(args []string) {
	s, err := Attach(inherited(0), Expect{Kind: KindOf("ECHO"), Schema: 7, MinSize: 10_000, Access: ReadWrite})
	check(err)
	for i := range s.Region() {
		s.Region()[i] ^= 0xff
	}
	os.Stdout.WriteString(s.Name() + "\n")
	check(s.Close())
})

// 1. What one process writes another one reads, and the other way round.
// 2. The region has exactly the size asked for, in both.
// 3. It is zero at first.
func TestSegmentIsShared(t *testing.T) {
	s := newTestSegment(t, Options{Name: "wordcount.echo", Kind: KindOf("ECHO"), Schema: 7, Size: 10_001, HandOff: ReadWrite})
	r := s.Region()
	if len(r) != 10_001 || cap(r) != 10_001 || !bytes.Equal(r, make([]byte, 10_001)) {
		t.Fatalf("region of %d bytes, capacity %d", len(r), cap(r))
	}
	for i := range r {
		r[i] = byte(i)
	}
	cmd := proctest.Command(t, echo)
	f := must(s.Reopen())(t)
	defer f.Close()
	cmd.ExtraFiles = []*os.File{f}
	out, err := cmd.Output()
	if err != nil || string(out) != "wordcount.echo\n" {
		t.Fatalf("helper said %q, %v", out, err)
	}
	for i := range r {
		if r[i] != byte(i)^0xff {
			t.Fatalf("byte %d is %#x", i, r[i])
		}
	}
}

func TestInfo(t *testing.T) {
	s := newTestSegment(t, Options{Name: "i", Kind: KindOf("INFO"), Schema: 9, Size: 5000, Prefault: true})
	a := attachTo(t, s, Expect{Prefault: true})
	own, got := s.Info(), a.Info()
	if own.Total%os.Getpagesize() != 0 || own.Total < PageSize+5000 || !own.Owner || got.Owner || own.Generation != 1 ||
		own.Access != ReadWrite || got.Access != ReadOnly || !own.Sealed || !got.Sealed || !own.Prefaulted || !got.Prefaulted ||
		own.CreatorPID != os.Getpid() || own.UUID == (UUID{}) || own.HugeBytes != 0 || own.PageBytes != os.Getpagesize() {
		t.Errorf("owner %+v\nattached %+v", own, got)
	}
	got.Owner, got.Access = true, ReadWrite
	if got != own {
		t.Errorf("owner %+v\nattached %+v", own, got)
	}
	if u := own.UUID.String(); len(u) != 36 || u[14] != '4' || strings.Count(u, "-") != 4 {
		t.Errorf("UUID %s", u)
	}
	s.Close()
	if s.Info() != own || s.Name() != "i" {
		t.Error("Info and Name do not work after Close")
	}
}

func TestViewsHoldASegmentOpen(t *testing.T) {
	s := newTestSegment(t, Options{Size: 100})
	v, w := must(s.View())(t), must(s.View())(t)
	if err := s.Close(); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "2 views") {
		t.Errorf("Close with views out: %v", err)
	}
	v.Bytes()[0] = 1 // still mapped
	v.Release()
	v.Release() // a second one does not count
	if v.Bytes() != nil {
		t.Error("bytes of a released view")
	}
	if err := s.Close(); !errors.Is(err, ErrInUse) {
		t.Errorf("Close with a view out: %v", err)
	}
	if err := s.Access(func(r []byte) error {
		w.Release()
		if err := s.Close(); !errors.Is(err, ErrInUse) {
			t.Errorf("Close inside Access: %v", err)
		}
		return io.EOF
	}); err != io.EOF {
		t.Errorf("Access returned %v, not what its function did", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestCloseWait(t *testing.T) {
	s := newTestSegment(t, Options{Size: 100})
	v := must(s.View())(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if err := s.CloseWait(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrInUse) {
		t.Errorf("CloseWait that had to give up: %v", err)
	}
	v.Bytes()[0] = 1
	w, err := s.View()
	if err != nil {
		t.Fatalf("the segment did not stay open: %v", err)
	}

	// The holder of a view that sleeps on a word of the segment is sent away, so
	// that it can give the view back.
	asleep := make(chan error, 1)
	go func() {
		asleep <- Wait(t.Context(), wordAt(w.Bytes(), 0), 1)
		w.Release()
	}()
	process.parkedSoon(t, 1)
	go v.Release()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := s.CloseWait(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := <-asleep; !errors.Is(err, os.ErrClosed) {
		t.Errorf("waiter: %v", err)
	}
	if s.Region() != nil {
		t.Error("a region after CloseWait")
	}
}

func TestState(t *testing.T) {
	s := newTestSegment(t, Options{Size: 100})
	a := attachTo(t, s, Expect{})
	if v, err := a.State(); v != Live || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	done := make(chan State)
	go func() {
		v, err := a.WaitState(t.Context(), Live)
		if err != nil {
			t.Error(err)
		}
		done <- v
	}()
	process.parkedSoon(t, 1)
	s.Close()
	if v := <-done; v != Retired {
		t.Errorf("after the owner's Close a reader sees %v", v)
	}
}

func TestGrow(t *testing.T) {
	s := newTestSegment(t, Options{Kind: KindOf("GROW"), Size: 100})
	s.Region()[0] = 1
	reader := attachTo(t, s, Expect{})
	next, err := s.Grow(100_000)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	after := attachTo(t, next, Expect{Kind: KindOf("GROW")})
	if i := after.Info(); i.UUID != reader.Info().UUID || i.Generation != 2 || i.Size != 100_000 || len(next.Region()) != 100_000 {
		t.Errorf("successor %+v", i)
	}
	if v, _ := reader.State(); v != Live {
		t.Errorf("superseded too early: %v", v)
	}
	if err := s.Supersede(next); err != nil {
		t.Fatal(err)
	}
	if v, _ := reader.WaitState(t.Context(), Live); v != Superseded {
		t.Errorf("reader of the first generation sees %v", v)
	}
	if s.Region()[0] != 1 || reader.Region()[0] != 1 {
		t.Error("the first generation is gone")
	}
	for name, err := range map[string]error{
		"smaller":         second(s.Grow(100)),
		"negative":        second(s.Grow(-1)),
		"huge":            second(s.Grow(math.MaxInt)),
		"attached":        second(reader.Grow(1 << 20)),
		"by itself":       s.Supersede(s),
		"by predecessor":  next.Supersede(s),
		"by nil":          s.Supersede(nil),
		"by a stranger":   s.Supersede(newTestSegment(t, Options{Name: "stranger", Size: 1})),
		"of an attached":  reader.Supersede(next),
		"by an attached":  s.Supersede(after),
		"of nil":          (*Segment)(nil).Supersede(next),
		"growth of a nil": second((*Segment)(nil).Grow(5)),
	} {
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Nothing that is passed in makes the package panic or fail without saying what,
// where and what to do.
func TestBadInput(t *testing.T) {
	file := func(content []byte) *os.File {
		name := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return must(os.OpenFile(name, os.O_RDWR, 0))(t)
	}
	fifo := func() *os.File {
		name := filepath.Join(t.TempDir(), "fifo")
		if err := unix.Mkfifo(name, 0o600); err != nil {
			t.Fatal(err)
		}
		return must(os.OpenFile(name, os.O_RDWR, 0))(t)
	}
	shut := func() *os.File { f := file(nil); f.Close(); return f }
	good := newTestSegment(t, Options{Name: "good", Kind: KindOf("GOOD"), Schema: 5, Size: 20_000, HandOff: ReadWrite})
	readOnly := newTestSegment(t, Options{Name: "sealed", Size: 100})
	image := make([]byte, good.Info().Total)
	if _, err := good.file.ReadAt(image, 0); err != nil {
		t.Fatal(err)
	}
	older := bytes.Clone(image)
	var h header
	copy(h.bytes(), older)
	h.major++
	h = h.resum()
	copy(older, h.bytes())
	boot := bytes.Clone(image)
	copy(h.bytes(), image)
	h.bootID[3]++
	h = h.resum()
	copy(boot, h.bytes())

	closed := newTestSegment(t, Options{Name: "closed", Size: 100})
	closed.Close()
	var none *Segment
	rw := Expect{Access: ReadWrite}
	named := func(n string) Expect { return Expect{Name: n} }
	reopen := func(s *Segment) *os.File { return must(s.Reopen())(t) }

	for name, c := range map[string]struct {
		err  error
		want error
		says string
	}{
		"create, zero size":           {second(Create(Options{Name: "n"})), os.ErrInvalid, `create "n": impossible size of 0 bytes`},
		"create, negative size":       {second(Create(Options{Size: -4096})), ErrSize, "-4096"},
		"create, huge size":           {second(Create(Options{Size: math.MaxInt})), ErrSize, "at most"},
		"create, more than memory":    {second(Create(Options{Size: 1 << 45})), ErrExhausted, "available"},
		"create, bad hand-off":        {second(Create(Options{Size: 1, HandOff: 7})), os.ErrInvalid, "Access(7)"},
		"create, bad huge pages":      {second(Create(Options{Size: 1, HugePages: -1})), os.ErrInvalid, ""},
		"create, long name":           {second(Create(Options{Size: 1, Name: strings.Repeat("x", 300)})), os.ErrInvalid, "at most 200"},
		"create, control in name":     {second(Create(Options{Size: 1, Name: "a\nb"})), os.ErrInvalid, `"a\nb"`},
		"create, NUL in name":         {second(Create(Options{Size: 1, Name: "a\x00b"})), os.ErrInvalid, ""},
		"attach, nil":                 {second(Attach(nil, named("x"))), os.ErrInvalid, `attach "x"`},
		"attach, closed file":         {second(Attach(shut(), named("x"))), os.ErrClosed, `attach "x"`},
		"attach, fifo":                {second(Attach(fifo(), named("x"))), ErrNotSegment, "regular file"},
		"attach, empty":               {second(Attach(file(nil), named("x"))), ErrNotSegment, "made by this package"},
		"attach, text":                {second(Attach(file(bytes.Repeat([]byte("t"), 9000)), named("x"))), ErrNotSegment, "magic"},
		"attach, other version":       {second(Attach(file(older), named("x"))), ErrVersion, "layout 2.0, this build reads 1.x: restart the workers"},
		"attach, before the boot":     {second(Attach(file(boot), named("x"))), ErrStale, "last boot"},
		"attach, truncated":           {second(Attach(file(image[:8192]), named("x"))), ErrTruncated, "cut off"},
		"attach, truncated in header": {second(Attach(file(image[:100]), named("x"))), ErrTruncated, ""},
		"attach, extended":            {second(Attach(file(append(bytes.Clone(image), 1)), named("x"))), ErrSize, ""},
		"attach, kind":                {second(Attach(reopen(good), Expect{Kind: KindOf("RING")})), ErrKind, `"good": kind GOOD, want RING`},
		"attach, schema":              {second(Attach(reopen(good), Expect{Schema: 6})), ErrSchema, "restart"},
		"attach, too small":           {second(Attach(reopen(good), Expect{MinSize: 1 << 20})), ErrSize, "larger"},
		"attach, bad access":          {second(Attach(reopen(good), Expect{Access: 9})), os.ErrInvalid, ""},
		"attach, write to read-only":  {second(Attach(reopen(readOnly), rw)), os.ErrPermission, `"sealed": permission denied: handed out read-only`},
		"reopen, attached":            {second(attachTo(t, good, Expect{}).Reopen()), ErrNotOwner, `"good"`},
		"closed, close":               {closed.Close(), nil, ""},
		"closed, close wait":          {closed.CloseWait(t.Context()), nil, ""},
		"closed, view":                {second(closed.View()), os.ErrClosed, `view "closed"`},
		"closed, access":              {closed.Access(func([]byte) error { panic("called") }), os.ErrClosed, ""},
		"closed, state":               {second(closed.State()), os.ErrClosed, ""},
		"closed, wait state":          {second(closed.WaitState(t.Context(), Live)), os.ErrClosed, ""},
		"closed, reopen":              {second(closed.Reopen()), os.ErrClosed, ""},
		"closed, grow":                {second(closed.Grow(1000)), os.ErrClosed, ""},
		"closed, supersede":           {closed.Supersede(good), os.ErrClosed, ""},
		"nil, close":                  {none.Close(), os.ErrInvalid, ""},
		"nil, close wait":             {none.CloseWait(t.Context()), os.ErrInvalid, ""},
		"nil, view":                   {second(none.View()), os.ErrInvalid, ""},
		"nil, access":                 {none.Access(nil), os.ErrInvalid, ""},
		"nil, reopen":                 {second(none.Reopen()), os.ErrInvalid, ""},
		"nil, state":                  {second(none.State()), os.ErrInvalid, ""},
		"named, no name":              {second(CreateNamed(t.TempDir(), Options{Size: 1})), os.ErrInvalid, "file name"},
		"named, path as name":         {second(CreateNamed(t.TempDir(), Options{Size: 1, Name: "../x"})), os.ErrInvalid, "file name"},
		"named, hidden":               {second(OpenNamed(t.TempDir(), named(".x"))), os.ErrInvalid, ""},
		"named, zero size":            {second(CreateNamed(t.TempDir(), Options{Name: "n"})), ErrSize, ""},
		"named, no directory":         {second(OpenNamed(filepath.Join(t.TempDir(), "a", "b"), named("n"))), os.ErrNotExist, ""},
		"named, no parent":            {second(CreateNamed(filepath.Join(t.TempDir(), "a", "b"), Options{Name: "n", Size: 1})), os.ErrNotExist, ""},
		"named, remove nothing":       {RemoveStale(privateDir(t), "n"), os.ErrNotExist, ""},
		"named, remove a path":        {RemoveStale(t.TempDir(), "a/b"), os.ErrInvalid, ""},
		"named, open nothing":         {second(OpenNamed(privateDir(t), named("n"))), os.ErrNotExist, "start its owner"},
		"named, bad access":           {second(OpenNamed(privateDir(t), Expect{Name: "n", Access: -1})), os.ErrInvalid, ""},
	} {
		var e *Error
		switch {
		case c.want == nil:
			if c.err != nil {
				t.Errorf("%s: %v", name, c.err)
			}
		case !errors.Is(c.err, c.want):
			t.Errorf("%s: %v, want %v", name, c.err, c.want)
		case !errors.As(c.err, &e) || e.Op == "" || !strings.HasPrefix(c.err.Error(), "shm: "):
			t.Errorf("%s: not an *Error: %v", name, c.err)
		case !strings.Contains(c.err.Error(), c.says):
			t.Errorf("%s: %q does not say %q", name, c.err, c.says)
		}
	}
	if none.Region() != nil || none.Name() != "" || none.Info() != (Info{}) {
		t.Error("a nil segment has contents")
	}
	var v *View
	v.Release()
	if v.Bytes() != nil {
		t.Error("a nil view has bytes")
	}
}

// privateDir is a directory that named segments accept.
func privateDir(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "private")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}
