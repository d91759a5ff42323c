package cfgblob

import (
	"slices"
	"strings"
)

// A pathPattern is a path (see [Lookup]) in whose elements '*' stands for any
// characters, and whose element "**" stands for any number of elements, none
// included: "db.*.password", "**.token", "limits.max*".
type pathPattern []string

// patterns are several of them: what remains to be matched of each.
type patterns []pathPattern

// parsePatterns reads patterns; fold says that capitals do not count.
func parsePatterns(list []string, fold bool) (patterns, error) {
	var ps patterns
	for _, text := range list {
		elems, err := splitPath(text)
		if err != nil {
			return nil, err
		}
		if fold {
			for i := range elems {
				elems[i] = strings.ToLower(elems[i])
			}
		}
		ps = append(ps, elems)
	}
	return ps, nil
}

// below is what remains of the patterns one element down; whole tells that one
// of them ends there.
func (ps patterns) below(elem string) (rest patterns, whole bool) {
	for _, p := range ps {
		for len(p) > 0 && p[0] == "**" { // the element is one of any number…
			rest = append(rest, p)
			p = p[1:] // …or comes after them
		}
		if len(p) > 0 && glob(p[0], elem) {
			p = p[1:]
			for len(p) > 0 && p[0] == "**" && len(p) == 1 {
				p = nil // nothing need follow
			}
			rest = append(rest, p)
			whole = whole || len(p) == 0
		} else if len(p) == 0 {
			whole = true // the pattern ends in "**"
		}
	}
	return rest, whole
}

// cover tells whether one of the patterns names the path or something above it.
func (ps patterns) cover(elems []string) bool {
	for _, e := range elems {
		var whole bool
		if ps, whole = ps.below(e); whole {
			return true
		}
	}
	return false
}

// reach tells whether one of the patterns may name something below the path.
func (ps patterns) reach(elems []string) bool {
	for _, e := range elems {
		ps, _ = ps.below(e)
	}
	return slices.ContainsFunc(ps, func(p pathPattern) bool { return len(p) > 0 })
}

// glob matches one element; '*' stands for any characters.
func glob(pattern, s string) bool {
	head, tail, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	if !strings.HasPrefix(s, head) {
		return false
	}
	s = s[len(head):]
	for {
		var part string
		if part, tail, star = strings.Cut(tail, "*"); !star {
			return strings.HasSuffix(s, part)
		}
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
}
