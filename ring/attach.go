package ring

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"weak"
)

// registry knows the live ends of one kind in this process, by the address of
// their view. It holds them weakly: an end that was dropped without Close does
// not bar its successor for ever.
type registry[T any] struct {
	mu   sync.Mutex
	ends map[uintptr]weak.Pointer[T]
	err  error
}

var (
	producers = &registry[Producer]{ends: map[uintptr]weak.Pointer[Producer]{}, err: ErrSecondProducer}
	consumers = &registry[Consumer]{ends: map[uintptr]weak.Pointer[Consumer]{}, err: ErrSecondConsumer}
)

func register[T any](g *registry[T], r *region, end *T) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if w, ok := g.ends[r.address()]; ok && w.Value() != nil {
		return fmt.Errorf("%w in this process", g.err)
	}
	g.ends[r.address()] = weak.Make(end)
	return nil
}

func unregister[T any](g *registry[T], r *region, end *T) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ends[r.address()].Value() == end {
		delete(g.ends, r.address())
	}
}

// takeClaim makes this process the owner of one side: it raises the generation
// in the claim word. Each claimant stores it once, when it attaches; an earlier
// one that still lives finds that it was replaced. It is a check on the owner, not
// a lock: nobody ever waits for what a dead process may hold.
//
// Compare-and-swap: of two that attach at the same time, each gets its own
// generation and the later one stays. Full barrier on amd64; on arm64 acquire and
// release, and nothing else depends on it.
func takeClaim(word *uint64) uint64 {
	for {
		old := atomic.LoadUint64(word)
		claim := (old>>32+1)<<32 | uint64(uint32(os.Getpid()))
		if atomic.CompareAndSwapUint64(word, old, claim) {
			return claim
		}
	}
}

func replacedError(side, name string, cause error, claim uint64) error {
	return &Error{"use " + side + " of", name, fmt.Errorf("%w: process %d took over", cause, uint32(claim)),
		"attach a successor only when the earlier one is dead or closed"}
}

func closedError(side, name string) error {
	return &Error{"use " + side + " of", name, os.ErrClosed, ""}
}

// lifetime lets Close interrupt the one call that waits, and return only when it
// no longer touches the view.
type lifetime struct {
	inWait sync.Mutex // held by the waiting call
	ctx    context.Context
	cancel context.CancelFunc

	// The caller's context joined with ctx: kept for the next wait, since most
	// waits come with the same one. Owned by the waiting side.
	done   <-chan struct{}
	joined context.Context
	leave  context.CancelFunc
}

func (l *lifetime) init() {
	l.ctx, l.cancel = context.WithCancel(context.Background())
}

// join returns a context that ends with the caller's or with Close.
func (l *lifetime) join(ctx context.Context) context.Context {
	d := ctx.Done()
	if d == nil {
		return l.ctx
	}
	if d != l.done {
		l.part()
		joined, cancel := context.WithCancel(ctx)
		stop := context.AfterFunc(l.ctx, cancel)
		l.done, l.joined, l.leave = d, joined, func() { stop(); cancel() }
	}
	return l.joined
}

// part lets go of the last caller's context.
func (l *lifetime) part() {
	if l.leave != nil {
		l.leave()
		l.done, l.joined, l.leave = nil, nil, nil
	}
}

// end interrupts the waiting call, and waits until it has left.
func (l *lifetime) end() {
	l.cancel()
	l.inWait.Lock()
	l.part()
	l.inWait.Unlock()
}

// forget lets go of a context that is about to end.
func (l *lifetime) forget(ctx context.Context) {
	l.inWait.Lock()
	if l.done == ctx.Done() {
		l.part()
	}
	l.inWait.Unlock()
}
