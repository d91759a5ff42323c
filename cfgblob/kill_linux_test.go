package cfgblob

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"shmkit/internal/proctest"
)

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
