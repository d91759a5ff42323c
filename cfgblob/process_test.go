package cfgblob

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
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

var readFlatOut = proctest.Helper("read flat out", func(args []string) {
	enough, err := strconv.Atoi(args[0])
	must(err)
	r := attached()
	l, err := Bind[pattern](r)
	must(err)
	fmt.Println("ready")
	var reads, versions int
	var last uint64
	for done := false; !done; reads++ {
		if reads == enough {
			fmt.Println("enough")
		}
		snap := r.Snapshot()
		if snap.Version < last {
			must(fmt.Errorf("version %d after %d", snap.Version, last))
		}
		if snap.Version > last {
			versions++
			must(checkPattern(snap.Doc)) // quick, so that the next read comes soon
			done = bytes.Contains(snap.Doc, []byte(`"last":true`))
		}
		last = snap.Version
		if done || versions%64 == 0 {
			must(l.Load().check())
			if l.Version() < last { // one goroutine: it is never behind what it has seen
				must(fmt.Errorf("Load is at %d, Snapshot was at %d", l.Version(), last))
			}
		}
		must(r.Err())
		must(l.Err())
	}
	fmt.Println(reads, versions, r.cur.Load().from.latch.Lapped())
})

// Shown to trip: with the latch's accept returning true always, the reader stops
// at a length or a checksum; with those not compared either, at a mixed document.
func TestHammer(t *testing.T) {
	reads := 1_000_000
	if os.Getenv("SHMKIT_STRESS") != "" {
		reads = 1_000_000_000
	}
	s := newStore(t, StoreOptions{}, string(patternDoc(1, false)))
	cmd := worker(t, s, readFlatOut, strconv.Itoa(reads))
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
	// First as users do it…
	v := uint64(1)
	for n := 2; n < 500; n++ {
		if v, err = s.Publish("hammer", patternDoc(n, false)); err != nil || v != uint64(n) {
			t.Fatalf("publication %d: version %d, %v", n, v, err)
		}
	}
	// …then as fast as the latch goes, with documents made beforehand.
	blobs := make([][]byte, 16)
	for i := range blobs {
		blobs[i] = appendBlob(nil, &Snapshot{Time: time.Now(), Doc: patternDoc(i, false)})
	}
	publish := func(blob []byte) {
		v++
		binary.LittleEndian.PutUint64(blob[offVersion:], v)
		if seen, err := s.general.latch.Publish(seal(blob)); err != nil || seen != v {
			t.Fatalf("version %d of the latch, want %d: %v", seen, v, err)
		}
	}
	var enough atomic.Bool
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		lines.Scan() // "enough", or it has failed
		enough.Store(true)
	}()
	for !enough.Load() {
		for range 100 {
			publish(blobs[v%uint64(len(blobs))])
		}
	}
	<-answered
	publish(appendBlob(nil, &Snapshot{Time: time.Now(), Doc: patternDoc(0, true)}))
	var done, versions, lapped int
	if lines.Scan() {
		fmt.Sscan(lines.Text(), &done, &versions, &lapped)
	}
	if err := cmd.Wait(); err != nil || versions < 2 || done < reads {
		t.Fatalf("reader: %v after %d reads of %d versions", err, done, versions)
	}
	t.Logf("%d publications, %d reads saw %d versions and were overtaken %d times", v, done, versions, lapped)
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
