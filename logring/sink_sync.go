package logring

import (
	"slices"
	"time"
)

// rest waits for work, or for the time at which what was written has to be synced.
func (r *runner) rest() {
	if r.dirty.IsZero() {
		<-r.work
		return
	}
	t := time.NewTimer(time.Until(r.dirty.Add(r.o.Sync.Every)))
	defer t.Stop()
	select {
	case <-r.work:
	case <-t.C:
		r.syncNow()
	}
}

// syncIfDue does what the sync policy asks for after a write.
func (r *runner) syncIfDue(recs []Record) {
	p := &r.o.Sync
	switch {
	case len(recs) == 0:
		return
	case p.Batch, p.Level != nil && slices.ContainsFunc(recs, func(x Record) bool { return x.Level >= p.Level.Level() }):
		r.syncNow()
		return
	case p.Every <= 0:
		return
	}
	if r.dirty.IsZero() {
		r.dirty = time.Now()
	} else if time.Since(r.dirty) >= p.Every {
		r.syncNow()
	}
}

// syncNow makes what is written durable. When that fails, the records count as
// written all the same: they are where the sink has put them, and only a crash of
// the machine could show that they are not safe there.
func (r *runner) syncNow() {
	r.dirty = time.Time{}
	if err := r.guard(r.sink.Sync); err != nil {
		r.note(err)
		r.failed(&r.syncs, err, nil)
		return
	}
	r.works(&r.syncs)
}
