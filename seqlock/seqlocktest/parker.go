package seqlocktest

import (
	"context"
	"sync"
	"sync/atomic"
)

// Parker is a Waiter within one process that neither polls nor wakes for no reason: a
// reader nobody wakes sleeps until its context ends. So a test that uses it notices a
// wake that was lost. It does not tell words apart; its zero value is ready.
type Parker struct {
	mu     sync.Mutex
	parked chan struct{} // closed by the next Wake; nil while nobody waits
}

// Wait parks if *word is old. The comparison is made under the lock that Wake takes
// after the word was stored, so that one of the two sees the other.
func (p *Parker) Wait(ctx context.Context, word *uint32, old uint32) error {
	p.mu.Lock()
	if atomic.LoadUint32(word) != old {
		p.mu.Unlock()
		return nil
	}
	if p.parked == nil {
		p.parked = make(chan struct{})
	}
	parked := p.parked
	p.mu.Unlock()
	select {
	case <-parked:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Wake wakes everybody.
func (p *Parker) Wake(*uint32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.parked != nil {
		close(p.parked)
		p.parked = nil
	}
	return nil
}
