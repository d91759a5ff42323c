package cfgblob

// Update lets edit change a private copy of the current document and publishes
// the result, all in one step: no other change comes between. Numbers in the
// copy are [encoding/json.Number]; edit may put any value with a JSON form into
// it. If edit returns an error, that is returned and nothing is published. edit
// may read the store, but not change it otherwise.
//
// With ifVersion other than 0 the change is made only if that version is
// current; otherwise the error is a [*ConflictError] (ErrConflict). This is how
// someone who read version n and thought about it makes sure that nobody else
// was faster. Other errors are those of Publish.
func (s *Store) Update(author string, ifVersion uint64, edit func(doc map[string]any) error) (version uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.feed.cur.Load().snap
	if ifVersion != 0 && ifVersion != now.Version {
		return now.Version, &ConflictError{s.o.Name, ifVersion, now.Version, now.Author, now.Time}
	}
	draft := copyTree(s.tree).(map[string]any)
	if err := edit(draft); err != nil {
		return now.Version, err
	}
	tree, err := TreeOf(draft)
	if err != nil {
		return now.Version, s.rejected(err)
	}
	doc, err := s.check(tree)
	if err != nil {
		return now.Version, err
	}
	return s.publish(author, tree, doc)
}

// Set puts value at path and publishes the result; see [Store.Update] for
// ifVersion and errors. Objects that are missing on the way are made. In an
// array the index of an element replaces it, and the array's length appends.
// A path through something that is neither object nor array is a [*PathError].
func (s *Store) Set(author, path string, value any, ifVersion uint64) (version uint64, err error) {
	elems, err := splitPath(path)
	if err == nil {
		value, err = normalize(value, elems)
	}
	if err != nil {
		return s.Version(), err
	}
	return s.Update(author, ifVersion, func(doc map[string]any) error {
		return setPath(doc, path, value)
	})
}

// Unset removes what is at path and publishes the result; see [Store.Update]
// for ifVersion and errors. The elements behind one removed from an array move
// down. A path that names nothing is a [*KeyError] (ErrNoKey).
func (s *Store) Unset(author, path string, ifVersion uint64) (version uint64, err error) {
	return s.Update(author, ifVersion, func(doc map[string]any) error {
		return unsetPath(doc, path)
	})
}
