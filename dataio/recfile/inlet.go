package recfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"shmkit/ring"
	"shmkit/shm"
)

// A lease is the node's side of one worker: its segment, and an inlet for each file.
type lease struct {
	seg    *shm.Segment
	inlets []*inlet // in the order of the files
}

// An inlet is the node's end of one ring.
type inlet struct {
	writer *writer
	name   string
	cons   *ring.Consumer
	status status

	// The writer's goroutine's own.
	asleep bool   // announced
	taken  uint64 // records that are in the next write
	done   uint64 // records taken before
	lost   uint64 // of all of these, those that are not in the file
	news   bool   // something was taken in this round
	told   bool   // that the file was given up
	last   int    // bytes that are still taken when the writer ends
	over   bool   // nothing more will be taken
	err    error  // why it was given up; for others when drained is closed

	rung    atomic.Bool // set by Message, cleared by the writer before it looks
	ended   atomic.Bool // the worker is dead: what is in the ring is all there will be
	drained chan struct{}
}

// Donate makes the rings for one worker: a file for it to inherit and the words that
// tell how to use it, for [Attach] in the worker. The lease is to be closed when the
// worker is dead: its Close returns when everything the worker had committed is
// written. Its Message method is the worker's doorbell.
func (s *Server) Donate(group string, rank, size int) (files []*os.File, words []string, _ io.Closer, err error) {
	l := &lease{}
	name := fmt.Sprintf("recfile.%s.%d", group, rank)
	fail := func(err error) ([]*os.File, []string, io.Closer, error) {
		for _, in := range l.inlets {
			in.cons.Close()
		}
		if l.seg != nil {
			l.seg.Close()
		}
		return nil, nil, nil, fmt.Errorf("recfile: rings for %s/%d: %w", group, rank, err)
	}
	l.seg, err = shm.Create(shm.Options{Name: name, Kind: kindRecords, Schema: schema, Size: s.region, HandOff: shm.ReadWrite})
	if err != nil {
		return fail(err)
	}
	region := l.seg.Region()
	for i, slot := range s.slots {
		view := region[slot.at:slot.end:slot.end]
		in := &inlet{writer: s.writers[i], name: name + "." + slot.name, status: statusOf(view), drained: make(chan struct{})}
		if in.cons, err = ring.NewConsumer(view, ring.ConsumerOptions{Name: in.name, Waiter: shm.Futex{}}); err != nil {
			return fail(err)
		}
		in.last = slot.size
		l.inlets = append(l.inlets, in)
		words = append(words, slot.word())
	}
	f, err := l.seg.Reopen()
	if err != nil {
		return fail(err)
	}
	for _, in := range l.inlets {
		if !in.writer.add(in) {
			err = os.ErrClosed
			in.end()
		}
	}
	if err != nil {
		f.Close()
		return nil, nil, nil, errors.Join(fmt.Errorf("recfile: rings for %s/%d: %w", group, rank, err), l.Close())
	}
	return []*os.File{f}, words, l, nil
}

// Message is the worker's doorbell. It does not say for which file: a doorbell that
// says nothing is never in the way of another one.
func (l *lease) Message(_ []byte, files []*os.File) {
	for _, f := range files {
		f.Close()
	}
	for _, in := range l.inlets {
		in.rung.Store(true)
		in.writer.ring()
	}
}

// Close returns when all that the worker had committed is written, or given up.
func (l *lease) Close() error {
	for _, in := range l.inlets {
		in.ended.Store(true)
		in.writer.ring()
	}
	var errs []error
	for _, in := range l.inlets {
		<-in.drained
		errs = append(errs, in.err)
	}
	return errors.Join(append(errs, l.seg.Close())...)
}

// take copies records out of the ring, at most burst bytes. It returns how many bytes
// came, and false when the ring was empty and the worker will ring when that changes.
func (in *inlet) take(p *part, st *Stats, ending bool) (taken int, busy bool) {
	if in.over || in.asleep && !in.rung.Load() && !in.ended.Load() && !ending {
		return 0, false
	}
	ended := in.ended.Load() // before looking: then what is there is all there will be
	in.rung.Store(false)
	if in.asleep {
		in.cons.Awake()
		in.asleep = false
	}
	limit := burst
	if ending {
		limit = min(burst, in.last) // a worker that lives goes on: it is not followed for ever
	}
	for taken < limit {
		rec, ok, err := in.cons.Next()
		if err != nil {
			in.over, in.err = true, err // the worker broke the rules: its ring is given up, no other
			return taken, true
		}
		if !ok {
			break
		}
		in.news = true
		taken += len(rec.Payload) + frameHeader
		st.Attempted++
		switch {
		case p.broken != nil:
			st.Lost++
			in.lost++
			in.done++
		case p.append(rec.Payload) != nil:
			st.Refused++
			in.lost++
			in.done++
		default:
			in.taken++
		}
	}
	if ending {
		in.last -= taken
	}
	switch {
	case ending && in.last <= 0:
		in.over = true
		return taken, true
	case taken > 0:
		return taken, true
	case ended || ending:
		in.over = true
		return 0, false
	}
	if !in.cons.Sleep() {
		return 0, true // something came at the same moment
	}
	in.asleep = true
	return 0, false
}

// release gives back the space of what was taken, once its fate is known, and tells
// the worker of that first.
//
// All of it is stored here and loaded by the worker. done is stored after lost and
// loaded before it (File.Flush): who sees that the fate of a record is known sees what
// it is. Nothing is ordered by the state: a record that comes all the same is counted.
func (in *inlet) release(written, broken bool) {
	if broken && !in.told {
		in.told = true
		atomic.StoreUint32(in.status.state, givenUp)
	}
	if !in.news {
		return
	}
	in.news = false
	if !written {
		in.lost += in.taken
	}
	in.done += in.taken
	in.taken = 0
	atomic.StoreUint64(in.status.lost, in.lost)
	atomic.StoreUint64(in.status.done, in.done)
	in.cons.Release()
}

// end gives back the ring.
func (in *inlet) end() {
	atomic.CompareAndSwapUint32(in.status.state, 0, ended)
	in.cons.Close()
	close(in.drained)
}
