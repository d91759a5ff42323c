//go:build linux

package call_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"shmkit/call"
	"shmkit/spawn"
)

// stress reports whether the long versions were asked for.
func stress() bool { return os.Getenv("SHMKIT_STRESS") != "" }

type steps struct {
	Step func(ctx context.Context, lane, n int) (int, error)
}

const lanes = 4

var steppers = worker("steppers", func(ctx context.Context, api steps, child *spawn.Child) error {
	var wg sync.WaitGroup
	for lane := range lanes {
		wg.Go(func() {
			for n := 1; ; n++ {
				if got, err := api.Step(ctx, lane, n); err != nil || got != n {
					child.Fail(fmt.Sprint(got, err))
					return
				}
			}
		})
	}
	wg.Wait()
	return nil
})

// Workers are killed in the middle of their calls. Each call has run at most once, and
// those of one goroutine in its order; nothing runs for a worker that is gone.
//
// (Planted once: a session that runs the fiftieth call twice. It shows in the first round.)
func TestKilledCallers(t *testing.T) {
	rounds := 10
	if stress() {
		rounds = 1000
	}
	type key struct {
		caller call.Caller // each round has a group of its own
		lane   int
	}
	var mu sync.Mutex
	last, total := map[key]int{}, 0
	var under atomic.Int32
	server := serve(t, call.Options{}, steps{func(ctx context.Context, lane, n int) (int, error) {
		under.Add(1)
		defer under.Add(-1)
		caller, _ := call.CallerOf(ctx)
		mu.Lock()
		defer mu.Unlock()
		total++
		if k := (key{caller, lane}); last[k]+1 != n {
			t.Errorf("%v, lane %d: step %d after %d", caller, lane, n, last[k])
		} else {
			last[k] = n
		}
		return n, nil
	}})
	s, err := spawn.NewServer(spawn.Options{Run: "killed", Dir: t.TempDir(), Resources: map[string]spawn.Resource{"api": server}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for round := range rounds {
		mu.Lock()
		before := total
		mu.Unlock()
		g, err := s.Start(t.Context(), spawn.Spec{Func: steppers, Workers: 2, Group: fmt.Sprint("round-", round)})
		if err != nil {
			t.Fatal(err)
		}
		for target := before + 1 + rand.IntN(500); ; runtime.Gosched() {
			mu.Lock()
			reached := total >= target
			mu.Unlock()
			if reached {
				break
			}
		}
		g.Signal(syscall.SIGKILL)
		if err := g.Wait(); err == nil {
			t.Fatal("not killed")
		}
		for deadline := time.Now().Add(time.Minute); under.Load() > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("calls of dead workers still run")
			}
		}
	}
}

// What a hostile worker sends is mostly what a good one would, with a few bytes
// changed. Nothing of it harms the owner or the others.
func TestMutatedMessages(t *testing.T) {
	n := 2000
	if stress() {
		n = 1_000_000
	}
	server := serve(t, call.Options{MaxCalls: 4, MaxMessage: 1024}, values{
		Echo: func(_ context.Context, s string, b []byte, m map[string][]int, p *point, f float64) (string, []byte, map[string][]int, *point, float64, error) {
			return s, b, m, p, f, nil
		},
		None: func(context.Context) error { return nil },
	})
	valid := []string{
		message(1, 1, 0, 1e9, `"s"`, "b", `{"a":[1,2]}`, `{"X":1,"Y":2}`, "0.5"),
		message(2, 1, 1, 0),
		message(1, 2, 0, 0),
		message(3, 1, 0, 0, `""`, "", "null", "null", "0"),
	}
	good := bind[values](t, connect(t, server, 0))
	before := runtime.NumGoroutine()
	for i := range n {
		files, _, lease, err := server.Donate("hostile", 3, 4)
		if err != nil {
			t.Fatal(err)
		}
		for range 1 + rand.IntN(4) {
			m := []byte(valid[rand.IntN(len(valid))])
			for range rand.IntN(4) {
				switch at := rand.IntN(len(m)); rand.IntN(3) {
				case 0:
					m[at] ^= 1 << rand.IntN(8)
				case 1:
					m[at] = byte(rand.Uint32())
				default:
					m = m[:max(at, 1)]
				}
			}
			files[0].Write(m)
		}
		files[0].Close()
		if i%100 == 0 {
			if s, _, _, _, _, err := good.Echo(t.Context(), "still here", nil, nil, nil, 0); s != "still here" || err != nil {
				t.Fatal(s, err)
			}
		}
		lease.Close()
	}
	for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() > before+4; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}
