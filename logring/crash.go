package logring

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"shmkit/internal/filelock"
	"shmkit/ring"
	"shmkit/shm"
)

// Segments that outlive a killed node are files in a directory. What the node has
// not written must still be in them when it dies, so here a ring's space is given
// back not when its records were copied out, but when all sinks have written them:
// each batch leaves a receipt, receipts are settled in their order, and each says up
// to which record of which lane is written.
//
// A node that dies between a sink's write and the settlement leaves records that
// are written already: they come once more (at least once).

// A kept is what one lane still holds of what was copied out of it. Private to the
// collector's goroutine.
type kept struct {
	of      *inlet
	lane    *intake
	in      uint64 // entries copied out so far
	out     uint64 // of them, in batches
	written uint64 // of those, in settled ones
	marks   []keptMark
	batch   uint64 // the last batch with an entry of it
}

// A keptMark is where the ring may be released to once n entries are written.
type keptMark struct {
	n    uint64
	mark ring.Mark
}

// A receipt belongs to one batch.
type receipt struct {
	// done is stored by the goroutine of the sink that finishes last, loaded by the
	// collector's. It is a fact by itself; the sink's write is a system call.
	done atomic.Bool
	wake func()
	upTo []keptCount
	then func() // called when it is settled; may be nil
}

type keptCount struct {
	of *kept
	n  uint64
}

// settleAt notes what the lane holds at the end of a look at it.
func (p *kept) settleAt(m ring.Mark, taken uint64) {
	if taken > 0 {
		p.in += taken
		p.marks = append(p.marks, keptMark{p.in, m})
	}
}

// settled gives back the space of the first n entries.
func (p *kept) settled(n uint64) {
	p.written = n
	i := 0
	for i < len(p.marks) && p.marks[i].n <= n {
		i++
	}
	if i == 0 {
		return
	}
	p.of.touch(func() {
		p.of.mu.Lock() // as Stats looks at the ring, too
		defer p.of.mu.Unlock()
		p.lane.cons.ReleaseTo(p.marks[i-1].mark)
	})
	p.marks = append(p.marks[:0], p.marks[i:]...)
}

// note counts an entry of the lane into the batch that is being filled.
func (k *collection) note(p *kept) {
	p.out++
	if p.batch != k.made {
		p.batch = k.made
		k.receipt.upTo = append(k.receipt.upTo, keptCount{of: p})
	}
}

// seal ends the receipt of the batch.
func (k *collection) seal(b *batch) {
	for i := range k.receipt.upTo {
		c := &k.receipt.upTo[i]
		c.n = c.of.out
	}
	k.receipt.wake = k.c.wakeUp
	b.receipt = k.receipt
	k.receipts = append(k.receipts, k.receipt)
	k.receipt = &receipt{}
}

// settle works off the receipts, as far as their batches are written in order, and
// lets go of the segments whose records all are.
func (k *collection) settle() {
	n := 0
	for _, r := range k.receipts {
		if !r.done.Load() {
			break
		}
		for _, c := range r.upTo {
			c.of.settled(c.n)
		}
		if r.then != nil {
			r.then()
		}
		n++
	}
	if n == 0 {
		return
	}
	k.receipts = append(k.receipts[:0], k.receipts[n:]...)
	left := k.leaving[:0]
	for _, r := range k.leaving {
		if r.unwritten() {
			left = append(left, r)
		} else {
			r.forget()
		}
	}
	clear(k.leaving[len(left):])
	k.leaving = left
}

// unwritten reports whether the sinks have not written all that was copied out.
func (r *inlet) unwritten() bool {
	for _, l := range r.lanes {
		if l.kept != nil && l.kept.written < l.kept.in {
			return true
		}
	}
	return false
}

// The file of a worker's segment says whose it is: log-PID-NUMBER-RANK-GROUP, with the
// pid of the node. What the worker writes into the segment cannot change that.
const crashPrefix = "log-"

func crashName(node int, number uint64, group string, rank int) string {
	return fmt.Sprintf("%s%d-%d-%d-%s", crashPrefix, node, number, rank, url.QueryEscape(group))
}

// parseCrashName is the reverse.
func parseCrashName(name string) (node int, group string, rank int, ok bool) {
	rest, ok := strings.CutPrefix(name, crashPrefix)
	f := strings.SplitN(rest, "-", 4)
	if !ok || len(f) != 4 {
		return 0, "", 0, false
	}
	node, err1 := strconv.Atoi(f[0])
	rank, err2 := strconv.Atoi(f[2])
	group, err3 := url.QueryUnescape(f[3])
	return node, group, rank, err1 == nil && err2 == nil && err3 == nil
}

// enterCrashDir makes the directory, sees whether segments can be made there, so
// that a bad one is an error of NewCollector, and reads what a killed node has left.
func (o *CollectorOptions) enterCrashDir() (*salvage, error) {
	probe, err := shm.CreateNamed(o.CrashDir, shm.Options{Name: fmt.Sprintf("probe-%d-%d", os.Getpid(), probes.Add(1)), Size: 1})
	if err == nil {
		err = probe.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("logring: CrashDir: %w", err)
	}
	s, err := openSalvage(o.CrashDir)
	if errors.Is(err, filelock.ErrLocked) {
		return nil, nil // another process is about it
	}
	return s, err
}

var probes atomic.Uint64
