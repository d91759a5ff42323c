package cfgblob

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// An Origin is what one layer of a document says of a path.
type Origin struct {
	Source string          `json:"source"`          // Layer.Name, "runtime" or "canary"
	Where  string          `json:"where,omitempty"` // "line 12", "$JOB_LEVEL", "version 7 by \"cli\""
	For    string          `json:"for,omitempty"`   // the audience, if it is not everybody
	Value  json.RawMessage `json:"value,omitempty"` // nil: it removes the key
}

// String is the origin on one line: "job.json, line 12: "info"".
func (o Origin) String() string {
	var b strings.Builder
	b.WriteString(o.Source)
	if o.For != "" && !strings.HasSuffix(o.Source, " for "+o.For) {
		b.WriteString(" for " + o.For)
	}
	if o.Where != "" {
		b.WriteString(", " + o.Where)
	}
	if o.Value == nil {
		b.WriteString(": removed")
	} else {
		fmt.Fprintf(&b, ": %s", o.Value)
	}
	return b.String()
}

// Explain says where the value at path comes from in the documents of an audience,
// and what it shadows: the origin that wins first, then those below it. Of an
// object all origins count. What is secret is [Redacted]. A path that names
// nothing is a [*KeyError] (ErrNoKey).
func (s *Store) Explain(a Audience, path string) ([]Origin, error) {
	elems, err := splitPath(path)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := a.sample()
	if _, err := Lookup(s.stack.document(m), path); err != nil {
		return nil, s.secrets.cleanKey(err, elems)
	}
	var list []Origin
	for _, l := range slices.Backward(s.stack.layersOf(m)) {
		v, says := said(l.Tree, elems)
		if !says {
			continue
		}
		o := Origin{Source: l.Name, For: l.For.String(), Where: l.at(path)}
		if l.Name == runtimeName || l.Name == canaryName {
			o.Where = s.since(l, elems, v)
		}
		if v != (gone{}) {
			if p, ok := v.(map[string]any); ok {
				v = apply(nil, p)
			}
			o.Value, _ = canonicalValue(s.secrets.shown(elems, v))
		}
		list = append(list, o)
	}
	return list, nil
}

// said is what a patch says of a path: a value, or gone.
func said(p patch, elems []string) (v any, says bool) {
	v = p
	for _, e := range elems {
		switch v.(type) {
		case map[string]any, []any:
			below, ok := child(v, e)
			if _, isList := v.([]any); !ok && !isList {
				return nil, false // objects are merged: those below have their say
			} else if !ok {
				return gone{}, true
			}
			v = below
		default:
			return gone{}, true // something else stands where an object was
		}
	}
	return v, true
}

// since finds in the history which version brought what a layer says of a path.
func (s *Store) since(l Layer, elems []string, now any) string {
	at := -1
	for i, r := range slices.Backward(s.history) {
		changes := r.stack.changesFor(l.For)
		if l.Name == canaryName {
			changes = nil
			if c := r.stack.canary; c != nil {
				changes = c.changes
			}
		}
		if v, says := said(changes, elems); !says || !sameTree(v, now) {
			break
		}
		at = i
	}
	switch {
	case at < 0:
		return ""
	case at == 0 && len(s.history) == s.o.History:
		return fmt.Sprintf("version %d or before", s.history[0].Version)
	}
	return fmt.Sprintf("version %d by %q", s.history[at].Version, s.history[at].Author)
}

// origin is the layer that m's value at path comes from.
func (st stack) origin(m member, path string) (Layer, bool) {
	elems, err := splitPath(path)
	if err != nil {
		return Layer{}, false
	}
	for _, l := range slices.Backward(st.layersOf(m)) {
		if v, says := said(l.Tree, elems); says && v != (gone{}) {
			return l, true
		}
	}
	return Layer{}, false
}
