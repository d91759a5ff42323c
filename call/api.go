package call

import (
	"context"
	"fmt"
	"hash/fnv"
	"reflect"
	"strconv"
)

var (
	contextType = reflect.TypeFor[context.Context]()
	errorType   = reflect.TypeFor[error]()
)

// A method is one function field of an API struct.
type method struct {
	name      string
	signature string // two functions with the same one take and return the same
	field     int
	typ       reflect.Type
	in, out   []reflect.Type // without the context and without the error
}

// methodsOf lists the functions of an API struct in the order of its fields.
func methodsOf(t reflect.Type) ([]method, error) {
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("call: API %v: want a struct of functions", t)
	}
	var ms []method
	for i := range t.NumField() {
		m, err := methodOf(t.Field(i))
		if err != nil {
			return nil, fmt.Errorf("call: API %v: field %s %w", t, t.Field(i).Name, err)
		}
		m.field = i
		ms = append(ms, m)
	}
	if len(ms) == 0 {
		return nil, fmt.Errorf("call: API %v: has no functions: give it exported fields of function type", t)
	}
	return ms, nil
}

func methodOf(f reflect.StructField) (m method, err error) {
	t := f.Type
	switch {
	case !f.IsExported():
		return m, fmt.Errorf("is not exported: begin it with a capital letter")
	case t.Kind() != reflect.Func:
		return m, fmt.Errorf("is a %v: want functions only", t)
	case t.IsVariadic():
		return m, fmt.Errorf("is variadic: take a slice")
	case t.NumIn() == 0 || t.In(0) != contextType:
		return m, fmt.Errorf("is a %v: take a context.Context first", t)
	case t.NumOut() == 0 || t.Out(t.NumOut()-1) != errorType:
		return m, fmt.Errorf("is a %v: return an error last", t)
	}
	for _, r := range f.Name {
		if r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') {
			return m, fmt.Errorf("has a name outside ASCII: choose another")
		}
	}
	m = method{name: f.Name, typ: t}
	for i := 1; i < t.NumIn(); i++ {
		m.in = append(m.in, t.In(i))
	}
	for i := range t.NumOut() - 1 {
		m.out = append(m.out, t.Out(i))
	}
	h := fnv.New64a()
	for _, list := range [][]reflect.Type{m.in, m.out} {
		for _, t := range list {
			switch k := t.Kind(); {
			case k == reflect.Chan, k == reflect.Func, k == reflect.UnsafePointer, k == reflect.Interface && t.NumMethod() > 0:
				return m, fmt.Errorf("takes or returns a %v: only what has a JSON form can travel", t)
			}
			fmt.Fprintf(h, "%s %v,", t.PkgPath(), t)
		}
		fmt.Fprint(h, ";")
	}
	m.signature = strconv.FormatUint(h.Sum64(), 16)
	return m, nil
}

// zeros are the results of a call that failed.
func (m method) zeros() []reflect.Value {
	out := make([]reflect.Value, 0, len(m.out)+1)
	for _, t := range m.out {
		out = append(out, reflect.Zero(t))
	}
	return out
}

// errorValue makes a result of an error.
func errorValue(err error) reflect.Value {
	v := reflect.New(errorType).Elem()
	if err != nil {
		v.Set(reflect.ValueOf(err))
	}
	return v
}
