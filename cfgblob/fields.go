package cfgblob

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// A field is what encoding/json sees of a struct: a key and the type behind it.
type field struct {
	name   string
	typ    reflect.Type
	quoted bool // the ",string" option: the value is written inside a string

	secret bool   // `secret:"true"`, or of type Secret
	usage  string // `usage:"…"`

	rules    []rule // `check:"…"`
	required bool
	mistake  error // in that tag

	depth  int  // of embedding
	tagged bool // the name comes from a tag
}

var fieldCache sync.Map // reflect.Type → []field

// fieldsOf returns the fields of a struct type sorted by key, by encoding/json's
// rules: unexported ones do not count, those of embedded structs are promoted,
// and of several with one key the shallowest wins, then the tagged one, else
// none.
func fieldsOf(t reflect.Type) []field {
	if f, ok := fieldCache.Load(t); ok {
		return f.([]field)
	}
	all := collect(nil, t, 0, map[reflect.Type]bool{})
	slices.SortStableFunc(all, func(a, b field) int {
		return cmp.Or(strings.Compare(a.name, b.name), cmp.Compare(a.depth, b.depth), cmp.Compare(rank(a), rank(b)))
	})
	var fields []field
	for i := 0; i < len(all); {
		j := i + 1
		for j < len(all) && all[j].name == all[i].name {
			j++
		}
		if j == i+1 || all[i].depth != all[i+1].depth || all[i].tagged != all[i+1].tagged {
			fields = append(fields, all[i])
		}
		i = j
	}
	f, _ := fieldCache.LoadOrStore(t, fields)
	return f.([]field)
}

func rank(f field) int {
	if f.tagged {
		return 0
	}
	return 1
}

// collect appends the fields of t and of what it embeds; above holds the
// embedding types, which may be recursive.
func collect(list []field, t reflect.Type, depth int, above map[reflect.Type]bool) []field {
	if above[t] {
		return list
	}
	above[t] = true
	defer delete(above, t)
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		if tag == "-" {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		if !validName(name) {
			name = ""
		}
		inner := f.Type
		if inner.Kind() == reflect.Pointer && inner.Name() == "" {
			inner = inner.Elem()
		}
		switch {
		case f.Anonymous && inner.Kind() == reflect.Struct && name == "":
			list = collect(list, inner, depth+1, above)
			continue
		case !f.IsExported():
			continue
		}
		rules, required, mistake := parseRules(f.Tag.Get("check"))
		list = append(list, field{
			rules: rules, required: required, mistake: mistake,

			name:   cmp.Or(name, f.Name),
			typ:    f.Type,
			quoted: isScalar(f.Type) && slices.Contains(strings.Split(options, ","), "string"),
			secret: f.Tag.Get("secret") == "true" || inner == reflect.TypeFor[Secret](),
			usage:  f.Tag.Get("usage"),
			depth:  depth,
			tagged: name != "",
		})
	}
	return list
}

// isScalar tells whether the ",string" option has a meaning for t.
func isScalar(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer && t.Name() == "" {
		t = t.Elem()
	}
	k := t.Kind()
	return reflect.Bool <= k && k <= reflect.Float64 || k == reflect.String
}

// validName tells whether encoding/json takes a name from a tag.
func validName(s string) bool {
	for _, r := range s {
		if !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return false
		}
	}
	return s != ""
}

// names returns the keys of fields.
func names(fields []field) []string {
	list := make([]string, len(fields))
	for i, f := range fields {
		list[i] = f.name
	}
	return list
}
