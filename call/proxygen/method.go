package main

import (
	"errors"
	"fmt"
	"go/types"
	"unicode/utf8"
)

// methodsOf lists the methods of an interface, in the order of their names, and says
// what is in the way of calling them in another process: what shmkit/call would say
// when the program runs.
func methodsOf(o types.Object) ([]*types.Func, error) {
	t, ok := o.(*types.TypeName)
	if !ok {
		return nil, fmt.Errorf("%s is no type", o.Name())
	}
	i, ok := t.Type().Underlying().(*types.Interface)
	if !ok {
		return nil, fmt.Errorf("%s is no interface: declare one with the methods that workers may call", t.Name())
	}
	if n, ok := t.Type().(*types.Named); ok && n.TypeParams().Len() > 0 {
		return nil, fmt.Errorf("%s has type parameters: declare an interface without", t.Name())
	}
	if !i.IsMethodSet() || i.NumMethods() == 0 {
		return nil, fmt.Errorf("%s has no methods: give it those that workers may call", t.Name())
	}
	var all []*types.Func
	var errs []error
	for m := range i.Methods() {
		if err := callable(m); err != nil {
			errs = append(errs, fmt.Errorf("method %s.%s %w", t.Name(), m.Name(), err))
		}
		all = append(all, m)
	}
	return all, errors.Join(errs...)
}

func callable(m *types.Func) error {
	s := m.Signature()
	in, out := s.Params(), s.Results()
	switch {
	case !m.Exported():
		return fmt.Errorf("is not exported: begin it with a capital letter")
	case in.Len() == 0 || !isContext(in.At(0).Type()):
		return fmt.Errorf("is a %v: take a context.Context first", s)
	case out.Len() == 0 || !types.Identical(out.At(out.Len()-1).Type(), types.Universe.Lookup("error").Type()):
		return fmt.Errorf("is a %v: return an error last", s)
	}
	for _, r := range m.Name() {
		if r >= utf8.RuneSelf {
			return fmt.Errorf("has a name outside ASCII: choose another")
		}
	}
	for i := 1; i < in.Len(); i++ {
		if err := travels(in.At(i).Type()); err != nil {
			return fmt.Errorf("takes %w", err)
		}
	}
	for i := range out.Len() - 1 {
		if err := travels(out.At(i).Type()); err != nil {
			return fmt.Errorf("returns %w", err)
		}
	}
	return nil
}

func isContext(t types.Type) bool {
	n, ok := types.Unalias(t).(*types.Named)
	return ok && n.Obj().Pkg() != nil && n.Obj().Pkg().Path() == "context" && n.Obj().Name() == "Context"
}

// travels says what has no JSON form. It looks at the type itself, as shmkit/call does,
// and for types that are not there at any depth that has no name.
func travels(t types.Type) error {
	switch u := t.Underlying().(type) {
	case *types.Chan, *types.Signature:
		return fmt.Errorf("a %v: only what has a JSON form can travel", t)
	case *types.Interface:
		if u.NumMethods() > 0 {
			return fmt.Errorf("a %v, an interface: only what has a JSON form can travel", t)
		}
	case *types.Basic:
		if u.Kind() == types.UnsafePointer {
			return fmt.Errorf("a %v: only what has a JSON form can travel", t)
		}
		if u.Kind() == types.Invalid {
			return fmt.Errorf("a type that is not there: build the packages that it imports")
		}
	}
	switch t := types.Unalias(t).(type) {
	case *types.Pointer:
		return unknown(t.Elem())
	case *types.Slice:
		return unknown(t.Elem())
	case *types.Array:
		return unknown(t.Elem())
	case *types.Map:
		return errors.Join(unknown(t.Key()), unknown(t.Elem()))
	}
	return nil
}

// unknown is travels for what is inside, of which only types that are not there matter.
func unknown(t types.Type) error {
	if b, ok := t.(*types.Basic); ok && b.Kind() == types.Invalid {
		return travels(b)
	}
	switch t.(type) {
	case *types.Pointer, *types.Slice, *types.Array, *types.Map:
		return travels(t)
	}
	return nil
}
