//go:build linux

package spawn

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"shmkit/internal/proctest"
)

// one gives every worker a lease made by fn.
func one(fn func(rank int) *fakeLease) map[string]Resource {
	return map[string]Resource{"box": fakeResource{func(rank int) ([]*os.File, []string, io.Closer, error) {
		return nil, nil, fn(rank), nil
	}}}
}

// echo sends back what it is sent: payload, then the contents of the files, and a
// file of its own.
var echo = workerFunc("echo", func(c *Child) {
	done := make(chan struct{})
	c.Handle("box", func(payload []byte, files []*os.File) {
		if string(payload) == "end" {
			close(done)
			return
		}
		for _, f := range files {
			b, _ := io.ReadAll(f)
			payload = append(payload, b...)
			f.Close()
		}
		r, w, _ := os.Pipe()
		w.Write([]byte("from the worker"))
		w.Close()
		if err := c.Send("box", payload, r); err != nil {
			fmt.Println(err)
		}
		r.Close()
	})
	if err := c.Send("nobody", nil); err == nil || !strings.Contains(err.Error(), `"nobody"`) {
		fmt.Println("message to a resource that does not exist:", err)
	}
	<-done
})

// Messages of every size, with files, go both ways, whole and in order.
func TestMessages(t *testing.T) {
	type msg struct {
		payload []byte
		files   []*os.File
	}
	got := make(chan msg, 10)
	lease := &fakeLease{message: func(p []byte, f []*os.File) { got <- msg{p, f} }}
	rec := newRecorder()
	s := newServer(t, Options{Resources: one(func(int) *fakeLease { return lease }), Output: rec.output})
	g := start(t, s, Spec{Func: echo, Workers: 1})
	for n := 1; n <= MaxMessage-100; n = 3*n + 1 {
		r, w, err := os.Pipe()
		must(t, err)
		w.WriteString(" and a file")
		w.Close()
		payload := bytes.Repeat([]byte{byte(n)}, n)
		must(t, lease.send(payload, r))
		r.Close()
		m := <-got
		if want := string(payload) + " and a file"; string(m.payload) != want {
			t.Errorf("%d bytes came back as %d", len(want), len(m.payload))
		}
		if len(m.files) != 1 {
			t.Fatalf("%d files came back", len(m.files))
		}
		if b, err := io.ReadAll(m.files[0]); string(b) != "from the worker" {
			t.Errorf("the file says %q, %v", b, err)
		}
		closeFiles(m.files)
	}
	if err := lease.send(make([]byte, MaxMessage+1)); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("oversize payload: %v", err)
	}
	if err := lease.send(nil, make([]*os.File, MaxMessageFiles+1)...); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("too many files: %v", err)
	}
	must(t, lease.send([]byte("end")))
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if err := lease.send([]byte("x")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("message to a dead worker: %v", err)
	}
	if got := rec.get("echo/0/stdout"); got != nil {
		t.Errorf("the worker complains: %q", got)
	}
}

var frozen = workerFunc("frozen", func(c *Child) {
	fmt.Println("freezing")
	syscall.Kill(os.Getpid(), syscall.SIGSTOP)
})

// Sending never waits: not for a worker that does not read.
func TestSendDoesNotWait(t *testing.T) {
	rec := newRecorder()
	lease := &fakeLease{}
	s := newServer(t, Options{Resources: one(func(int) *fakeLease { return lease }), Output: rec.output})
	g := start(t, s, Spec{Func: frozen, Workers: 1})
	rec.waitFor(t, "frozen/0/stdout", 1)
	var err error
	for i := 0; err == nil && i < 1_000_000; i++ {
		err = lease.send(make([]byte, 100))
	}
	var me *MessageError
	if !errors.Is(err, ErrBusy) || !errors.As(err, &me) || !strings.Contains(err.Error(), `worker 0 of group "frozen"`) {
		t.Errorf("got %v", err)
	}
	if i := g.Infos()[0]; i.Unsent != 1 {
		t.Errorf("%d unsent", i.Unsent)
	}
	must(t, g.Signal(syscall.SIGKILL))
	g.Wait()
}

var ringer = workerFunc("ringer", func(c *Child) {
	full := putFrameHeader(0, 0)
	for unix.Sendmsg(controlFD, full[:], nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL) != unix.EAGAIN {
	}
	for range 100_000 {
		if err := c.Send("late", nil); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println("rang")
	// Anything else waits for room.
	if err := c.Send("late", make([]byte, MaxMessage)); err != nil {
		fmt.Println(err)
	}
	<-c.Context().Done()
})

// A worker's doorbell never waits either, and is not lost: one that is rung while
// the socket is full is heard when there is room again.
func TestDoorbellDoesNotWait(t *testing.T) {
	rec := newRecorder()
	var bells, payloads atomic.Int64
	gate := make(chan struct{})
	box := &fakeLease{message: func([]byte, []*os.File) { <-gate }}
	late := &fakeLease{message: func(p []byte, _ []*os.File) {
		if len(p) > 0 {
			payloads.Add(1)
		} else {
			bells.Add(1)
		}
	}}
	res := one(func(int) *fakeLease { return box })
	res["late"] = fakeResource{func(int) ([]*os.File, []string, io.Closer, error) { return nil, nil, late, nil }}
	s := newServer(t, Options{Output: rec.output, Resources: res})
	g := start(t, s, Spec{Func: ringer, Workers: 1})
	if l := rec.waitFor(t, "ringer/0/stdout", 1); l[0] != "rang" { // while the server listens to nothing
		t.Errorf("worker says %q", l)
	}
	if n := bells.Load(); n > 0 {
		t.Errorf("%d bells came through a full socket", n)
	}
	close(gate)
	eventually(t, "a bell and a message are heard", func() bool { return bells.Load() > 0 && payloads.Load() > 0 })
	must(t, g.Stop(context.Background()))
	if b, p := bells.Load(), payloads.Load(); b > 100 || p != 1 {
		t.Errorf("heard %d bells and %d messages", b, p)
	}
}

// raw sends one record of any bytes and descriptors past all checks.
func raw(b []byte, fds ...int) error {
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	for {
		err := unix.Sendmsg(controlFD, b, oob, nil, unix.MSG_NOSIGNAL)
		// ETOOMANYREFS: a user who is not root has no more than RLIMIT_NOFILE
		// descriptors under way.
		if err != unix.EAGAIN && err != unix.EINTR && err != unix.ETOOMANYREFS {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// hostile does what it likes with its control socket, by rank.
var hostile = workerFunc("hostile", func(c *Child) {
	doorbell := putFrameHeader(0, 0)
	null, _ := os.Open("/dev/null")
	fd := int(null.Fd())
	switch c.Rank {
	case 0: // flood
		for range 50_000 {
			raw(doorbell[:])
		}
	case 1: // malformed in every way, with descriptors
		for i := range 2000 {
			addr := putFrameHeader(uint16(1+i), 0)
			op := putFrameHeader(0, uint16(1+i))
			raw(addr[:], fd)
			raw(op[:], fd, fd)
			raw(doorbell[:1+i%3], fd)
			if i%100 == 0 {
				raw(make([]byte, frameHeader+MaxMessage+1+i), fd)
			}
		}
	case 2: // more descriptors than allowed
		many := make([]int, 253)
		for i := range many {
			many[i] = fd
		}
		for n := MaxMessageFiles + 1; n <= len(many); n++ {
			raw(doorbell[:], many[:n]...)
		}
	case 3: // well-formed messages with descriptors that the resource does not want
		for range 1000 {
			raw(doorbell[:], fd, fd, fd)
		}
	case 4: // closes, and lives on
		unix.Close(controlFD)
	case 5: // an empty record with a descriptor
		raw(nil, fd)
	case 6: // gives the socket away, and dies
		unix.FcntlInt(controlFD, unix.F_SETFD, 0)
		cmd := exec.Command("sleep", "120")
		null, _ := os.OpenFile("/dev/null", os.O_RDWR, 0)
		cmd.Stdout, cmd.Stderr = null, null
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		cmd.Start()
		fmt.Println(cmd.Process.Pid)
		os.Exit(0)
	}
	fmt.Println("done")
})

var good = workerFunc("good", func(c *Child) {
	for range 1000 {
		c.Send("box", []byte("x"))
	}
})

// A hostile worker harms nobody: the server neither hangs nor crashes nor keeps a
// descriptor, its other workers' messages arrive, and what was refused is counted.
func TestHostileWorker(t *testing.T) {
	set(t, &linger, 20*time.Millisecond)
	before := openFDs(t)
	rec := newRecorder()
	var bells [8]atomic.Int64
	s := newServer(t, Options{Output: rec.output, Resources: map[string]Resource{
		"box": fakeResource{func(rank int) ([]*os.File, []string, io.Closer, error) {
			if rank == 3 {
				return nil, nil, io.NopCloser(nil), nil // a lease that is no Messenger
			}
			return nil, nil, &fakeLease{message: func(p []byte, files []*os.File) {
				bells[rank].Add(1)
				closeFiles(files)
			}}, nil
		}}}})
	g := start(t, s, Spec{Func: hostile, Workers: 7})
	good := start(t, s, Spec{Func: good, Workers: 8})
	if err := good.Wait(); err != nil {
		t.Error(err)
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	// The bells of both groups are counted by rank.
	for rank := range bells {
		want := int64(1000)
		switch rank {
		case 0:
			want += 50_000
		case 3:
			want = 0
		}
		if got := bells[rank].Load(); got != want {
			t.Errorf("rank %d: %d messages, want %d", rank, got, want)
		}
	}
	infos := g.Infos()
	for rank, want := range map[int]uint64{0: 0, 1: 6020, 2: 253 - MaxMessageFiles, 3: 1000, 4: 0} {
		if got := infos[rank].Rejected; got != want {
			t.Errorf("rank %d: %d rejected, want %d", rank, got, want)
		}
	}
	for rank := range 6 {
		if rank != 5 && !slices.Contains(rec.get(fmt.Sprintf("hostile/%d/stdout", rank)), "done") {
			t.Errorf("rank %d did not get to its end", rank)
		}
	}
	var pid int
	fmt.Sscan(rec.get("hostile/6/stdout")[0], &pid)
	if !alive(pid) {
		t.Error("nobody held the socket: the test shows nothing")
	}
	syscall.Kill(pid, syscall.SIGKILL)
	waitGone(t, pid)
	must(t, s.Close())
	eventually(t, "as many descriptors as before", func() bool { return openFDs(t) <= before })
}

// lingering hands over sockets whose close waits: unsent data, and SO_LINGER. The
// other ends live as long as this process.
var lingering = workerFunc("lingering", func(c *Child) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println("skip:", err)
		return
	}
	bad, bell := putFrameHeader(77, 0), putFrameHeader(0, 0)
	for i := range 20 * maxClosing {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			fmt.Println("skip:", err)
			return
		}
		conn.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
		for err == nil { // nobody reads
			_, err = conn.Write(make([]byte, 1<<20))
		}
		conn.(*net.TCPConn).SetLinger(600)
		f, _ := conn.(*net.TCPConn).File()
		err = raw(bad[:], int(f.Fd()))
		if err == nil {
			err = raw(bell[:])
		}
		// Whoever closes last waits. It is the server often enough.
		go f.Close()
		go conn.Close()
		if err != nil {
			fmt.Println("cut off after", i)
			break
		}
	}
	fmt.Println("sent")
	time.Sleep(patienceOfTests)
})

// Closing a descriptor can take as long as the one who made it likes. That keeps
// neither the server nor the reader of that worker's messages from going on, and
// such a worker soon loses its control socket.
func TestDescriptorsThatLinger(t *testing.T) {
	var bells atomic.Int64
	rec := newRecorder()
	s := newServer(t, Options{Output: rec.output, Resources: one(func(int) *fakeLease {
		return &fakeLease{message: func([]byte, []*os.File) { bells.Add(1) }}
	})})
	g := start(t, s, Spec{Func: lingering, Workers: 1})
	l := rec.waitFor(t, "lingering/0/stdout", 1)
	if strings.HasPrefix(l[0], "skip") {
		t.Skip(l[0])
	}
	if !strings.HasPrefix(l[0], "cut off") || bells.Load() < maxClosing {
		t.Errorf("worker says %q, %d bells were heard", l, bells.Load())
	}
	must(t, g.Signal(syscall.SIGKILL)) // ends the waiting, too
	g.Wait()
	eventually(t, "nothing is being closed", func() bool { return len(g.all()[0].ctl.closing) == 0 })
}

// What the worker's side promises: the plumbing is gone from the environment, and
// the worker's own children inherit none of its descriptors.
var attached = workerFunc("attached", func(c *Child) {
	if again, err := Attach(); again != c || err != nil {
		fmt.Println("second Attach:", again, err)
	}
	for _, kv := range os.Environ() {
		if strings.HasPrefix(kv, envFD) || strings.HasPrefix(kv, envFunc) {
			fmt.Println("left in the environment:", kv)
		}
	}
	files, words, ok := c.Resource("data")
	sum := sha256.New()
	for _, f := range files {
		io.Copy(sum, f)
	}
	fmt.Printf("%s %d/%d %s %q %v %x\n", c.Run, c.Rank, c.Size, c.Group, words, ok, sum.Sum(nil)[:4])
	if _, _, ok := c.Resource("other"); ok {
		fmt.Println("was given a resource that does not exist")
	}
	var own []string
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, e := range fds {
		link, _ := os.Readlink("/proc/self/fd/" + e.Name())
		if strings.HasPrefix(link, "socket:") || strings.Contains(link, "donated") || strings.Contains(link, os.Args[0]) {
			own = append(own, link)
		}
	}
	if len(own) != 3 {
		fmt.Printf("own descriptors: %q\n", own)
	}
	out, err := exec.Command("sh", "-c", "ls -l /proc/self/fd; env").CombinedOutput()
	if err != nil {
		fmt.Println(err)
	}
	for _, link := range append(own, envFD, envFunc) {
		if bytes.Contains(out, []byte(link)) {
			fmt.Println("a child of the worker has", link)
		}
	}
	// A process that gets hold of the plumbing is no worker for that.
	pair, _ := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	for _, extra := range [][]*os.File{nil, {os.Stdin}, {os.NewFile(uintptr(pair[0]), "pair")}} {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), proctest.EnvHelper+"=impostor", envFunc+"=attached", envFD+"=1;123456789")
		cmd.ExtraFiles = extra
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != "no worker\n" {
			fmt.Printf("impostor with %v: %q, %v\n", extra, out, err)
		}
	}
})

var _ = proctest.Helper("impostor", func([]string) {
	// TestMain has called Attach already, and come here.
	if _, err := Attach(); errors.Is(err, ErrNotWorker) {
		fmt.Println("no worker")
	}
})

func TestAttach(t *testing.T) {
	if c, err := Attach(); c != nil || !errors.Is(err, ErrNotWorker) {
		t.Errorf("Attach in a process that is no worker: %v, %v", c, err)
	}
	rec := newRecorder()
	dir := t.TempDir()
	s := newServer(t, Options{Run: "attach-test", Output: rec.output, Resources: map[string]Resource{
		"data": fakeResource{func(rank int) ([]*os.File, []string, io.Closer, error) {
			var files []*os.File
			for i := range 2 {
				path := fmt.Sprintf("%s/donated-%d-%d", dir, rank, i)
				must(t, os.WriteFile(path, fmt.Appendf(nil, "%d %d", rank, i), 0o600))
				f, err := os.Open(path)
				must(t, err)
				files = append(files, f)
			}
			return files, []string{"a=b", "c/d"}, nil, nil
		}}}})
	if err := start(t, s, Spec{Func: attached, Workers: 3, Group: "g"}).Wait(); err != nil {
		t.Error(err)
	}
	for rank := range 3 {
		sum := sha256.Sum256(fmt.Appendf(nil, "%d 0%d 1", rank, rank))
		want := []string{fmt.Sprintf(`attach-test %d/3 g ["a=b" "c/d"] true %x`, rank, sum[:4])}
		if got := rec.get(fmt.Sprintf("g/%d/stdout", rank)); !slices.Equal(got, want) {
			t.Errorf("worker %d: %q, want %q", rank, got, want)
		}
	}
	// The impostors are started by the workers: say that the helper is in use.
	proctest.Command(t, "impostor")
}

var polite = workerFunc("polite", func(c *Child) {
	ctx := c.Context()
	fmt.Println("ready")
	<-ctx.Done()
	fmt.Println(context.Cause(ctx))
	if c.Rank == 1 {
		time.Sleep(patienceOfTests)
	}
})

var careless = workerFunc("careless", func(c *Child) {
	fmt.Println("ready")
	time.Sleep(patienceOfTests)
})

// The context of a worker ends at the first TERM or INT; a second one is not caught;
// and without Context not even the first.
func TestChildContext(t *testing.T) {
	rec := newRecorder()
	s := newServer(t, Options{Output: rec.output})
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		name := unix.SignalName(sig)
		g := start(t, s, Spec{Func: polite, Workers: 2, Group: "polite-" + name})
		keys := []string{g.Name() + "/0/stdout", g.Name() + "/1/stdout"}
		for _, key := range keys {
			rec.waitFor(t, key, 1)
		}
		must(t, g.Signal(sig))
		for _, key := range keys {
			if got := rec.waitFor(t, key, 2); !strings.Contains(got[1], "asked to stop") {
				t.Errorf("%s: %q", key, got)
			}
		}
		must(t, g.all()[1].signal(sig))
		g.Wait()
		if x := g.Exits(); x[0].Code != 0 || x[1].Signal != sig {
			t.Errorf("%v", x)
		}
		g = start(t, s, Spec{Func: careless, Workers: 1, Group: "careless-" + name})
		rec.waitFor(t, g.Name()+"/0/stdout", 1)
		must(t, g.Signal(sig))
		g.Wait()
		if x := g.Exits(); x[0].Signal != sig {
			t.Errorf("%v", x)
		}
	}
}

var abandoned = workerFunc("abandoned", func(c *Child) {
	fmt.Println("ready")
	<-c.Context().Done()
	fmt.Println(context.Cause(c.Context()))
	if c.Rank == 0 {
		return
	}
	time.Sleep(patienceOfTests)
})

// A worker whose server is gone ends by itself, even if it does not care.
func TestServerGone(t *testing.T) {
	rec := newRecorder()
	s := newServer(t, Options{Output: rec.output})
	g := start(t, s, Spec{Func: abandoned, Workers: 2, Group: "g"})
	for rank, w := range g.all() {
		rec.waitFor(t, fmt.Sprintf("g/%d/stdout", rank), 1)
		w.ctl.f.Close() // as the kernel does when the server dies
	}
	g.Wait()
	for rank, x := range g.Exits() {
		if want := ExitServerGone * rank; x.Code != want {
			t.Errorf("%s, want code %d", x, want)
		}
		if got := rec.get(fmt.Sprintf("g/%d/stdout", rank)); !slices.Equal(got, []string{"ready", ErrServerGone.Error()}) {
			t.Errorf("worker %d said %q", rank, got)
		}
	}
}
