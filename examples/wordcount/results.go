package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"sync"

	"shmkit/ring"
	"shmkit/shm"
)

// A result is what one worker found in one file.
type result struct {
	File int // index into the list of files
	Rank int // of the ring it came on, not of what it says
	Counts
	Err string // why the file could not be counted
}

// results brings the workers' results home: one ring for each worker, drained
// into one channel. Together with the workers' half below it is the smallest use
// of shm, ring and spawn's resources in one place.
type results struct {
	run string
	out chan result
	wg  sync.WaitGroup
}

var kindResults = shm.KindOf("RSLT")

const (
	// ringBytes keeps a worker at most a few hundred files ahead of the node, so
	// that half-way is half-way for both.
	ringBytes = 8 << 10
	maxResult = 1 << 10
	// fixedResult is the payload before the error text: three u64.
	fixedResult = 24
)

func newResults(run string) *results {
	return &results{run: run, out: make(chan result, 256)}
}

// wait returns when every worker's ring is drained, and then closes the channel.
func (r *results) wait() {
	r.wg.Wait()
	close(r.out)
}

// Donate makes one worker's ring and begins to drain it.
func (r *results) Donate(group string, rank, size int) ([]*os.File, []string, io.Closer, error) {
	bytes, err := ring.Size(ringBytes, maxResult)
	if err != nil {
		return nil, nil, nil, err
	}
	name := fmt.Sprintf("%s.results.%d", r.run, rank)
	seg, err := shm.Create(shm.Options{Name: name, Kind: kindResults, Size: bytes, HandOff: shm.ReadWrite})
	if err != nil {
		return nil, nil, nil, err
	}
	c, err := ring.NewConsumer(seg.Region(), ring.ConsumerOptions{Name: name, Waiter: shm.Futex{}})
	if err != nil {
		seg.Close()
		return nil, nil, nil, err
	}
	f, err := seg.Reopen()
	if err != nil {
		seg.Close()
		return nil, nil, nil, err
	}
	l := &resultLease{results: r, rank: rank, seg: seg, ring: c, bell: make(chan struct{}, 1), drained: make(chan struct{})}
	r.wg.Add(1)
	go l.drain()
	return []*os.File{f}, nil, l, nil
}

// resultLease is the node's end of one worker's ring.
type resultLease struct {
	*results
	rank    int
	seg     *shm.Segment
	ring    *ring.Consumer
	bell    chan struct{} // closed when the worker is dead
	drained chan struct{}
}

// Message is the worker's doorbell.
func (l *resultLease) Message([]byte, []*os.File) {
	select {
	case l.bell <- struct{}{}:
	default: // one is pending already
	}
}

// Close is called when the worker is dead: what it had committed is still there.
func (l *resultLease) Close() error {
	close(l.bell)
	<-l.drained
	return l.seg.Close()
}

func (l *resultLease) drain() {
	defer l.wg.Done()
	defer close(l.drained)
	for alive := true; ; {
		for {
			rec, ok, err := l.ring.Next()
			if err != nil {
				l.out <- result{File: -1, Rank: l.rank, Err: err.Error()}
				return
			}
			if !ok {
				break
			}
			l.out <- decodeResult(l.rank, rec)
			l.ring.Release()
		}
		if !alive {
			return
		}
		if l.ring.Sleep() { // announced, and still nothing there: the worker will ring
			_, alive = <-l.bell
			l.ring.Awake()
		}
	}
}

// decodeResult copies a record out of the ring. A record that is too short has
// been made by a broken worker and is told as such.
func decodeResult(rank int, rec ring.Record) result {
	r := result{File: int(rec.Tag), Rank: rank}
	p := rec.Payload
	if len(p) < fixedResult {
		r.File, r.Err = -1, fmt.Sprintf("worker %d sent a result of %d bytes, less than %d", rank, len(p), fixedResult)
		return r
	}
	r.Lines = binary.LittleEndian.Uint64(p[0:])
	r.Words = binary.LittleEndian.Uint64(p[8:])
	r.Bytes = binary.LittleEndian.Uint64(p[16:])
	r.Err = string(p[fixedResult:])
	return r
}

// encodeResult is the worker's half.
func encodeResult(buf []byte, c Counts, err error) []byte {
	buf = binary.LittleEndian.AppendUint64(buf[:0], c.Lines)
	buf = binary.LittleEndian.AppendUint64(buf, c.Words)
	buf = binary.LittleEndian.AppendUint64(buf, c.Bytes)
	if err != nil {
		buf = append(buf, err.Error()...)
	}
	return buf[:min(len(buf), maxResult)]
}
