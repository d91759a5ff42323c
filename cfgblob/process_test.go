package cfgblob

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"shmkit/internal/proctest"
)

// Guarantees, between real processes:
//
//  1. No reader sees a mixture of two versions, or a version older than one it
//     has seen, however fast the publisher is.
//  2. A publisher that is killed at any moment leaves the last good version
//     readable, for ever.
//  3. A watcher arrives at the last version, always.

var readFlatOut = proctest.Helper("read flat out", func([]string) {
	r := attached()
	l, err := Bind[pattern](r)
	must(err)
	fmt.Println("ready")
	var reads, versions int
	var last uint64
	for done := false; !done; reads++ {
		snap := r.Snapshot()
		if snap.Version < last {
			must(fmt.Errorf("version %d after %d", snap.Version, last))
		}
		if snap.Version > last {
			versions++
		}
		last = snap.Version
		var p pattern
		must(json.Unmarshal(snap.Doc, &p))
		must(p.check())
		if uint64(p.N) != snap.Version {
			must(fmt.Errorf("document %d in version %d", p.N, snap.Version))
		}
		live := l.Load()
		must(live.check())
		if live.N < p.N { // one goroutine: Load is never behind what it has seen
			must(fmt.Errorf("Load is at %d, Snapshot was at %d", live.N, p.N))
		}
		must(r.Err())
		must(l.Err())
		done = p.Last
	}
	fmt.Println(reads, versions)
})

func TestHammer(t *testing.T) {
	rounds := 3000
	if os.Getenv("SHMKIT_STRESS") != "" {
		rounds = 300_000
	}
	s := newStore(t, StoreOptions{}, string(patternDoc(1, false)))
	cmd := worker(t, s, readFlatOut)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("helper said %q", lines.Text())
	}
	for n := 2; n <= rounds; n++ {
		if v, err := s.Publish("hammer", patternDoc(n, n == rounds)); err != nil || v != uint64(n) {
			t.Fatalf("publication %d: version %d, %v", n, v, err)
		}
	}
	var reads, versions int
	if lines.Scan() {
		fmt.Sscan(lines.Text(), &reads, &versions)
	}
	if err := cmd.Wait(); err != nil || versions < 2 {
		t.Fatalf("reader: %v after %d reads of %d versions", err, reads, versions)
	}
	t.Logf("%d publications, %d reads saw %d versions", rounds, reads, versions)
}

// publishFlatOut hands a configuration to its parent over descriptor 3 and then
// publishes until it is killed.
var publishFlatOut = proctest.Helper("publish flat out", func([]string) {
	s, err := NewStore(StoreOptions{}, patternDoc(1, false))
	must(err)
	files, words, _, err := s.Donate("g", 0, 1)
	must(err)
	conn, err := net.FileConn(os.NewFile(3, "parent"))
	must(err)
	_, _, err = conn.(*net.UnixConn).WriteMsgUnix([]byte(strings.Join(words, " ")), syscall.UnixRights(int(files[0].Fd())), nil)
	must(err)
	for n := 2; ; n++ {
		_, err := s.Publish("victim", patternDoc(n, false))
		must(err)
	}
})

func TestPublisherKilled(t *testing.T) {
	rounds := 25
	if testing.Short() {
		rounds = 5
	}
	if os.Getenv("SHMKIT_STRESS") != "" {
		rounds = 1000
	}
	for range rounds {
		killPublisher(t)
	}
}

func killPublisher(t *testing.T) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cmd := proctest.Command(t, publishFlatOut)
	cmd.ExtraFiles = []*os.File{theirs}
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		t.Fatal(err)
	}
	data, oob := make([]byte, 1024), make([]byte, 1024)
	n, oobn, _, _, err := conn.(*net.UnixConn).ReadMsgUnix(data, oob)
	if err != nil || n == 0 {
		t.Fatalf("no donation from the publisher: %v", err)
	}
	r, err := Attach([]*os.File{receivedFile(t, oob[:oobn])}, strings.Fields(string(data[:n])))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	l := bind[pattern](t, r)

	check := func() uint64 {
		snap := r.Snapshot()
		var p pattern
		if err := json.Unmarshal(snap.Doc, &p); err != nil || p.check() != nil || uint64(p.N) != snap.Version {
			t.Fatalf("version %d: %v, %v", snap.Version, err, p.check())
		}
		return snap.Version
	}
	var seen uint64
	for target := check() + uint64(rand.IntN(400)); seen < target; {
		v := check()
		if v < seen {
			t.Fatalf("version %d after %d", v, seen)
		}
		seen = v
	}
	cmd.Process.Kill()
	cmd.Wait()

	final := check()
	if final < seen || check() != final || r.Err() != nil {
		t.Fatalf("after the death: version %d, before %d: %v", final, seen, r.Err())
	}
	if p := l.Load(); uint64(p.N) != final || p.check() != nil || l.Err() != nil {
		t.Fatalf("after the death: Load is at %d, version %d, %v", p.N, final, l.Err())
	}
	// A watcher that comes late finds it, and then waits in vain, quietly.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for snap := range r.Watch(ctx) {
		if snap.Version != final {
			t.Fatalf("watched version %d of a dead publisher, last was %d", snap.Version, final)
		}
		cancel()
	}
}

func receivedFile(t *testing.T, oob []byte) *os.File {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil || len(messages) != 1 {
		t.Fatalf("control messages: %d, %v", len(messages), err)
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		t.Fatalf("descriptors: %v, %v", fds, err)
	}
	return os.NewFile(uintptr(fds[0]), "config")
}

// watchAndTell writes the number of every version that its watch yields.
var watchAndTell = proctest.Helper("watch and tell", func([]string) {
	for snap := range attached().Watch(context.Background()) {
		last, err := snap.Get("last")
		must(err)
		fmt.Println(snap.Version)
		if last == true {
			return
		}
	}
})

// Shown to trip: with WakeWith left out of Store.reserve this hangs until
// patience is over.
func TestWatcherInAnotherProcess(t *testing.T) {
	s := newStore(t, StoreOptions{}, `{"n":1,"last":false}`)
	const watchers = 3
	arrived := make([]chan uint64, watchers)
	cmds := make([]*exec.Cmd, watchers)
	for i := range arrived {
		arrived[i] = make(chan uint64, 1024)
		cmds[i] = worker(t, s, watchAndTell)
		out, err := cmds[i].StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmds[i].Start(); err != nil {
			t.Fatal(err)
		}
		go tell(out, arrived[i])
	}
	at := make([]uint64, watchers)
	arrive := func(last uint64) {
		t.Helper()
		deadline := time.After(patience)
		for i := range at {
			for at[i] < last {
				select {
				case v, ok := <-arrived[i]:
					if !ok || v <= at[i] {
						t.Fatalf("watcher %d: version %d after %d, more to come: %v", i, v, at[i], ok)
					}
					at[i] = v
				case <-deadline:
					t.Fatalf("published is version %d, watcher %d has seen %d", last, i, at[i])
				}
			}
		}
	}
	arrive(1)
	for burst := range 100 {
		var last uint64
		for n := range 1 + rand.IntN(5) {
			v, err := s.Set("x", "n", burst*10+n, 0)
			if err != nil {
				t.Fatal(err)
			}
			last = v
		}
		arrive(last)
	}
	last, err := s.Set("x", "last", true, 0)
	if err != nil {
		t.Fatal(err)
	}
	arrive(last)
	for _, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
}

// tell reads one number a line into to.
func tell(out io.Reader, to chan<- uint64) {
	defer close(to)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var v uint64
		if _, err := fmt.Sscan(lines.Text(), &v); err == nil {
			to <- v
		}
	}
}

// The owner closes, the workers go on with what they have.
var outliveOwner = proctest.Helper("outlive the owner", func([]string) {
	r := attached()
	l, err := Bind[pattern](r)
	must(err)
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin) // until the owner is gone
	must(err)
	if p := l.Load(); p.check() != nil || p.N != 2 || r.Version() != 2 {
		must(fmt.Errorf("version %d, document %d", r.Version(), p.N))
	}
	must(errors.Join(r.Err(), l.Err(), r.Close()))
	if l.Load().N != 2 {
		must(errors.New("lost by Close"))
	}
})

func TestWorkersOutliveTheStore(t *testing.T) {
	s := newStore(t, StoreOptions{}, string(patternDoc(1, false)))
	cmd := worker(t, s, outliveOwner)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Publish("x", patternDoc(2, false)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
