package fxkit

import (
	"context"
	"time"

	"go.uber.org/fx"

	"shmkit"
)

// margin is what an application's timeouts have beside what the workers may take: for
// the last records, for what the owner shares, and for hooks of the program's own.
const margin = 10 * time.Second

// stopTimeout is an application's, given that of its workers.
func stopTimeout(workers time.Duration) time.Duration {
	if workers <= 0 {
		workers = shmkit.DefaultStopTimeout
	}
	return workers + margin
}

// timeoutsOf are an application's, where these workers may take longer than it would
// wait without: their StopTimeout when they are stopped (all are at the same time, or
// share one), their ReadyTimeout when they are started, one group after the other.
func timeoutsOf(specs []shmkit.Spec) fx.Option {
	var options []fx.Option
	var start, stop time.Duration
	for _, s := range specs {
		start += max(s.ReadyTimeout, 0)
		stop = max(stop, s.StopTimeout)
	}
	if start += margin; start > fx.DefaultTimeout {
		options = append(options, fx.StartTimeout(start))
	}
	if stop > shmkit.DefaultStopTimeout {
		options = append(options, fx.StopTimeout(stopTimeout(stop)))
	}
	return fx.Options(options...)
}

// sooner is ctx with an earlier deadline, if it has one. When a hook takes until the
// end of its context, fx runs no other: whoever is stopped earlier has to leave time
// for those who are stopped later.
func sooner(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(time.Until(deadline)/4, margin/2)))
}
