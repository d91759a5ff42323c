package cfgblob

import (
	"context"
	"fmt"
	"iter"
	"runtime"

	"shmkit/shm"
)

// A View is a configuration to read: the owner's [*Store] or a worker's
// [*Reader]. Its methods may be called from any goroutine. After Close they go
// on to answer with the last version.
type View interface {
	// Name returns the name that the owner gave to the store.
	Name() string

	// Snapshot returns the version that is current now. Its checksum was
	// verified once, when this process first saw it.
	Snapshot() Snapshot

	// Get returns Snapshot().Get(path).
	Get(path string) (any, error)

	// Version returns Snapshot().Version.
	Version() uint64

	// Watch yields the version that is current now and then newer ones as they
	// come. One that is replaced before the loop body is back may be skipped;
	// the last one never is. The loop ends with ctx, with Close (after the last
	// version), or when it breaks.
	//
	// Between versions it sleeps. All watches of a process, of whatever segment,
	// share one parked thread, and an idle one costs no CPU.
	Watch(ctx context.Context) iter.Seq[Snapshot]

	// Err tells why a version newer than Snapshot's cannot be used
	// ([*CorruptError]), or why a Watch ended early; nil ordinarily.
	Err() error

	view() *feed
}

var (
	_ View = (*Store)(nil)
	_ View = (*Reader)(nil)
)

// Name returns the name that the owner gave to the store.
func (f *feed) Name() string { return f.name }

// Snapshot returns the version that is current now, verified.
func (f *feed) Snapshot() Snapshot { return f.current().snap }

// Get returns the value at path in the current version; see [Snapshot.Get].
func (f *feed) Get(path string) (any, error) { return f.current().snap.get(path) }

// Version returns the number of the current version.
func (f *feed) Version() uint64 { return f.current().snap.Version }

// Err tells why a newer version cannot be used, or why a Watch ended early.
func (f *feed) Err() error {
	if err := f.current().err; err != nil {
		return err
	}
	if err := f.lost.Load(); err != nil {
		return *err
	}
	return nil
}

// Watch yields the current version and then newer ones; see [View].
func (f *feed) Watch(ctx context.Context) iter.Seq[Snapshot] {
	return func(yield func(Snapshot) bool) {
		var last uint64 // version yielded; versions start at 1
		for rec := range f.records(ctx) {
			if rec.snap.Version == last {
				continue // unusable: Err tells why
			}
			last = rec.snap.Version
			if !yield(rec.snap) {
				return
			}
		}
	}
}

func (f *feed) view() *feed { return f }

// records yields the current record, and again whenever the latch has moved on.
func (f *feed) records(ctx context.Context) iter.Seq[*record] {
	return func(yield func(*record) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(f.done, cancel)()

		rec := f.current()
		for yield(rec) {
			err := rec.await(ctx)
			if err == nil {
				err = ctx.Err() // a busy publisher must not keep us here
			} else if ctx.Err() == nil {
				err = fmt.Errorf("cfgblob: %q: watch: %w", f.name, err)
				f.lost.Store(&err)
			}
			before := rec
			rec = f.current()
			// What was published before a Close is delivered after it, too.
			if err != nil && (f.done.Err() == nil || rec.seen == before.seen) {
				return
			}
			if rec == before {
				runtime.Gosched() // the publisher was faster than our copy: let it get ahead
			}
		}
	}
}

// await returns when rec is no longer what the latch holds, or with an error.
func (rec *record) await(ctx context.Context) error {
	if rec.from == nil {
		return context.Canceled
	}
	_, err := rec.from.latch.Wait(ctx, shm.Futex{}, rec.seen)
	runtime.KeepAlive(rec)
	return err
}
