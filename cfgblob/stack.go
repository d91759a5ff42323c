package cfgblob

import (
	"slices"
	"strconv"
	"strings"
)

// A stack holds everything a store's documents are made of, lowest first: the
// sources as they were read last, then what was changed while the store ran.
// A worker's document is what its layers make when they are laid on top of each
// other. A stack is never modified; a change makes another one.
type stack struct {
	sources []Layer
	runtime []runtimeLayer // everybody's first, then by weight of their audience
	canary  *canaryLayer   // on top, while it lasts

	general map[string]any // what document makes of it for nobody in particular, if known
}

// A runtimeLayer holds the changes made for one audience.
type runtimeLayer struct {
	audience Audience
	changes  patch
}

// A canaryLayer holds a change that only some workers see, for the time being.
type canaryLayer struct {
	audience Audience
	changes  patch
	author   string
	version  uint64 // that began it
}

// document is what m reads.
func (st stack) document(m member) map[string]any {
	if m == (member{}) && st.general != nil {
		return st.general
	}
	layers := st.layersOf(m)
	doc := layers[0].Tree // what NewStore was given: it removes nothing
	for _, l := range layers[1:] {
		doc = apply(doc, l.Tree)
	}
	return doc
}

// layersOf lists the layers of m's document, lowest first.
func (st stack) layersOf(m member) []Layer {
	var list []Layer
	for _, l := range st.sources {
		if l.For.has(m) {
			list = append(list, l)
		}
	}
	for _, r := range st.runtime {
		if r.audience.has(m) {
			list = append(list, Layer{Name: runtimeName, Tree: r.changes, For: r.audience})
		}
	}
	if c := st.canary; c != nil && c.audience.has(m) {
		list = append(list, Layer{Name: canaryName, Tree: c.changes, For: c.audience})
	}
	return list
}

const (
	runtimeName = "runtime"
	canaryName  = "canary"
)

// signature tells which layers of m's document are not everybody's: workers with
// one signature share a document. It is "" for those who read the general one.
func (st stack) signature(m member) string {
	var b strings.Builder
	add := func(kind byte, name string) {
		b.WriteByte(kind)
		b.WriteString(name)
		b.WriteByte(' ')
	}
	for i, l := range st.sources {
		if !l.For.everybody() && l.For.has(m) {
			add('s', strconv.Itoa(i))
		}
	}
	for _, r := range st.runtime {
		if !r.audience.everybody() && r.audience.has(m) {
			add('r', r.audience.String())
		}
	}
	if c := st.canary; c != nil && c.audience.has(m) {
		add('c', strconv.FormatUint(c.version, 10))
	}
	return b.String()
}

// audiences lists those who have a document of their own.
func (st stack) audiences() []Audience {
	var list []Audience
	for _, l := range st.sources {
		list = append(list, l.For)
	}
	for _, r := range st.runtime {
		list = append(list, r.audience)
	}
	if st.canary != nil {
		list = append(list, st.canary.audience)
	}
	return slices.DeleteFunc(list, Audience.everybody)
}

// changesFor are the runtime changes for exactly an audience.
func (st stack) changesFor(a Audience) patch {
	name := a.String()
	for _, r := range st.runtime {
		if r.audience.String() == name {
			return r.changes
		}
	}
	return nil
}

// withChanges is st with other runtime changes for an audience.
func (st stack) withChanges(a Audience, changes patch) stack {
	a = a.normal()
	name := a.String()
	if a.everybody() {
		st.general = nil
	}
	st.runtime = slices.DeleteFunc(slices.Clone(st.runtime), func(r runtimeLayer) bool { return r.audience.String() == name })
	if len(changes) == 0 {
		return st
	}
	at := 0
	for at < len(st.runtime) && st.runtime[at].audience.weight() <= a.weight() {
		at++
	}
	st.runtime = slices.Insert(st.runtime, at, runtimeLayer{a, changes})
	return st
}

// changed is st with the runtime changes that make now of old, which somebody of
// an audience reads.
func (st stack) changed(a Audience, old, now map[string]any) stack {
	m := a.sample()
	next := st.withChanges(a, compose(st.changesFor(a), diff(old, now)))
	if sameTree(next.document(m), now) {
		if a.everybody() {
			next.general = now
		}
		return next
	}
	// A key was removed and is now an object, or a later layer hides the change:
	// what is below says what is left to be changed.
	return st.withChanges(a, diff(st.withChanges(a, nil).document(m), now))
}
