package cfgblob

import (
	"cmp"
	"maps"
	"slices"
)

// A draft is a document of the version about to be made, and the channel it goes
// to.
type draft struct {
	tree    map[string]any
	text    []byte // canonical; nil if the channel holds this document already
	channel *channel
	fresh   bool // the channel is new
}

// commit makes next the current stack: it checks every document that comes out
// differently, reserves all memory, writes the state file, and only then publishes.
// Up to that point an error leaves everything as it was. a says whose version is
// returned with an error. The caller holds s.mu.
func (s *Store) commit(author, action string, next stack, a Audience) (version uint64, err error) {
	if s.closed {
		return s.versionFor(a.sample()), s.closedError("publish")
	}
	if author == "" {
		author = s.o.Author
	}
	drafts, homes, err := s.draft(next)
	var snap Snapshot
	if err == nil {
		snap = s.snapshot(s.version+1, author, s.general.tree, nil)
		err = s.save(snap, next)
	}
	if err != nil {
		s.forget(drafts)
		return s.versionFor(a.sample()), err
	}
	return s.publish(snap, action, next, drafts, homes)
}

// draft makes and checks the documents of a stack, by signature, and finds the
// home of each worker's.
func (s *Store) draft(next stack) (drafts map[string]*draft, homes map[*lease]string, err error) {
	drafts, homes = map[string]*draft{}, map[*lease]string{}
	add := func(sig string, m member, c *channel) error {
		if drafts[sig] != nil {
			return nil
		}
		d := &draft{tree: next.document(m), channel: c}
		drafts[sig] = d
		if c != nil && sameTree(c.tree, d.tree) {
			d.tree = c.tree
			return nil
		}
		if d.text, err = s.check(d.tree, next, m); err != nil {
			return err
		}
		if c != nil {
			return s.prepare(c, len(d.text))
		}
		d.fresh = true
		d.channel, err = s.newChannel(nil, s.roomFor(len(d.text)))
		return err
	}
	if err := add("", member{}, s.general); err != nil {
		return drafts, nil, err
	}
	for l := range s.leases {
		sig := next.signature(l.who)
		homes[l] = sig
		if err := add(sig, l.who, s.special[sig]); err != nil {
			return drafts, nil, err
		}
	}
	// A document that nobody reads yet has to be good as well: its workers are to
	// start.
	for _, a := range next.audiences() {
		m := a.sample()
		tree := next.document(m)
		if drafts[next.signature(m)] == nil && !sameTree(tree, s.stack.document(m)) {
			if _, err := s.check(tree, next, m); err != nil {
				return drafts, nil, err
			}
		}
	}
	return drafts, homes, nil
}

// forget gives back what was reserved for drafts.
func (s *Store) forget(drafts map[string]*draft) {
	for _, d := range drafts {
		switch c := d.channel; {
		case c == nil:
		case d.fresh:
			c.segment.Close()
		case c.next != nil:
			c.next.segment.Close()
			c.next = nil
		}
	}
}

// publish publishes drafts as the version of snap, and moves workers to their
// documents. An error beside the new version is that of waking somebody.
func (s *Store) publish(snap Snapshot, action string, next stack, drafts map[string]*draft, homes map[*lease]string) (uint64, error) {
	// A worker that comes to another document must find a later version there than
	// it has seen, however long it is under way: until it has arrived that document
	// is published with every change, and before the one that it leaves.
	arrivals := map[string]bool{}
	for l, sig := range homes {
		if l.channel != drafts[sig].channel || l.underWay() {
			arrivals[sig] = true
		}
	}
	order := slices.SortedFunc(maps.Keys(drafts), func(a, b string) int {
		return cmp.Or(-cmp.Compare(one(arrivals[a]), one(arrivals[b])), cmp.Compare(a, b))
	})
	s.version = snap.Version
	var failed error
	for _, sig := range order {
		d := drafts[sig]
		if d.text == nil {
			if !arrivals[sig] {
				continue
			}
			d.text, _ = canonical(d.tree) // it was checked when it was published first
		}
		doc := s.snapshot(snap.Version, snap.Author, d.tree, d.text)
		doc.Time = snap.Time
		var err error
		if sig == "" {
			err = s.publishGeneral(doc, d)
		} else {
			err = s.publishSpecial(doc, sig, d)
		}
		if failed == nil {
			failed = err
		}
	}
	s.stack = next
	s.remember(snap, action)
	for l, sig := range homes {
		l.channel = drafts[sig].channel
		l.handOver()
	}
	s.closeUnused()
	return snap.Version, failed
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

// publishGeneral publishes the general document, which others in this process may
// be reading: nobody here is between the new version in shared memory and the new
// record, since whoever sees the first waits at the lock for the second.
func (s *Store) publishGeneral(snap Snapshot, d *draft) error {
	if s.o.BeforePublish != nil {
		s.o.BeforePublish(snap.Version, snap.Doc)
	}
	c := s.general
	if c.next == nil {
		s.feed.mu.Lock()
		defer s.feed.mu.Unlock()
		err := s.write(c, snap, d.tree)
		s.feed.cur.Store(&record{from: s.feed.cur.Load().from, seen: c.seen, snap: c.snap})
		return err
	}
	err := s.write(c.next, snap, d.tree)
	m, mapErr := newMapping(s.o.Name, c.next.segment)
	if mapErr != nil {
		return mapErr
	}
	s.general, d.channel = c.next, c.next
	c.segment.Supersede(c.next.segment)
	s.feed.move(m, &record{seen: c.next.seen, snap: snap})
	return err
}

func (s *Store) publishSpecial(snap Snapshot, sig string, d *draft) error {
	c := d.channel
	if c.next != nil {
		d.channel = c.next
	}
	s.special[sig] = d.channel
	err := s.write(d.channel, snap, d.tree)
	if c.next != nil {
		c.segment.Supersede(c.next.segment)
		c.segment.Close() // only workers read it, and they have mappings of their own
	}
	return err
}

// closeUnused closes the channels of documents that nobody reads any more.
func (s *Store) closeUnused() {
	used := map[*channel]bool{}
	for l := range s.leases {
		used[l.channel] = true
	}
	for sig, c := range s.special {
		if !used[c] {
			delete(s.special, sig)
			c.segment.Close()
		}
	}
}

// versionFor is the version of m's document.
func (s *Store) versionFor(m member) uint64 { return s.snapFor(m).Version }

// snapFor is the version of m's document that was published last. One that nobody
// reads has not been published: it counts as of the last change of anything.
func (s *Store) snapFor(m member) Snapshot {
	sig := s.stack.signature(m)
	if sig == "" {
		return s.general.snap
	}
	if c := s.special[sig]; c != nil {
		return c.snap
	}
	last := s.history[len(s.history)-1]
	return Snapshot{Version: last.Version, Time: last.Time, Author: last.Author}
}
