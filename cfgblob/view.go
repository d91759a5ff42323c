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

	// Dict returns Snapshot().Dict(), the document as a dictionary.
	Dict() Dict

	// Version returns Snapshot().Version.
	Version() uint64

	// Watch yields the version that is current now and then newer ones as they
	// come. One that is replaced before the loop body is back may be skipped;
	// the last one never is. The loop ends with ctx, with Close (after the last
	// version), or when it breaks. With paths, only versions are yielded in which
	// the value at one of them is another one than in the version yielded before;
	// a value that comes or goes is another one.
	//
	// Between versions it sleeps. All watches of a process, of whatever segment,
	// share one parked thread, and an idle one costs no CPU.
	Watch(ctx context.Context, paths ...string) iter.Seq[Snapshot]

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
func (f *feed) Watch(ctx context.Context, paths ...string) iter.Seq[Snapshot] {
	return func(yield func(Snapshot) bool) {
		var last *record // yielded, or the same to whom it is yielded
		for rec := range f.records(ctx) {
			switch {
			case last == nil:
			case rec.snap.Version == last.snap.Version && rec.from == last.from:
				continue // unusable: Err tells why
			case len(paths) > 0 && sameAt(&last.snap, &rec.snap, paths):
				last = rec
				continue
			}
			last = rec
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
		wait, done := rec.within(ctx)
		defer func() { done() }()
		for yield(rec) {
			err := rec.await(wait)
			if err != nil && ctx.Err() == nil && rec.moved() {
				err = nil // woken to look at another segment
			}
			if err == nil {
				err = ctx.Err() // a busy publisher must not keep us here
			} else if ctx.Err() == nil {
				err = fmt.Errorf("cfgblob: %q: watch: %w", f.name, err)
				f.lost.Store(&err)
			}
			before := rec
			if rec = f.current(); rec.from != before.from {
				done()
				wait, done = rec.within(ctx)
			}
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

// sameAt tells whether two versions hold the same values at all paths.
func sameAt(a, b *Snapshot, paths []string) bool {
	for _, path := range paths {
		v, errV := a.look(path)
		w, errW := b.look(path)
		if (errV == nil) != (errW == nil) || !sameTree(v, w) {
			return false
		}
	}
	return true
}

// within returns a context that also ends when the feed moves on to another
// segment.
func (rec *record) within(ctx context.Context) (context.Context, func()) {
	if rec.from == nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(rec.from.left, cancel)
	return ctx, func() { stop(); cancel() }
}

// moved tells whether the feed has gone on to another segment.
func (rec *record) moved() bool { return rec.from != nil && rec.from.left.Err() != nil }

// await returns when rec is no longer what the latch holds, or with an error.
func (rec *record) await(ctx context.Context) error {
	if rec.from == nil {
		return context.Canceled
	}
	_, err := rec.from.latch.Wait(ctx, shm.Futex{}, rec.seen)
	runtime.KeepAlive(rec)
	return err
}
