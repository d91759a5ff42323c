package sqlproxy

import (
	"container/list"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// A gate lets workers to the connections of one *sql.DB, no more at a time than the
// database allows, and in turn: whichever worker waits gets one connection after
// each other waiting worker got one, and the requests of one worker come in order.
// database/sql itself picks a waiter at random.
type gate struct {
	db *sql.DB

	mu     sync.Mutex
	inUse  int
	queue  list.List // of *waiting: workers that wait, in turn
	waits  map[*workerLease]*waiting
	holder map[*lease]struct{}
}

// waiting is the queue of one worker.
type waiting struct {
	worker *workerLease
	elem   *list.Element
	first  list.List // of chan struct{}
}

func newGate(db *sql.DB) *gate {
	return &gate{db: db, waits: map[*workerLease]*waiting{}, holder: map[*lease]struct{}{}}
}

// capacity is how many connections the database may have, 0 for any number. It is
// looked up each time: the program may change it.
func (g *gate) capacity() int { return g.db.Stats().MaxOpenConnections }

// enter waits for a turn. On nil the caller leaves later.
func (g *gate) enter(ctx context.Context, w *workerLease) error {
	g.mu.Lock()
	if limit := g.capacity(); limit <= 0 || g.inUse < limit && g.queue.Len() == 0 {
		g.inUse++
		g.mu.Unlock()
		return nil
	}
	q := g.waits[w]
	if q == nil {
		q = &waiting{worker: w}
		q.elem = g.queue.PushBack(q)
		g.waits[w] = q
	}
	turn := make(chan struct{}, 1)
	mine := q.first.PushBack(turn)
	g.admit()
	g.mu.Unlock()

	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-turn: // it came at the same moment: pass it on
		g.inUse--
		g.admit()
	default:
		q.first.Remove(mine)
		g.drop(q)
	}
	return context.Cause(ctx)
}

// admit gives turns while there is room. The caller holds mu.
func (g *gate) admit() {
	limit := g.capacity()
	for g.queue.Len() > 0 && (limit <= 0 || g.inUse < limit) {
		q := g.queue.Front().Value.(*waiting)
		turn := q.first.Remove(q.first.Front()).(chan struct{})
		g.queue.MoveToBack(q.elem)
		g.drop(q)
		g.inUse++
		turn <- struct{}{}
	}
}

// drop forgets a worker that no longer waits. The caller holds mu.
func (g *gate) drop(q *waiting) {
	if q.first.Len() == 0 && q.elem != nil {
		g.queue.Remove(q.elem)
		q.elem = nil
		delete(g.waits, q.worker)
	}
}

func (g *gate) leave() {
	g.mu.Lock()
	g.inUse--
	g.admit()
	g.mu.Unlock()
}

// hold and unhold say who has a connection, for the errors of those who wait.
func (g *gate) hold(l *lease) {
	g.mu.Lock()
	g.holder[l] = struct{}{}
	g.mu.Unlock()
}

func (g *gate) unhold(l *lease) {
	g.mu.Lock()
	delete(g.holder, l)
	g.mu.Unlock()
}

// holders describes who has the connections, the longest first.
func (g *gate) holders() string {
	g.mu.Lock()
	ls := make([]*lease, 0, len(g.holder))
	for l := range g.holder {
		ls = append(ls, l)
	}
	g.mu.Unlock()
	slices.SortFunc(ls, func(a, b *lease) int { return a.since.Compare(b.since) })
	var s []string
	for i, l := range ls {
		if i == 3 {
			s = append(s, fmt.Sprintf("%d more", len(ls)-i))
			break
		}
		s = append(s, fmt.Sprintf("%s for %v%s", l.worker, time.Since(l.since).Round(time.Millisecond), l.doing()))
	}
	if len(s) == 0 {
		return "the node itself"
	}
	return strings.Join(s, ", ")
}
