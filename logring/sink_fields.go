package logring

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"
)

// Fields says which attributes a sink gets, and what they are called there. An
// attribute is named by its key, one in a group by its path: "http.status". What
// is not an attribute (time, level, message, and where a record comes from)
// a sink always gets.
type Fields struct {
	Keep   []string          // only these, a group with all its members; nil: all
	Drop   []string          // not these, also where Keep says otherwise
	Rename map[string]string // from a path to a new key in the same group
	Add    []slog.Attr       // constants, put before the others
}

// fieldPlan is Fields made ready. It belongs to one goroutine.
type fieldPlan struct {
	all   bool
	rules map[string]fieldRule
	add   []byte // in wire form
	path  []byte // scratch
}

type fieldRule struct {
	keep   bool
	within bool // something in this group is kept
	drop   bool
	as     string // "": its own key
}

func (f *Fields) plan() (*fieldPlan, error) {
	p := &fieldPlan{all: f.Keep == nil, rules: map[string]fieldRule{}}
	change := func(path string, do func(*fieldRule)) {
		r := p.rules[path]
		do(&r)
		p.rules[path] = r
	}
	for _, path := range f.Keep {
		change(path, func(r *fieldRule) { r.keep = true })
		for i := range path {
			if path[i] == '.' {
				change(path[:i], func(r *fieldRule) { r.within = true })
			}
		}
	}
	for _, path := range f.Drop {
		change(path, func(r *fieldRule) { r.drop = true })
	}
	for path, key := range f.Rename {
		if key == "" || len(key) > maxKey {
			return nil, fmt.Errorf("Fields.Rename[%q]: a key has 1 to %d bytes", path, maxKey)
		}
		change(path, func(r *fieldRule) { r.as = key })
	}
	if _, empty := p.rules[""]; empty {
		return nil, errors.New("Fields: an empty name: give the key of an attribute")
	}
	if len(f.Add) > 0 {
		e := newEncoder(time.Time{}, 0, "", math.MaxInt32)
		e.members(f.Add)
		p.add = slices.Clone(e.buf[headerSize:])
		e.free()
	}
	return p, nil
}

// append appends what the sink gets of validated attributes.
func (p *fieldPlan) append(dst, attrs []byte) []byte {
	p.path = p.path[:0]
	c := cursor{attrs}
	return p.members(append(dst, p.add...), &c, p.all)
}

// members goes through one group, at most maxDepth deep, or the top level.
func (p *fieldPlan) members(dst []byte, c *cursor, all bool) []byte {
	outer := len(p.path)
	for {
		from := c.b
		kind, key, _, ok := c.next()
		if !ok || kind == kindEnd {
			return dst
		}
		p.path = append(p.path[:outer], key...)
		rule := p.rules[string(p.path)]
		keep := (all || rule.keep) && !rule.drop
		start := len(dst)
		if keep || rule.within && kind == kindGroup && !rule.drop {
			dst = appendRenamed(dst, from[:len(from)-len(c.b)], rule.as)
		}
		if kind != kindGroup {
			continue
		}
		p.path = append(p.path, '.')
		head := len(dst)
		dst = p.members(dst, c, keep)
		switch {
		case rule.drop || len(dst) == head: // an empty group is none, as in slog
			dst = dst[:start]
		default:
			dst = append(dst, kindEnd)
		}
	}
}

// appendRenamed appends an attribute, or the head of a group, with another key if
// as is not empty.
func appendRenamed(dst, attr []byte, as string) []byte {
	if as == "" {
		return append(dst, attr...)
	}
	n := int(le.Uint16(attr[1:]))
	dst = append(dst, attr[0], byte(len(as)), byte(len(as)>>8))
	dst = append(dst, as...)
	return append(dst, attr[attrFixed+n:]...)
}
