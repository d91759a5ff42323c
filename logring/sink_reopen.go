package logring

import (
	"context"
	"os"
	"os/signal"
	"sync"
)

// Reopen makes every sink that is a [Reopener] open its destination anew, and
// returns when that is done and all records logged before are written and synced.
// The error names the sinks that could not.
func (c *Collector) Reopen(ctx context.Context) error {
	for _, r := range c.sinks {
		if s, ok := r.sink.(Reopener); ok {
			s.Reopen()
		}
	}
	return c.Flush(ctx)
}

// ReopenOn calls Reopen of the sinks whenever one of the signals arrives, as
// programs that move log files away expect it of SIGHUP or SIGUSR1:
//
//	defer logring.ReopenOn(sinks, syscall.SIGHUP)()
//
// The returned function ends that. A sink that is not a [Reopener] is left alone.
func ReopenOn(sinks []Sink, signals ...os.Signal) (stop func()) {
	if len(signals) == 0 {
		return func() {} // to signal.Notify none means all
	}
	arrived := make(chan os.Signal, 1)
	signal.Notify(arrived, signals...)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range arrived {
			for _, s := range sinks {
				if r, ok := s.(Reopener); ok {
					r.Reopen()
				}
			}
		}
	}()
	return sync.OnceFunc(func() {
		signal.Stop(arrived)
		close(arrived)
		<-ended
	})
}
