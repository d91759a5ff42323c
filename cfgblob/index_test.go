package cfgblob

import (
	"fmt"
	"reflect"
	"sync"
	"testing"
)

// However often a version is looked up in, and by however many, a path names the same
// value, or the same error, as a walk from the root. Shown to fail by an index whose keys
// are not escaped.
func TestManyLookupsEqualWalks(t *testing.T) {
	doc := `{"":{"x":1},"a.b":{"c":2,"":3},"a":{"b":{"c":4},"list":[5,{"k":6},[7]]},"b\\":{"c":8},"0":[9],"empty":{},"none":null}`
	root, err := Parse([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	paths := []string{
		"", ".", "a", "a.b", `a\.b`, `a\.b.c`, "a.b.c", `a\.b.`, "a.list.0", "a.list.00", "a.list.1.k", "a.list.2.0", "a.list.3",
		`b\\.c`, `b\.c`, `b\`, "0.0", "0", "empty", "empty.x", "none", "none.x", ".x", "x", `\a`, "a..b",
	}
	snap := Snapshot{Doc: []byte(doc), tree: &lazyTree{doc: []byte(doc)}}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 2 * indexAfter {
				for _, path := range paths {
					want, wantErr := Lookup(root, path)
					got, err := snap.look(path)
					if !reflect.DeepEqual(got, want) || fmt.Sprint(err) != fmt.Sprint(wantErr) {
						t.Errorf("%q: %v, %v, a walk gives %v, %v", path, got, err, want, wantErr)
						return
					}
				}
			}
		})
	}
	all.Wait()
	if p := snap.tree.paths.Load(); p == nil || len(*p) == 0 {
		t.Error("there is no index")
	}
}

// A document that is too large for an index is walked.
func TestLargeDocumentIsWalked(t *testing.T) {
	root := map[string]any{}
	for i := range maxIndexed + 1 {
		root[fmt.Sprint("k", i)] = i
	}
	tree := parsedTree(root)
	for i := range 2 * indexAfter {
		if v, err := tree.look(fmt.Sprint("k", i)); err != nil || v != i {
			t.Fatalf("%v, %v", v, err)
		}
	}
	if n := len(*tree.paths.Load()); n != 0 {
		t.Errorf("%d paths are indexed", n)
	}
}
