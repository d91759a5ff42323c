//go:build linux && (amd64 || arm64)

package shm

import (
	"context"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A parker lets any number of goroutines wait on words of memory while at most
// one thread of the process is parked in the kernel.
//
// The first goroutine to come is the leader: it parks itself, on its own word
// and on those of all who come later. They are followers, asleep on a channel.
//
//	goroutines          parker                      kernel
//	leader ───park──▶ [control, a, b, c] ──▶ futex_waitv
//	follower (b) ──┐       ▲
//	follower (c) ──┴─ turn └── kick: a word was added, or the leader must leave
//
// When a follower's word is woken the leader sets it free and parks again. When
// its own is woken it returns to its caller, without a switch of goroutines in
// between, and makes one of the followers leader. So there is no goroutine and
// no thread of the parker's own, and none is left when nobody waits.
type parker struct {
	sys futexes // how to park

	// control is a futex of this process alone, the first in the list.
	// Stored by: kick, with mu held. Loaded by: the leader with mu held, then by
	// the kernel, which refuses to park on another value: so a kick between the
	// two is not lost. Nothing else is published with it; mu orders the rest.
	control *atomic.Uint32

	mu      sync.Mutex
	groups  map[key]*group
	order   []*group // the same, to go round
	spare   *group   // the one that was emptied last: a lone waiter allocates nothing
	first   int      // where in order the next window starts
	leader  *waiter
	parked  bool // the leader is on its way into the kernel, there, or back
	refused []*refusal

	keys  [maxWords]key // the leader's: what it is parked on
	slice time.Duration // the leader's: how long it parks when it cannot park on all
}

const (
	maxWords = 127 // of one futex_waitv, beside the control word

	minSlice = 250 * time.Microsecond
	maxSlice = 4 * time.Millisecond
)

// A key is what a waiter waits for: word to be no longer old. Waiters with one
// key are a group and share a place in the list.
type key struct {
	word *uint32
	old  uint32
}

// A refusal is a segment that is about to be unmapped.
type refusal struct {
	span
	name string
}

type group struct {
	key
	index   int     // in order
	waiters *waiter // doubly linked, in no particular order
}

type waiter struct {
	group      *group
	next, prev *waiter
	done       bool
	err        error
	turn       chan struct{} // a follower gets one token: done, or leader now
}

var waiters = sync.Pool{New: func() any { return &waiter{turn: make(chan struct{}, 1)} }}

// process is the parker of this process.
var process = newParker(systemFutexes())

func newParker(sys futexes) *parker {
	return &parker{sys: sys, control: new(atomic.Uint32), groups: map[key]*group{}, slice: minSlice}
}

// wait is Wait on a word that is known to be aligned.
func (p *parker) wait(ctx context.Context, word *uint32, old uint32) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := waiters.Get().(*waiter)
	w.done, w.err = false, nil

	p.mu.Lock()
	for _, r := range p.refused {
		if r.contains(word) {
			p.mu.Unlock()
			waiters.Put(w)
			return fail("wait", r.name, os.ErrClosed, "")
		}
	}
	fresh := p.enter(w, key{word, old})
	leads := p.leader == nil
	if leads {
		p.leader = w
	} else if fresh {
		p.kick()
	}
	p.mu.Unlock()

	stop := func() bool { return true }
	if ctx.Done() != nil {
		stop = context.AfterFunc(ctx, func() { p.cancel(w, ctx.Err()) })
	}
	if !leads {
		<-w.turn
	}
	p.lead(w)
	err := w.err
	if stop() {
		waiters.Put(w) // else cancel still holds it
	}
	return err
}

// lead parks until w is done, provided that w is the leader, and then hands
// leadership on. It returns at once when w is not.
func (p *parker) lead(w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leader != w {
		return // a follower, and done
	}
	for !w.done {
		keys := p.window()
		limit := p.limit(len(keys))
		control := p.control.Load()
		p.parked = true
		p.mu.Unlock()

		i, errno := p.sys.park(p.control, control, keys, limit)

		p.mu.Lock()
		p.parked = false
		if freed := p.settle(keys, i, errno); freed && !w.done {
			// The freed goroutines are queued on this thread's P: let them run
			// before it goes back into the kernel, which would keep the P.
			p.mu.Unlock()
			runtime.Gosched()
			p.mu.Lock()
		}
	}
	p.leader = nil
	if len(p.order) > 0 {
		p.leader = p.order[0].waiters
		p.leader.turn <- struct{}{}
	}
}

// window chooses what to park on: everything, or the next 127 in turn.
func (p *parker) window() []key {
	n := min(len(p.order), maxWords)
	if p.first >= len(p.order) || n == len(p.order) && p.sys.width() == maxWords {
		p.first = 0
	}
	for i := range n {
		p.keys[i] = p.order[(p.first+i)%len(p.order)].key
	}
	return p.keys[:n]
}

// limit is how long to park on a window of n words: for ever, if those are all
// and the kernel can watch all of them.
func (p *parker) limit(n int) time.Duration {
	if n == len(p.order) && n <= p.sys.width() {
		return p.sys.forever()
	}
	return p.slice
}

// settle frees those whose words were woken or have changed while the leader was
// parked on keys. i is the index of one that was woken, if errno is 0.
func (p *parker) settle(keys []key, i int, errno syscall.Errno) (freed bool) {
	if errno == 0 {
		for j, k := range keys {
			g := p.groups[k]
			switch {
			case g == nil:
				// Everybody who waited for this has given up meanwhile. If it was
				// this word that was woken, the wake is somebody else's now.
				futexWake(k.word, 1)
			case j == i:
				p.free(g, nil)
				freed = true
			}
		}
	}
	// The kernel does not tell which word has changed before it could park, nor
	// which one is unmapped; and words that it did not watch are asked for here.
	if errno == syscall.EAGAIN || errno == syscall.EFAULT || p.sys.width() < len(keys) {
		for _, k := range keys {
			g := p.groups[k]
			if g == nil {
				continue
			}
			switch changed, err := futexChanged(k.word, k.old); {
			case err != nil:
				p.free(g, fail("wait", "", err, "hold a view of the segment while you wait"))
				freed = true
			case changed:
				p.free(g, nil)
				freed = true
			}
		}
	}
	switch errno {
	case 0, syscall.EAGAIN, syscall.EFAULT, syscall.ETIMEDOUT, syscall.EINTR:
	default:
		p.finish(p.leader, fail("wait", "", os.NewSyscallError("futex", errno), ""))
	}

	p.slice = min(2*p.slice, maxSlice)
	if freed {
		p.slice = minSlice
	}
	if len(p.order) > 0 {
		step := max(1, min(p.sys.width(), len(keys)))
		p.first = (p.first + step) % len(p.order)
	}
	return freed
}

// kick gets the leader out of the kernel.
func (p *parker) kick() {
	if p.parked {
		p.control.Add(1)
		p.sys.kick(p.control, p.keys[:])
	}
}

// enter adds w to the waiters and reports whether its key is new.
func (p *parker) enter(w *waiter, k key) (fresh bool) {
	g := p.groups[k]
	if fresh = g == nil; fresh {
		if g = p.spare; g == nil {
			g = new(group)
		}
		p.spare = nil
		*g = group{key: k, index: len(p.order)}
		p.groups[k] = g
		p.order = append(p.order, g)
	}
	w.group, w.prev, w.next = g, nil, g.waiters
	if w.next != nil {
		w.next.prev = w
	}
	g.waiters = w
	return fresh
}

// finish ends w's wait with err.
func (p *parker) finish(w *waiter, err error) {
	if w.done {
		return
	}
	w.done, w.err = true, err

	g := w.group
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		g.waiters = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	}
	w.group, w.next, w.prev = nil, nil, nil
	if g.waiters == nil {
		delete(p.groups, g.key)
		last := len(p.order) - 1
		p.order[g.index] = p.order[last]
		p.order[g.index].index = g.index
		p.order[last] = nil
		p.order = p.order[:last]
		p.spare = g
	}

	if w == p.leader {
		p.kick()
		return
	}
	w.turn <- struct{}{}
	if g.waiters == nil {
		p.kick() // so that the leader does not take a wake that nobody here wants
	}
}

// free ends the wait of all of g.
func (p *parker) free(g *group, err error) {
	for g.waiters != nil {
		p.finish(g.waiters, err)
	}
}

func (p *parker) cancel(w *waiter, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finish(w, err)
}

// refuse ends all waits on words of the named segment, which is mapped at s, with
// os.ErrClosed, and refuses new ones until release is called.
func (p *parker) refuse(s span, name string) (release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := &refusal{s, name}
	p.refused = append(p.refused, r)
	for i := len(p.order) - 1; i >= 0; i-- {
		// finish moves the last group here, which was looked at before.
		if g := p.order[i]; s.contains(g.word) {
			p.free(g, fail("wait", name, os.ErrClosed, ""))
		}
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for i, t := range p.refused {
			if t == r {
				p.refused = append(p.refused[:i], p.refused[i+1:]...)
				return
			}
		}
	}
}

// mapped says that s was mapped just now. What was refused there before has been
// unmapped, even if its release is still to come.
func (p *parker) mapped(s span) {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.refused[:0]
	for _, t := range p.refused {
		if !t.overlaps(s) {
			kept = append(kept, t)
		}
	}
	p.refused = kept
}
