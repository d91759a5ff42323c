package spawn

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A spare is a function worker that was started ahead of time: it has executed the
// program, run its initialisation and waits in [Attach] for a rank. The server
// gives it one, with the files and words of the resources, by messages on the
// control socket:
//
//	opFiles, any number of times   up to MaxMessageFiles files each
//	opAssign                       "RANK SIZE " and what SHMKIT_FD would say

// spareRetry is the pause after a spare that ended before its use. A variable for
// tests.
var spareRetry = time.Second

// replenish starts the spares that are missing, one at a time, and ends those of an
// older program. It returns how long until it is to be called again; negative for
// not before something happens.
func (g *Group) replenish() time.Duration {
	if g.spec.Spares == 0 {
		return -1
	}
	g.mu.Lock()
	now, p, over := g.s.now(), g.plan, g.stopped || g.starting == 0 && g.rules.finished()
	var old []*worker
	g.spares = slices.DeleteFunc(g.spares, func(w *worker) bool {
		gone := over || w.plan != p
		if gone {
			old = append(old, w)
		}
		return gone
	})
	missing := g.spec.Spares - len(g.spares)
	wait := g.spareDue - now
	busy := g.starting > 0
	g.mu.Unlock()
	for _, w := range old {
		w.end(ReasonStop, -1)
	}
	switch {
	case over || busy || missing <= 0:
		return -1
	case wait > 0:
		return wait
	}
	w, err := g.s.start(g, p, spareRank)
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		g.spareDue = now + spareRetry
		return spareRetry
	}
	g.left++
	g.spares = append(g.spares, w)
	go w.watch()
	if missing > 1 {
		return 0
	}
	return -1
}

// takeSpare returns a spare of the plan, or nil.
func (g *Group) takeSpare(p *plan) *worker {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, w := range g.spares {
		select {
		case <-w.done:
			continue
		default:
		}
		if w.plan == p {
			g.spares = slices.Delete(g.spares, i, i+1)
			return w
		}
	}
	return nil
}

// assign gives a spare its rank. After an error the spare is dead.
func (s *Server) assign(w *worker, rank int) (err error) {
	defer func() {
		if err != nil {
			w.kill()
			<-w.done
		}
	}()
	w.settle(rank)
	pl := plumbing{cookie: w.cookie}
	files, err := s.donate(w, &pl)
	defer closeFiles(files)
	if err != nil {
		return err
	}
	w.takeOutput()
	w.mu.Lock()
	w.started = time.Now()
	w.mu.Unlock()
	if w.g.spec.ReadyTimeout <= 0 {
		w.setReady()
	}
	for batch := range slices.Chunk(files, MaxMessageFiles) {
		if err := w.ctl.send(addrSpawn, opFiles, nil, batch); err != nil {
			return &spareError{err}
		}
	}
	w.introduce()
	text := fmt.Sprintf("%d %d %s", w.rank, w.size, pl)
	if err := w.ctl.send(addrSpawn, opAssign, []byte(text), nil); err != nil {
		return &spareError{err}
	}
	w.awaitReady()
	return nil
}

// settle sets the rank, which everybody who may look at the moment reads under one
// of these locks.
func (w *worker) settle(rank int) {
	w.g.mu.Lock()
	defer w.g.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outMu.Lock()
	defer w.outMu.Unlock()
	w.rank, w.size = rank, w.g.size
}

// A spareError says that a spare did not take its rank: another process may.
type spareError struct{ err error }

func (e *spareError) Error() string { return fmt.Sprintf("a spare did not take it: %v", e.err) }
func (e *spareError) Unwrap() error { return e.err }

// awaitAssignment is the other side: it returns when this process has a rank.
// files are those of all resources, in order.
func awaitAssignment() (pl plumbing, rank, size string, files []*os.File, err error) {
	rec := records.Get().(*record)
	defer records.Put(rec)
	for {
		n, fds, _, err := recvmsgWait(controlFD, rec)
		if err != nil || n == 0 {
			os.Exit(ExitServerGone)
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "donated"))
		}
		addr, op, payload, err := parseFrame(rec.data[:n], 0)
		if err != nil || addr != addrSpawn {
			return pl, "", "", files, errors.New("an unknown message came before the rank: server and worker are not the same program: restart the run")
		}
		if op != opAssign {
			continue
		}
		f := strings.SplitN(string(payload), " ", 3)
		if len(f) != 3 {
			return pl, "", "", files, errors.New("malformed assignment of " + strconv.Quote(string(payload)))
		}
		pl, err = parsePlumbing(f[2])
		if err == nil && pl.nfiles() != len(files) {
			err = fmt.Errorf("%d files came with the assignment, %d were announced", len(files), pl.nfiles())
		}
		return pl, f[0], f[1], files, err
	}
}
