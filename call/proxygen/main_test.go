package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// module is a folder with a module of its own that sees this one.
func module(t *testing.T, files map[string]string) (dir string, environment []string) {
	t.Helper()
	dir = t.TempDir()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	put := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("go.mod", "module example\n\ngo 1.26.0\n")
	put("go.work", fmt.Sprintf("go 1.26.0\n\nuse (\n\t.\n\t%q\n)\n", root))
	for name, text := range files {
		put(name, text)
	}
	t.Setenv("GOWORK", filepath.Join(dir, "go.work")) // of the generator, too
	t.Setenv("GOFLAGS", "")
	return dir, os.Environ()
}

// proxygen runs the command.
func proxygen(args ...string) (code int, said string) {
	var errs strings.Builder
	code = run(args, &errs)
	return code, errs.String()
}

// What is generated compiles, implements the interface, and its calls run in another
// process: with its errors, its context and its deadlines.
func TestGeneratedProxy(t *testing.T) {
	files := map[string]string{}
	for _, name := range []string{"bank.go", "main.go", "ledger/ledger.go"} {
		text, err := os.ReadFile(filepath.Join("testdata/bank", name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(text)
	}
	dir, env := module(t, files)
	for range 2 { // the second time over the first file
		if code, said := proxygen("-type", "Bank", dir); code != 0 || said != "" {
			t.Fatal(code, said)
		}
	}
	program := filepath.Join(dir, "bank")
	command := func(name string, args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // a guard
		defer cancel()
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir, cmd.Env = dir, append(env, "SHMKIT_DIR="+t.TempDir())
		out, err := cmd.CombinedOutput()
		if err != nil {
			text, _ := os.ReadFile(filepath.Join(dir, "bank_proxy.go"))
			t.Fatalf("%s: %v\n%s\n%s", name, err, out, text)
		}
		return string(out)
	}
	command("go", "vet", ".")
	command("go", "build", "-o", program, ".")
	if got := command(program); got != "balance 812\n" { // 1000 − 2·100 + 2·6
		t.Errorf("%q", got)
	}
}

// An interface of a test file has its proxy in one.
func TestInterfaceOfATest(t *testing.T) {
	dir, _ := module(t, map[string]string{
		"p.go": "package p\n\ntype Counter int\n",
		"p_test.go": `package p_test

import (
	"context"
	"testing"
	myfs "io/fs"
)

type time struct{ N int }

type counter interface {
	Get(context.Context, myfs.FileMode) (time, error)
}

type fake struct{}

func (fake) Get(context.Context, myfs.FileMode) (time, error) { return time{7}, nil }

func Test(t *testing.T) {
	c := newCounterProxy(newCounterCalls(fake{}), 0)
	if n, err := c.Get(t.Context(), 0); n.N != 7 || err != nil {
		t.Error(n, err)
	}
}
`})
	if code, said := proxygen("-type=counter", dir); code != 0 {
		t.Fatal(said)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", ".")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		text, _ := os.ReadFile(filepath.Join(dir, "counter_proxy_test.go"))
		t.Errorf("%v\n%s\n%s", err, out, text)
	}
}

// What cannot be called in another process is refused, by name.
func TestRefused(t *testing.T) {
	dir, _ := module(t, map[string]string{"p.go": `package p

import (
	"context"
	"fmt"
	"nowhere/to/be/found"
)

type (
	Number   int
	Empty    interface{}
	Union    interface{ ~int | ~string }
	Of[T any] interface{ Do(context.Context, T) error }
	Bad      interface {
		do(context.Context) error
		NoContext() error
		NoError(context.Context) int
		Chan(context.Context, chan int) error
		Func(context.Context) (func(), error)
		Iface(context.Context, fmt.Stringer) error
		Unknown(context.Context, []*found.Thing) error
		Ö(context.Context) error
	}
	Taken    interface { Do(context.Context) error }
	TakenCalls struct{}
)

var variable Number
`})
	for name, says := range map[string]string{
		"Nosuch":   "no file declares a type Nosuch",
		"variable": "no file declares a type variable",
		"Number":   "Number is no interface: declare one with the methods that workers may call",
		"Empty":    "Empty has no methods: give it those that workers may call",
		"Union":    "Union has no methods",
		"Of":       "Of has type parameters: declare an interface without",
		"Taken":    "TakenCalls is declared already: the proxy of Taken has that name",
		"Bad": "method Bad.Chan takes a chan int: only what has a JSON form can travel\n" +
			"method Bad.Func returns a func(): only what has a JSON form can travel\n" +
			"method Bad.Iface takes a fmt.Stringer, an interface: only what has a JSON form can travel\n" +
			"method Bad.NoContext is a func() error: take a context.Context first\n" +
			"method Bad.NoError is a func(context.Context) int: return an error last\n" +
			"method Bad.Unknown takes a type that is not there: build the packages that it imports\n" +
			"method Bad.Ö has a name outside ASCII: choose another\n" +
			"method Bad.do is not exported: begin it with a capital letter\n",
	} {
		if code, said := proxygen("-type="+name, dir); code != 1 || !strings.Contains(said, says) {
			t.Errorf("%s: exit code %d, %q\nwant %q", name, code, said, says)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*_proxy*")); left != nil {
		t.Errorf("written all the same: %v", left)
	}
	for _, args := range [][]string{nil, {"-type=X", "a", "b"}, {"-nosuch"}} {
		if code, said := proxygen(args...); code != 2 || said == "" {
			t.Errorf("%v: exit code %d, %q", args, code, said)
		}
	}
	if code, _ := proxygen("-h"); code != 0 {
		t.Errorf("-h: exit code %d", code)
	}
}
