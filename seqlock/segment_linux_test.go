//go:build linux && (amd64 || arm64)

package seqlock_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"shmkit/internal/proctest"
	"shmkit/seqlock"
	"shmkit/seqlock/seqlocktest"
	"shmkit/shm"
)

var _ seqlock.Waiter = shm.Futex{}

// sleeper attaches to the segment it inherited, read-only, and sleeps from version to
// version until the last one. It tells each one it has seen, so that the writer waits for
// it to fall asleep again.
var sleeper = proctest.Helper("sleeper", func(args []string) {
	last, err := strconv.ParseUint(args[0], 10, 64)
	check(err)
	v, err := variantNamed("latch line")
	check(err)
	segment, err := shm.Attach(os.NewFile(3, "segment"), shm.Expect{Kind: shm.KindOf("LTCH"), Access: shm.ReadOnly})
	check(err)
	s, err := v.Open(segment.Region())
	check(err)
	c := seqlocktest.NewChecker(v, s, 1)
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	for seen := uint64(0); seen < last; {
		seen, err = s.Wait(ctx, shm.Futex{}, seen)
		check(err)
		check(c.Read())
		fmt.Println(seen)
	}
	check(segment.Close())
})

// TestSegment puts a latch where it is meant to be: into a sealed segment that a second
// process maps read-only, waking it by a futex.
func TestSegment(t *testing.T) {
	v, err := variantNamed("latch line")
	if err != nil {
		t.Fatal(err)
	}
	size, err := v.Size()
	if err != nil {
		t.Fatal(err)
	}
	segment, err := shm.Create(shm.Options{Name: "latch", Kind: shm.KindOf("LTCH"), Size: size, HandOff: shm.ReadOnly})
	if err != nil {
		t.Skip("no sealed segment here:", err)
	}
	defer segment.Close()
	p, err := v.Make(segment.Region())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.WakeWith(shm.Futex{}); err != nil {
		t.Fatal(err)
	}
	f, err := segment.Reopen()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()

	last := uint64(pick(100, 1000, 100_000))
	cmd := proctest.Command(t, sleeper, strconv.FormatUint(last, 10))
	cmd.ExtraFiles = []*os.File{f}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	launch(t, cmd)
	for want := uint64(1); want <= last; want++ {
		if err := seqlocktest.Play(v, p, 1, 1, func() bool { return true }); err != nil {
			t.Fatal(err)
		}
		var seen uint64
		if _, err := fmt.Fscan(out, &seen); err != nil || seen != want {
			t.Fatalf("the sleeper has seen version %d, %v, want %d", seen, err, want)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}
