// Command proxygen writes what lets a worker use an interface whose methods run in the
// owner: with package shmkit/call, as if the object were its own.
//
//	//go:generate go run shmkit/call/proxygen -type Bank
//
//	type Bank interface {
//		Withdraw(ctx context.Context, n int) (left int, err error)
//	}
//
// makes bank_proxy.go with three declarations:
//
//	// A struct with a function for each method of the interface, and no others.
//	type BankCalls struct {
//		Withdraw func(ctx context.Context, n int) (left int, err error)
//	}
//
//	// What the owner serves: call.Serve(o, NewBankCalls(b)).
//	func NewBankCalls(b Bank) BankCalls
//
//	// A Bank for the worker, over what call.Bind[BankCalls](conn) returned.
//	func NewBankProxy(calls BankCalls, timeout time.Duration) Bank
//
// The interface is the subset: an object can have more methods, which no worker can
// call. An owner that offers fewer, to some workers or to all, sets fields of the
// struct to nil or uses call.Options.Allow.
//
// A call of the proxy is one of package call: it runs at most once, under the caller's
// context with its deadline, or the timeout if that is earlier, and its error is a
// *call.Error, in which errors.Is and errors.As find what is registered.
//
// Each method takes a context.Context first and returns an error last; the other types
// are those that encoding/json writes and reads. What cannot travel (channels,
// functions, interfaces with methods) is refused, by name. Embedded interfaces and
// variadic methods are as good as others; interfaces with type parameters are not.
//
// Usage:
//
//	proxygen -type NAME [-o FILE] [DIR]
//
// DIR is the folder of the package, the current one by default; the interface may be
// in a test file. FILE is by default name_proxy.go in DIR, or name_proxy_test.go.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

// run is main with its surroundings passed in.
func run(args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("proxygen", flag.ContinueOnError)
	flags.SetOutput(stderr)
	name := flags.String("type", "", "the interface")
	out := flags.String("o", "", "the file to write (default name_proxy.go in DIR)")
	if err := flags.Parse(args); err == flag.ErrHelp {
		return 0
	} else if err != nil {
		return 2
	}
	if *name == "" || flags.NArg() > 1 {
		fmt.Fprintln(stderr, "proxygen: want a type and at most one folder: proxygen -type NAME [-o FILE] [DIR]")
		return 2
	}
	dir := "."
	if flags.NArg() == 1 {
		dir = flags.Arg(0)
	}
	if err := generate(dir, *name, *out); err != nil {
		fmt.Fprintln(stderr, "proxygen:", err)
		return 1
	}
	return 0
}

// generate writes the file, which is whole or as it was.
func generate(dir, name, out string) error {
	p, err := load(dir, name)
	if err != nil {
		return err
	}
	if out == "" {
		suffix := "_proxy.go"
		if p.test {
			suffix = "_proxy_test.go"
		}
		out = filepath.Join(dir, strings.ToLower(name)+suffix)
	}
	text, err := p.source()
	if err != nil {
		return err
	}
	temp := out + ".new"
	if err := os.WriteFile(temp, text, 0o666); err != nil {
		return err
	}
	if err := os.Rename(temp, out); err != nil {
		os.Remove(temp)
		return err
	}
	return nil
}
