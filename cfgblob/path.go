package cfgblob

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Lookup returns the value that path names in doc, as it stands there: the
// caller owns doc, nothing is copied.
//
// A path is a list of elements between dots: "log.sinks.0.level". In an object
// an element is a key, matched exactly (keys keep their case, and "0" is a key
// like any other); in an array it is a decimal index from 0. A dot or a
// backslash inside a key is written with a backslash before it: `hosts.a\.b`.
// Empty elements are errors. The path "" names the whole document.
//
// A path that names nothing is a [*KeyError] (ErrNoKey).
func Lookup(doc map[string]any, path string) (any, error) {
	if path == "" {
		return doc, nil
	}
	var node any = doc
	for rest, more := path, true; more; {
		var elem string
		var err error
		if elem, rest, more, err = cutElem(path, rest); err != nil {
			return nil, err
		}
		next, ok := child(node, elem)
		if !ok {
			return nil, noKey(doc, path)
		}
		node = next
	}
	return node, nil
}

// cutElem splits the first element off rest; path is the whole, for errors.
// It allocates only if the element holds an escape.
func cutElem(path, rest string) (elem, tail string, more bool, err error) {
	i := 0
	for i < len(rest) && rest[i] != '.' {
		if rest[i] == '\\' {
			return cutEscaped(path, rest)
		}
		i++
	}
	if i == 0 {
		return "", "", false, &PathError{path, "has an empty element"}
	}
	if i == len(rest) {
		return rest, "", false, nil
	}
	return rest[:i], rest[i+1:], true, nil
}

func cutEscaped(path, rest string) (elem, tail string, more bool, err error) {
	var b strings.Builder
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; c {
		case '.':
			if b.Len() == 0 {
				return "", "", false, &PathError{path, "has an empty element"}
			}
			return b.String(), rest[i+1:], true, nil
		case '\\':
			i++
			if i == len(rest) || rest[i] != '.' && rest[i] != '\\' {
				return "", "", false, &PathError{path, `has a backslash that is not in front of "." or "\"`}
			}
			b.WriteByte(rest[i])
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), "", false, nil
}

// splitPath returns the elements of a path; at least one.
func splitPath(path string) (elems []string, err error) {
	for rest, more := path, true; more; {
		var elem string
		if elem, rest, more, err = cutElem(path, rest); err != nil {
			return nil, err
		}
		elems = append(elems, elem)
	}
	return elems, nil
}

var escaper = strings.NewReplacer(`\`, `\\`, `.`, `\.`)

// joinPath is the inverse of splitPath.
func joinPath(elems []string) string {
	var b strings.Builder
	for i, e := range elems {
		if i > 0 {
			b.WriteByte('.')
		}
		escaper.WriteString(&b, e)
	}
	return b.String()
}

// child takes one step down.
func child(node any, elem string) (any, bool) {
	switch n := node.(type) {
	case map[string]any:
		v, ok := n[elem]
		return v, ok
	case []any:
		if i, ok := index(elem); ok && i < len(n) {
			return n[i], true
		}
	}
	return nil, false
}

// index reads an array index: decimal digits without a leading zero.
func index(elem string) (int, bool) {
	if elem == "" || elem[0] < '0' || elem[0] > '9' || elem[0] == '0' && len(elem) > 1 {
		return 0, false
	}
	i, err := strconv.Atoi(elem)
	return i, err == nil
}

// noKey explains why path names nothing in doc.
func noKey(doc map[string]any, path string) error {
	elems, err := splitPath(path)
	if err != nil {
		return err
	}
	var node any = doc
	n := 0
	for ; n < len(elems); n++ {
		next, ok := child(node, elems[n])
		if !ok {
			break
		}
		node = next
	}
	e := &KeyError{Path: path, Where: joinPath(elems[:n])}
	m, ok := node.(map[string]any)
	if !ok {
		e.Kind = kindOf(node)
		return e
	}
	keys := slices.Sorted(maps.Keys(m))
	if n < len(elems) {
		if near := closest(elems[n], keys); near != "" {
			e.Near = joinPath(append(slices.Clone(elems[:n]), near))
		}
	}
	e.Have, e.Other = someKeys(keys)
	return e
}

// someKeys keeps a list of names short enough for one line.
func someKeys(sorted []string) (some []string, other int) {
	const enough = 8
	if len(sorted) <= enough {
		return sorted, 0
	}
	return sorted[:enough], len(sorted) - enough
}

// Put puts value at path in doc, as [Store.Set] does: for the edit of
// [Store.Update] and [Store.Canary].
func Put(doc map[string]any, path string, value any) error {
	elems, err := splitPath(path)
	if err == nil {
		value, err = normalize(value, elems)
	}
	if err != nil {
		return err
	}
	return setPath(doc, path, value)
}

// setPath puts value at path. Objects missing on the way are made. In an array
// an index replaces an element, or appends if it is the array's length.
func setPath(doc map[string]any, path string, value any) error {
	elems, err := splitPath(path)
	if err != nil {
		return err
	}
	changed, err := setIn(doc, path, elems, 0, value)
	if err == nil {
		doc[elems[0]] = changed.(map[string]any)[elems[0]]
	}
	return err
}

// setIn returns node with elems[n:] under it set to value. It shares what it does
// not change with node, which stays as it is.
func setIn(node any, path string, elems []string, n int, value any) (any, error) {
	if n == len(elems) {
		return value, nil
	}
	switch c := node.(type) {
	case map[string]any:
		below, ok := c[elems[n]]
		if !ok {
			below = map[string]any{}
		}
		v, err := setIn(below, path, elems, n+1, value)
		if err != nil {
			return c, err
		}
		if c = maps.Clone(c); c == nil {
			c = map[string]any{}
		}
		c[elems[n]] = v
		return c, nil
	case []any:
		i, ok := index(elems[n])
		if !ok || i > len(c) {
			return c, &PathError{path, strconv.Quote(joinPath(elems[:n])) + " is " + kindOf(c) +
				": use an index from 0 to " + strconv.Itoa(len(c)) + " (which appends)"}
		}
		var below any = map[string]any{}
		if i < len(c) {
			below = c[i]
		}
		v, err := setIn(below, path, elems, n+1, value)
		if err != nil {
			return c, err
		}
		if c = slices.Clone(c); i == len(c) {
			return append(c, v), nil
		}
		c[i] = v
		return c, nil
	}
	return node, &PathError{path, strconv.Quote(joinPath(elems[:n])) + " is " + kindOf(node) +
		", not an object: unset it first"}
}

// unsetPath removes what path names. Later elements of an array move down.
func unsetPath(doc map[string]any, path string) error {
	elems, err := splitPath(path)
	if err != nil {
		return err
	}
	if _, err := Lookup(doc, path); err != nil {
		return err
	}
	unsetIn(doc, elems)
	return nil
}

// unsetIn removes elems, which exist, from under node and returns what node
// becomes (an array gets shorter).
func unsetIn(node any, elems []string) any {
	switch c := node.(type) {
	case map[string]any:
		if len(elems) == 1 {
			delete(c, elems[0])
		} else {
			c[elems[0]] = unsetIn(c[elems[0]], elems[1:])
		}
	case []any:
		i, _ := index(elems[0])
		if len(elems) == 1 {
			return slices.Delete(c, i, i+1)
		}
		c[i] = unsetIn(c[i], elems[1:])
	}
	return node
}
