package cfgblob

// Update lets edit change a private copy of the current document and publishes
// the result, all in one step: no other change comes between. Numbers in the
// copy are [encoding/json.Number]; edit may put any value with a JSON form into
// it. If edit returns an error, that is returned and nothing is published. edit
// may not use the store.
//
// With ifVersion other than 0 the change is made only if that version is
// current; otherwise the error is a [*ConflictError] (ErrConflict). This is how
// someone who read version n and thought about it makes sure that nobody else
// was faster. Other errors are those of Publish.
func (s *Store) Update(author string, ifVersion uint64, edit func(doc map[string]any) error) (version uint64, err error) {
	return s.update(author, "update", Audience{}, ifVersion, edit)
}

func (s *Store) update(author, action string, a Audience, ifVersion uint64, edit func(doc map[string]any) error) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.expect(ifVersion, a.sample())
	if err != nil {
		return now, err
	}
	tree, err := s.edited(a.sample(), edit)
	if err != nil {
		return now, err
	}
	return s.replace(author, action, a, tree)
}

// expect compares the version of m's document with one that a change was made for.
func (s *Store) expect(ifVersion uint64, m member) (now uint64, err error) {
	snap := s.snapFor(m)
	if ifVersion != 0 && ifVersion != snap.Version {
		err = &ConflictError{s.o.Name, ifVersion, snap.Version, snap.Author, snap.Time}
	}
	return snap.Version, err
}

// edited is m's document as edit leaves it.
func (s *Store) edited(m member, edit func(doc map[string]any) error) (map[string]any, error) {
	draft := copyTree(s.document(m)).(map[string]any)
	if err := edit(draft); err != nil {
		return nil, err
	}
	tree, err := TreeOf(draft)
	if err != nil {
		return nil, s.rejected(err, nil, stack{}, member{})
	}
	return tree, nil
}

// Set puts value at path and publishes the result; see [Store.Update] for
// ifVersion and errors. Objects that are missing on the way are made. In an
// array the index of an element replaces it, and the array's length appends.
// A path through something that is neither object nor array is a [*PathError].
func (s *Store) Set(author, path string, value any, ifVersion uint64) (version uint64, err error) {
	return s.SetFor(Audience{}, author, path, value, ifVersion)
}

// Unset removes what is at path and publishes the result; see [Store.Update]
// for ifVersion and errors. The elements behind one removed from an array move
// down. A path that names nothing is a [*KeyError] (ErrNoKey). A source that
// holds the key cannot bring it back; [Store.Reset] can.
func (s *Store) Unset(author, path string, ifVersion uint64) (version uint64, err error) {
	return s.UnsetFor(Audience{}, author, path, ifVersion)
}

// SetFor is [Store.Set] in the documents of some workers only: an override. What
// is said of one rank wins over what is said of its group, and that over what is
// said to everybody. ifVersion is compared with the version of the document of the
// first worker that a means.
func (s *Store) SetFor(a Audience, author, path string, value any, ifVersion uint64) (version uint64, err error) {
	elems, err := splitPath(path)
	if err == nil {
		value, err = normalize(value, elems)
	}
	if err != nil {
		return s.VersionFor(a), err
	}
	if err := depth(elems[:len(elems)-1]); err != nil {
		return s.VersionFor(a), err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.expect(ifVersion, a.sample())
	if err != nil {
		return now, err
	}
	tree, err := setIn(s.document(a.sample()), path, elems, 0, value)
	if err != nil {
		return now, err
	}
	return s.replace(author, "set "+path, a, tree.(map[string]any))
}

// UnsetFor is [Store.Unset] in the documents of some workers only.
func (s *Store) UnsetFor(a Audience, author, path string, ifVersion uint64) (version uint64, err error) {
	elems, err := splitPath(path)
	if err != nil {
		return s.VersionFor(a), err
	}
	return s.update(author, "unset "+path, a, ifVersion, func(doc map[string]any) error {
		return s.secrets.cleanKey(unsetPath(doc, path), elems)
	})
}

// Reset takes back what was changed at path, or below it, for exactly these workers
// while the store ran, so that their sources show through again. "" takes back
// everything. Where nothing was changed, nothing happens.
func (s *Store) Reset(a Audience, author, path string, ifVersion uint64) (version uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.expect(ifVersion, a.sample())
	if err != nil {
		return now, err
	}
	changes := patch(nil)
	if path != "" {
		elems, err := splitPath(path)
		if err != nil {
			return now, err
		}
		var found bool
		if changes, found = without(s.stack.changesFor(a), elems); !found {
			return now, nil
		}
	} else if len(s.stack.changesFor(a)) == 0 {
		return now, nil
	}
	return s.commit(author, "reset "+path, s.stack.withChanges(a, changes), a)
}

// document is m's document, shared: look, do not touch.
func (s *Store) document(m member) map[string]any {
	sig := s.stack.signature(m)
	if sig == "" {
		return s.general.tree
	}
	if c := s.special[sig]; c != nil {
		return c.tree
	}
	return s.stack.document(m)
}

// VersionFor is the version of the document of the workers of an audience; that
// of the first of them, where several have documents of their own.
func (s *Store) VersionFor(a Audience) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.versionFor(a.sample())
}

// SnapshotFor is the document that the workers of an audience read, the first of
// them where several have documents of their own. An audience for which nothing
// was declared reads the general document.
func (s *Store) SnapshotFor(a Audience) Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stackSnapshot(s.stack, s.snapFor(a.sample()), a.sample())
}

// stackSnapshot is m's document of a stack, under the number, time and author of
// of.
func (s *Store) stackSnapshot(st stack, of Snapshot, m member) Snapshot {
	tree := st.document(m)
	doc, _ := canonical(tree) // of trees that have a JSON form
	snap := s.snapshot(of.Version, of.Author, tree, doc)
	snap.Time = of.Time
	return snap
}
