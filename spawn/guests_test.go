//go:build linux

package spawn

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"shmkit/internal/proctest"
)

// A mailbox gives each worker one file, and keeps what comes back from all.
type mailbox struct {
	mu     sync.Mutex
	got    []string
	closed []string
	news   chan struct{} // cap 1
}

type letterbox struct {
	m   *mailbox
	who string
}

func (m *mailbox) Donate(group string, rank, size int) ([]*os.File, []string, io.Closer, error) {
	fd, err := unix.MemfdCreate("mail", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, nil, nil, err
	}
	f := os.NewFile(uintptr(fd), "mail")
	who := fmt.Sprintf("%s/%d/%d", group, rank, size)
	f.WriteString(who)
	return []*os.File{f}, []string{"word-of-" + strconv.Itoa(rank)}, letterbox{m, who}, nil
}

func (l letterbox) Message(payload []byte, _ []*os.File) {
	l.m.note(&l.m.got, l.who+": "+string(payload))
}
func (l letterbox) Close() error { l.m.note(&l.m.closed, l.who); return nil }
func (l letterbox) Started(pid int, send func([]byte, ...*os.File) error) {
	send([]byte("welcome " + l.who))
}

func (m *mailbox) note(list *[]string, s string) {
	m.mu.Lock()
	*list = append(*list, s)
	m.mu.Unlock()
	select {
	case m.news <- struct{}{}:
	default:
	}
}

// await waits until the list holds s.
func (m *mailbox) await(t *testing.T, list *[]string, s string) {
	t.Helper()
	limit := time.After(patienceOfTests)
	for {
		m.mu.Lock()
		ok := slices.Contains(*list, s)
		all := strings.Join(*list, " | ")
		m.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-m.news:
		case <-limit:
			t.Fatalf("%q never came; there is: %s", s, all)
		}
	}
}

func guestServer(t *testing.T, exits chan<- Exit) (*Server, *mailbox) {
	m := &mailbox{news: make(chan struct{}, 1)}
	s := newServer(t, Options{Guests: true, Resources: map[string]Resource{"mail": m}, Exit: func(x Exit) {
		if exits != nil {
			exits <- x
		}
	}})
	return s, m
}

// A guest says what it was given, then does as it is told on its standard input:
// leave, or live until it is killed or asked to leave.
var guest = proctest.Helper("guest", func(args []string) {
	rank, _ := strconv.Atoi(args[3])
	size, _ := strconv.Atoi(args[4])
	c, err := Join(context.Background(), JoinOptions{Dir: args[0], Run: args[1], Group: args[2], Rank: rank, Size: size})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	reportMail(c)
	if len(args) > 5 && args[5] == "asked" {
		<-c.Context().Done()
		fmt.Println(context.Cause(c.Context()))
	} else if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		select {}
	}
	c.Send("mail", []byte("last words"))
	if err := c.Leave(context.Background()); err != nil {
		fmt.Println("error:", err)
	}
	c.Leave(context.Background())
	fmt.Println("left")
})

func reportMail(c *Child) {
	files, words, ok := c.Resource("mail")
	if !ok || len(files) != 1 {
		fmt.Println("error: no mail")
		os.Exit(1)
	}
	b := make([]byte, 100)
	n, _ := files[0].ReadAt(b, 0)
	welcomed := make(chan string, 1)
	c.Handle("mail", func(p []byte, _ []*os.File) { welcomed <- string(p) })
	fmt.Println(c.Run, c.Group, c.Rank, c.Size, string(b[:n]), words, <-welcomed)
}

type guestProc struct {
	t     *testing.T
	kill  func()
	stdin io.WriteCloser
	out   *lineReader
}

func startGuest(t *testing.T, s *Server, group string, rank, size int, more ...string) *guestProc {
	t.Helper()
	args := append([]string{s.claim.parent.path, s.Run(), group, strconv.Itoa(rank), strconv.Itoa(size)}, more...)
	cmd := proctest.Command(t, guest, args...)
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	return &guestProc{t: t, kill: func() { cmd.Process.Kill(); cmd.Wait() }, stdin: in, out: &lineReader{r: out}}
}

type lineReader struct {
	r   io.Reader
	buf []byte
}

func (l *lineReader) line(t *testing.T) string {
	t.Helper()
	for {
		if i := slices.Index(l.buf, '\n'); i >= 0 {
			s := string(l.buf[:i])
			l.buf = l.buf[i+1:]
			return s
		}
		b := make([]byte, 4096)
		n, err := l.r.Read(b)
		if l.buf = append(l.buf, b[:n]...); err != nil && n == 0 {
			t.Fatalf("no more lines (%v), rest %q", err, l.buf)
		}
	}
}

// A process from outside gets the same as a worker, talks to its lease, is listed,
// and when its Leave returns its lease is closed and its place free.
func TestGuest(t *testing.T) {
	exits := make(chan Exit, 4)
	s, m := guestServer(t, exits)
	p := startGuest(t, s, "ranks", 2, 4)
	if got, want := p.out.line(t), "test ranks 2 4 ranks/2/4 [word-of-2] welcome ranks/2/4"; got != want {
		t.Fatalf("the guest has %q, want %q", got, want)
	}
	ws := s.Workers()
	if len(ws) != 1 || !ws[0].Guest || ws[0].Group != "ranks" || ws[0].Rank != 2 || ws[0].State != Running {
		t.Errorf("Workers() = %+v", ws)
	}
	io.WriteString(p.stdin, "leave\n")
	if got := p.out.line(t); got != "left" {
		t.Fatalf("Leave: %q", got)
	}
	m.mu.Lock()
	got, closed := slices.Clone(m.got), slices.Clone(m.closed)
	m.mu.Unlock()
	if !slices.Equal(got, []string{"ranks/2/4: last words"}) || !slices.Equal(closed, []string{"ranks/2/4"}) {
		t.Errorf("when Leave had returned: messages %q, closed %q", got, closed)
	}
	if x := <-exits; x.Code != 0 || !x.Guest || x.Group != "ranks" || x.Rank != 2 {
		t.Errorf("exit %+v", x)
	}
	if p := startGuest(t, s, "ranks", 2, 4); !strings.HasPrefix(p.out.line(t), "test ranks 2 4") {
		t.Error("the place was not free")
	}
}

// One that is killed is noticed by its connection.
func TestGuestKilled(t *testing.T) {
	exits := make(chan Exit, 4)
	s, m := guestServer(t, exits)
	p := startGuest(t, s, "", AnyRank, 0)
	if got := p.out.line(t); !strings.HasPrefix(got, "test guests 0 1 ") {
		t.Fatalf("%q", got)
	}
	q := startGuest(t, s, "", AnyRank, 0)
	if got := q.out.line(t); !strings.HasPrefix(got, "test guests 1 2 ") {
		t.Fatalf("the second: %q", got)
	}
	p.kill()
	m.await(t, &m.closed, "guests/0/1")
	if x := <-exits; x.Code != -1 || x.Message == "" {
		t.Errorf("exit %+v", x)
	}
	q.kill()
	m.await(t, &m.closed, "guests/1/2")
}

// A place has one holder, and nobody takes a name of the server's own.
func TestGuestRefused(t *testing.T) {
	s, _ := guestServer(t, nil)
	g := start(t, s, Spec{Cmd: []string{"sleep", "1000"}, Workers: 1, Group: "own"})
	defer g.Stop(context.Background())
	startGuest(t, s, "ranks", 0, 2).out.line(t)
	for _, c := range []struct {
		group      string
		rank, size int
		want       string
	}{
		{"ranks", 0, 2, "rank 0 of group \"ranks\" is taken by process"},
		{"own", 5, 6, "was started by the node"},
		{"ranks", 2, 2, "want 0 ≤ rank < size"},
		{"ranks", 0, MaxWorkers + 1, "want 0 ≤ rank < size"},
		{"a/b", 0, 1, "use [A-Za-z0-9._-] only"},
	} {
		if got := startGuest(t, s, c.group, c.rank, c.size).out.line(t); !strings.HasPrefix(got, `error: spawn: join run "test": `) || !strings.Contains(got, c.want) {
			t.Errorf("%s %d/%d: %q, want %q", c.group, c.rank, c.size, got, c.want)
		}
	}
	_, err := Join(t.Context(), JoinOptions{Run: "nobody", Dir: t.TempDir()})
	if je := new(JoinError); !errors.As(err, &je) || je.Run != "nobody" || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such run: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Join(ctx, JoinOptions{Run: "test", Dir: s.claim.parent.path}); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}

// A program started by Spec.Cmd that joins is who it was started as, whatever it
// says, and so is a process below it; its group ends after its lease is closed.
func TestGuestOfCommand(t *testing.T) {
	s, m := guestServer(t, nil)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	proctest.Command(t, guest) // the helper is used below
	g := start(t, s, Spec{
		Cmd:   []string{"sh", "-c", `"$0" -- "$1" test forged 7 9 asked; exit 3`, exe, s.claim.parent.path},
		Env:   []string{proctest.EnvHelper + "=" + guest},
		Group: "cmd", Workers: 2,
	})
	// What they were welcomed with is in the last lines of their output; here it is
	// enough who they are to the server.
	deadline := time.After(patienceOfTests)
	for len(s.guests.all()) < 2 {
		select {
		case <-deadline:
			t.Fatal("they did not join")
		case <-time.After(time.Millisecond):
		}
	}
	for _, w := range s.guests.all() {
		if w.g != g || w.host == nil || w.host.rank != w.rank || w.pid == w.host.pid {
			t.Errorf("process %d sits at %s/%d, hosted by %+v", w.pid, w.g.name, w.rank, w.host)
		}
	}
	if ws := s.Workers(); len(ws) != 2 || ws[0].Guest || ws[1].Guest {
		t.Errorf("Workers() = %+v", ws)
	}
	if err := g.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	g.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	slices.Sort(m.closed)
	if want := []string{"cmd/0/2", "cmd/1/2"}; !slices.Equal(m.closed, want) {
		t.Errorf("when the group had ended, closed leases: %q, want %q", m.closed, want)
	}
}

// When the server stops, its guests are asked to leave; those who do not are cut off.
func TestGuestAskedToLeave(t *testing.T) {
	s, m := guestServer(t, nil)
	asked := startGuest(t, s, "ranks", 0, 2, "asked")
	stays := startGuest(t, s, "ranks", 1, 2)
	asked.out.line(t)
	stays.out.line(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		m.await(t, &m.closed, "ranks/0/2")
		cancel()
	}()
	if err := s.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if got := asked.out.line(t); got != ErrAskedToLeave.Error() {
		t.Errorf("the cause was %q", got)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if want := []string{"ranks/0/2", "ranks/1/2"}; !slices.Equal(m.closed, want) {
		t.Errorf("closed %q, want %q", m.closed, want)
	}
	if len(s.Workers()) != 0 {
		t.Errorf("still there: %+v", s.Workers())
	}
}

// What is not a hello is answered, or dropped, and disturbs nobody.
func TestGuestHostile(t *testing.T) {
	s, _ := guestServer(t, nil)
	for _, b := range []string{"", "x", `{"join":2}`, `{"join":1,"rank":-2}`, `{"join":1,"rank":0,"group":"../x"}`, strings.Repeat("x", maxHello+1)} {
		conn, err := dialGuests(t.Context(), s.Dir())
		if err != nil {
			t.Fatal(err)
		}
		if b != "" {
			conn.Write([]byte(b))
		} else {
			unixConn, _ := conn.SyscallConn()
			unixConn.Control(func(fd uintptr) { unix.Shutdown(int(fd), syscall.SHUT_WR) })
		}
		answer := make([]byte, 4096)
		n, err := conn.Read(answer)
		if b != "" && !strings.Contains(string(answer[:n]), `"error":`) {
			t.Errorf("%.20q: answered %q, %v", b, answer[:n], err)
		}
		conn.Close()
	}
	if got := startGuest(t, s, "ranks", 0, 1).out.line(t); !strings.HasPrefix(got, "test ranks 0 1") {
		t.Errorf("afterwards: %q", got)
	}
}
