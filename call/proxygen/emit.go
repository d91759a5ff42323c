package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/types"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A writer makes the source of a proxy.
type writer struct {
	*proxy
	b       bytes.Buffer
	imports map[string]string // path → name
}

func (w *writer) f(format string, args ...any) { fmt.Fprintf(&w.b, format, args...) }

// source is the generated file.
func (p *proxy) source() ([]byte, error) {
	w := &writer{proxy: p, imports: map[string]string{}}
	for _, name := range []string{p.name + "Calls", p.make("Calls"), p.make("Proxy"), p.hidden()} {
		if p.pkg.Scope().Lookup(name) != nil {
			return nil, fmt.Errorf("%s is declared already: the proxy of %s has that name", name, p.name)
		}
	}
	w.calls()
	w.constructors()
	for _, m := range p.methods {
		w.method(m)
	}
	body := bytes.Clone(w.b.Bytes())
	w.b.Reset()
	w.f(generated+"-type %s; DO NOT EDIT.\n\npackage %s\n\nimport (\n", p.name, p.pkg.Name())
	for _, path := range slices.Sorted(maps.Keys(w.imports)) {
		name := w.imports[path]
		if path[strings.LastIndex(path, "/")+1:] == name {
			name = ""
		}
		w.f("\t%s %q\n", name, path)
	}
	w.f(")\n\n%s", body)
	return format.Source(w.b.Bytes())
}

// make is the name of the function that makes one of the proxy's types.
func (p *proxy) make(what string) string {
	if ast.IsExported(p.name) {
		return "New" + p.name + what
	}
	return "new" + capital(p.name, unicode.ToUpper) + what
}

// hidden is the name of the type that implements the interface.
func (p *proxy) hidden() string { return capital(p.name, unicode.ToLower) + "Proxy" }

func capital(s string, to func(rune) rune) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(to(r)) + s[n:]
}

// calls writes the struct of functions.
func (w *writer) calls() {
	w.f("// %[1]sCalls are the methods of a %[1]s as functions, which shmkit/call carries from\n// workers to their owner: these and no others.\ntype %[1]sCalls struct {\n", w.name)
	for _, m := range w.methods {
		w.f("\t%s func%s\n", m.Name(), w.signature(m.Signature()))
	}
	w.f("}\n\n")
}

// signature is that of a field, with the names of the interface. The last parameter of
// a variadic method is a slice.
func (w *writer) signature(s *types.Signature) string {
	var results []string
	for v := range s.Results().Variables() {
		results = append(results, w.variable(v))
	}
	var parameters []string
	for v := range s.Params().Variables() {
		parameters = append(parameters, w.variable(v))
	}
	if len(results) == 1 && s.Results().At(0).Name() == "" {
		return "(" + strings.Join(parameters, ", ") + ") " + results[0]
	}
	return "(" + strings.Join(parameters, ", ") + ") (" + strings.Join(results, ", ") + ")"
}

func (w *writer) variable(v *types.Var) string {
	return strings.TrimSpace(v.Name() + " " + w.typ(v.Type()))
}

// typ writes a type, and notes what it needs imported.
func (w *writer) typ(t types.Type) string {
	return types.TypeString(t, func(p *types.Package) string {
		if p == w.pkg {
			return ""
		}
		return w.imported(p.Path(), p.Name())
	})
}

// imported is the name of a package in the file: its own, unless that is taken.
func (w *writer) imported(path, name string) string {
	if has, ok := w.imports[path]; ok {
		return has
	}
	taken := slices.Collect(maps.Values(w.imports))
	free := name
	for n := 2; slices.Contains(taken, free) || w.pkg.Scope().Lookup(free) != nil; n++ {
		free = name + strconv.Itoa(n)
	}
	w.imports[path] = free
	return free
}

func (w *writer) constructors() {
	w.f("// %s returns what an owner serves of b: all methods of %s.\n", w.make("Calls"), w.name)
	w.f("func %s(b %s) %sCalls {\n\treturn %[3]sCalls{\n", w.make("Calls"), w.name, w.name)
	for _, m := range w.methods {
		if !m.Signature().Variadic() {
			w.f("\t\t%s: b.%[1]s,\n", m.Name())
			continue
		}
		names, args := w.parameters(m.Signature(), false)
		w.f("\t\t%s: func(%s) %s { return b.%[1]s(%[4]s...) },\n", m.Name(), names, w.results(m.Signature()), args)
	}
	w.f("\t}\n}\n\n")
	w.f(`// %[1]s returns a %[2]s whose methods are those of the owner. calls are what
// call.Bind returned to a worker. A call ends with its context, and after the timeout,
// unless that is 0.
func %[1]s(calls %[2]sCalls, timeout %[4]s.Duration) %[2]s { return &%[3]s{calls, timeout} }

type %[3]s struct {
	calls   %[2]sCalls
	timeout %[4]s.Duration
}

// within is the context of a call. A nil one is the business of shmkit/call.
func (p *%[3]s) within(ctx %[5]s.Context) (%[5]s.Context, %[5]s.CancelFunc) {
	if p.timeout <= 0 || ctx == nil {
		return ctx, func() {}
	}
	return %[5]s.WithTimeout(ctx, p.timeout)
}
`, w.make("Proxy"), w.name, w.hidden(), w.imported("time", "time"), w.imported("context", "context"))
}

func (w *writer) method(m *types.Func) {
	names, args := w.parameters(m.Signature(), m.Signature().Variadic())
	w.f("\nfunc (p *%s) %s(%s) %s {\n\tctx, cancel := p.within(ctx)\n\tdefer cancel()\n\treturn p.calls.%[2]s(%[5]s)\n}\n",
		w.hidden(), m.Name(), names, w.results(m.Signature()), args)
}

// parameters are those of a function with a body, as they are declared and as they are
// passed on. Their names are the interface's, where those mean nothing else in it.
func (w *writer) parameters(s *types.Signature, variadic bool) (declared, args string) {
	var d, a []string
	taken := []string{"", "_", "ctx", "p", "b", "cancel"}
	for i := range s.Params().Len() {
		v := s.Params().At(i)
		name, typ := v.Name(), w.typ(v.Type())
		if variadic && i == s.Params().Len()-1 {
			typ = "..." + w.typ(v.Type().(*types.Slice).Elem())
		}
		if i == 0 {
			name = "ctx"
		} else if slices.Contains(taken, name) {
			name = "arg" + strconv.Itoa(i)
		}
		for i > 0 && slices.Contains(taken, name) {
			name += "_"
		}
		taken = append(taken, name)
		d, a = append(d, name+" "+typ), append(a, name)
	}
	return strings.Join(d, ", "), strings.Join(a, ", ")
}

func (w *writer) results(s *types.Signature) string {
	var list []string
	for v := range s.Results().Variables() {
		list = append(list, w.typ(v.Type()))
	}
	if len(list) == 1 {
		return list[0]
	}
	return "(" + strings.Join(list, ", ") + ")"
}
