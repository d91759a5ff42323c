//go:build linux && (amd64 || arm64)

package shm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"shmkit/internal/proctest"
)

// wordAt is the word at offset i of b. The tests own what they cast.
func wordAt(b []byte, i int) *uint32 { return (*uint32)(unsafe.Pointer(&b[i])) }

// ways are the two ways to park, so that the one for old kernels is tested on
// new ones as well.
func ways(t *testing.T, test func(t *testing.T, p *parker)) {
	t.Helper()
	if _, ok := systemFutexes().(*waitv); ok {
		t.Run("futex_waitv", func(t *testing.T) { test(t, newParker(new(waitv))) })
	} else {
		t.Log("this kernel has no futex_waitv")
	}
	t.Run("single", func(t *testing.T) { test(t, newParker(newSingle())) })
}

// parkedSoon waits until p's leader is on its way into the kernel.
func (p *parker) parkedSoon(t testing.TB, groups int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Microsecond) {
		p.mu.Lock()
		ok := p.parked && len(p.order) == groups
		p.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("nobody parked on %d words", groups)
		}
	}
}

func (p *parker) mustBeEmpty(t testing.TB) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.order) != 0 || len(p.groups) != 0 || p.leader != nil || p.parked {
		t.Errorf("nobody waits, but the parker holds %d words, leader %v, parked %v", len(p.order), p.leader != nil, p.parked)
	}
}

// What these tests are worth was shown by taking away, one at a time: the kick
// for a new word, the kick for a leader that is cancelled, the look at the words
// after EAGAIN, the handing over of leadership, the going round beyond the first
// window, refuse, and the order of store and wake in the helper. Each time a test
// failed, most of them by hanging.

// 1. Wait returns at once if the word has already changed.
// 2. Wait returns when the word was changed and woken.
// 3. Wait returns ctx.Err() when the context ends, also before it began.
// The words lie on the heap, so this runs under the race detector too.
func TestWait(t *testing.T) {
	ways(t, func(t *testing.T, p *parker) {
		word := new(uint32)
		if err := p.wait(t.Context(), word, 1); err != nil {
			t.Errorf("word differs: %v", err)
		}

		done := make(chan error)
		go func() { done <- p.wait(t.Context(), word, 0) }()
		p.parkedSoon(t, 1)
		atomic.StoreUint32(word, 1)
		if _, err := Wake(word, 1); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Errorf("woken: %v", err)
		}

		ctx, cancel := context.WithCancel(t.Context())
		go func() { done <- p.wait(ctx, word, 1) }()
		p.parkedSoon(t, 1)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		if err := p.wait(ctx, word, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled before: %v", err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := p.wait(ctx, word, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("deadline: %v", err)
		}
		p.mustBeEmpty(t)
	})
}

// A follower is woken by its own word, becomes leader when the leader is gone,
// and can be cancelled in either role.
func TestWaitLeaderAndFollowers(t *testing.T) {
	ways(t, func(t *testing.T, p *parker) {
		words := make([]uint32, 4)
		results := make([]chan error, len(words))
		ctx, cancel := context.WithCancel(t.Context())
		for i := range words {
			results[i] = make(chan error, 1)
			c := t.Context()
			if i == 3 {
				c = ctx
			}
			go func() { results[i] <- p.wait(c, &words[i], 0) }()
			p.parkedSoon(t, i+1)
		}
		wake := func(i int) {
			atomic.StoreUint32(&words[i], 1)
			Wake(&words[i], 1)
			if err := <-results[i]; err != nil {
				t.Errorf("word %d: %v", i, err)
			}
		}
		wake(1) // a follower
		wake(0) // the leader
		cancel()
		if err := <-results[3]; !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		wake(2)
		p.mustBeEmpty(t)
	})
}

// Many goroutines on many words, more than the kernel takes at once: each is
// woken, and there is never more than one thread parked for them.
func TestWaitManyWordsOneThread(t *testing.T) {
	for _, words := range []int{1, 100, 127, 128, 400} {
		t.Run(fmt.Sprint(words), func(t *testing.T) {
			ways(t, func(t *testing.T, p *parker) {
				const perWord = 3
				word := make([]uint32, words)
				var wg sync.WaitGroup
				for i := range words * perWord {
					wg.Go(func() {
						if err := p.wait(t.Context(), &word[i%words], 0); err != nil {
							t.Error(err)
						}
					})
				}
				p.parkedSoon(t, words)
				if _, ok := p.sys.(*waitv); ok && words <= maxWords {
					// In a window the kernel may be left for a moment, so the
					// count is exact only when all words fit.
					if n := threadsInWaitv(t); n > 1 {
						t.Errorf("%d threads are parked", n)
					}
				}
				for i := range word {
					atomic.StoreUint32(&word[i], 1)
					Wake(&word[i], wakeAll)
				}
				wg.Wait()
				p.mustBeEmpty(t)
			})
		})
	}
}

// A word that did not fit into the first window is noticed in its turn, although
// nothing else happens.
func TestWaitBeyondTheWindow(t *testing.T) {
	ways(t, func(t *testing.T, p *parker) {
		words := make([]uint32, 3*maxWords)
		ctx, cancel := context.WithCancel(t.Context())
		last := make(chan error, 1)
		var wg sync.WaitGroup
		for i := range words {
			wg.Go(func() {
				err := p.wait(ctx, &words[i], 0)
				if i == len(words)-1 {
					last <- err
				}
			})
			p.parkedSoon(t, i+1)
		}
		// No wake: the word that changed is the only hint.
		atomic.StoreUint32(&words[len(words)-1], 1)
		if err := <-last; err != nil {
			t.Error(err)
		}
		cancel()
		wg.Wait()
		p.mustBeEmpty(t)
	})
}

// threadsInWaitv counts the threads of this process that are in futex_waitv,
// once one is.
func threadsInWaitv(t *testing.T) int {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		files, _ := filepath.Glob("/proc/self/task/*/syscall")
		n := 0
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Skip("cannot see what threads do: ", err)
			}
			if strings.HasPrefix(string(b), "449 ") {
				n++
			}
		}
		if n > 0 {
			return n
		}
	}
	t.Fatal("no thread is parked")
	return 0
}

// The planted bug for the check above: two parkers park two threads.
func TestTwoParkersAreSeen(t *testing.T) {
	if _, ok := systemFutexes().(*waitv); !ok {
		t.Skip("this kernel has no futex_waitv")
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 {
		p := newParker(new(waitv))
		wg.Go(func() { p.wait(ctx, new(uint32), 0) })
		p.parkedSoon(t, 1)
	}
	for deadline := time.Now().Add(10 * time.Second); threadsInWaitv(t) != 2; {
		if time.Now().After(deadline) {
			t.Error("two parked threads were not counted as two")
			break
		}
	}
	cancel()
	wg.Wait()
}

// Wakes, cancellations and closings at random on few words: everybody comes
// back, nobody with the wrong answer.
func TestWaitChurn(t *testing.T) {
	ways(t, func(t *testing.T, p *parker) {
		words := make([]uint32, 5)
		stop := make(chan struct{})
		var waits, wakers sync.WaitGroup
		for i := range 40 {
			waits.Go(func() {
				for n := range 50 {
					word := &words[(i+n)%len(words)]
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+(i*n)%7)*time.Millisecond)
					err := p.wait(ctx, word, atomic.LoadUint32(word))
					if err != nil && !errors.Is(err, context.DeadlineExceeded) {
						t.Error(err)
					}
					cancel()
				}
			})
		}
		wakers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				word := &words[i%len(words)]
				atomic.AddUint32(word, 1)
				Wake(word, wakeAll)
				runtime.Gosched()
			}
		})
		waits.Wait()
		close(stop)
		wakers.Wait()
		p.mustBeEmpty(t)
	})
}

// Closing a segment sends its waiters away, and only those.
func TestCloseUnblocksWaiters(t *testing.T) {
	s, other := newTestSegment(t, Options{Size: 64}), newTestSegment(t, Options{Size: 64})
	done, kept := make(chan error), make(chan error)
	go func() { kept <- Wait(t.Context(), wordAt(other.Region(), 0), 0) }()
	process.parkedSoon(t, 1)
	for i := range 3 {
		word := wordAt(s.Region(), 4*i)
		go func() { done <- Wait(t.Context(), word, 0) }()
	}
	process.parkedSoon(t, 4)
	word := wordAt(s.Region(), 0)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := <-done; !errors.Is(err, os.ErrClosed) || !strings.Contains(err.Error(), strconv.Quote(t.Name())) {
			t.Errorf("waiter of a closed segment: %v", err)
		}
	}
	if err := Wait(t.Context(), word, 0); !errors.Is(err, ErrUnmapped) {
		t.Errorf("wait after close: %v", err)
	}
	if _, err := Wake(word, 1); !errors.Is(err, ErrUnmapped) {
		t.Errorf("wake after close: %v", err)
	}
	select {
	case err := <-kept:
		t.Fatalf("the other segment's waiter came back: %v", err)
	default:
	}
	atomic.StoreUint32(wordAt(other.Region(), 0), 1)
	Wake(wordAt(other.Region(), 0), 1)
	if err := <-kept; err != nil {
		t.Error(err)
	}
	process.mustBeEmpty(t)
}

// pinger answers each odd count on the word with the next even one.
var pinger = proctest.Helper("futex pinger", func(args []string) {
	s, err := Attach(inherited(0), Expect{Access: ReadWrite})
	check(err)
	check(answer(s.Region()))
	check(s.Close())
})

const (
	pings = 20_000
	stop  = 1 << 31 // added to the count to end the game
)

// answer takes every odd count to the next even one, until it is told to stop.
func answer(region []byte) error {
	word := wordAt(region, 0)
	for {
		v := atomic.LoadUint32(word)
		if v&stop != 0 {
			return nil
		}
		if v%2 == 0 {
			if err := Wait(context.Background(), word, v); err != nil {
				return err
			}
			continue
		}
		atomic.StoreUint32(word, v+1)
		if _, err := Wake(word, wakeAll); err != nil {
			return err
		}
	}
}

// ping does n rounds with an answer on the other side.
func ping(ctx context.Context, region []byte, n int) error {
	word := wordAt(region, 0)
	v := atomic.LoadUint32(word)
	for range n {
		atomic.StoreUint32(word, v+1)
		if _, err := Wake(word, wakeAll); err != nil {
			return err
		}
		for atomic.LoadUint32(word) == v+1 {
			if err := Wait(ctx, word, v+1); err != nil {
				return fmt.Errorf("at count %d: %w", v+1, err)
			}
		}
		v += 2
	}
	return nil
}

// No wake is ever lost between two processes: one lost would leave both asleep.
func TestNoLostWakeBetweenProcesses(t *testing.T) {
	s := newTestSegment(t, Options{Size: 64, HandOff: ReadWrite})
	cmd := proctest.Command(t, pinger)
	f := must(s.Reopen())(t)
	cmd.ExtraFiles = []*os.File{f}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := ping(ctx, s.Region(), pings); err != nil {
		t.Fatal(err)
	}
	atomic.OrUint32(wordAt(s.Region(), 0), stop)
	Wake(wordAt(s.Region(), 0), 1)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// sleeper waits on a word of a segment that it can only read.
var sleeper = proctest.Helper("futex sleeper", func(args []string) {
	s, err := Attach(inherited(0), Expect{Access: ReadOnly})
	check(err)
	word := wordAt(s.Region(), 8)
	for v := atomic.LoadUint32(word); v != 3; v = atomic.LoadUint32(word) {
		check(Wait(context.Background(), word, v))
	}
	// It can wake through the same mapping.
	_, err = Wake(word, 1)
	check(err)
	os.Stdout.WriteString("awake\n")
	check(s.Close())
})

// A worker sleeps on the word of a sealed segment through its read-only mapping.
func TestWaitThroughReadOnlyMapping(t *testing.T) {
	s := newTestSegment(t, Options{Size: 64, HandOff: ReadOnly})
	cmd := proctest.Command(t, sleeper)
	f := must(s.Reopen())(t)
	cmd.ExtraFiles = []*os.File{f}
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	word := wordAt(s.Region(), 8)
	for i := range uint32(3) {
		// Wait until it really sleeps, so that it is the wake that is tested.
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			atomic.StoreUint32(word, i+1)
			n, err := Wake(word, 1)
			if err != nil {
				t.Fatal(err)
			}
			if n == 1 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the worker never slept")
			}
			if i+1 == 3 {
				break // it may have seen the last value by itself
			}
			atomic.StoreUint32(word, i)
		}
	}
	if err := cmd.Wait(); err != nil || out.String() != "awake\n" {
		t.Errorf("worker said %q, %v", out.String(), err)
	}
}

// Neither waiting nor waking allocates, unless a context has to be watched.
func TestWaitAllocatesNothing(t *testing.T) {
	if _, ok := systemFutexes().(*waitv); !ok {
		t.Skip("this kernel has no futex_waitv")
	}
	word := new(uint32)
	if n := testing.AllocsPerRun(100, func() {
		Wait(context.Background(), word, 1)
		Wake(word, 1)
	}); n >= 1 {
		t.Errorf("%v allocations", n)
	}
}

func TestWaitAndWakeBadInput(t *testing.T) {
	words := make([]uint64, 1)
	odd := (*uint32)(unsafe.Add(unsafe.Pointer(&words[0]), 2))
	for name, err := range map[string]error{
		"nil word, wait": Wait(t.Context(), nil, 0),
		"odd word, wait": Wait(t.Context(), odd, 0),
		"nil word, wake": second(Wake(nil, 1)),
		"odd word, wake": second(Wake(odd, 1)),
		"negative, wake": second(Wake(new(uint32), -1)),
	} {
		if !errors.Is(err, os.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n, err := Wake(new(uint32), 1<<40); n != 0 || err != nil {
		t.Errorf("waking very many: %d, %v", n, err)
	}
	if err := (Futex{}).Wait(t.Context(), new(uint32), 1); err != nil {
		t.Error(err)
	}
	if err := (Futex{}).Wake(new(uint32)); err != nil {
		t.Error(err)
	}
}

func second[T any](_ T, err error) error { return err }
