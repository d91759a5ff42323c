package shmkit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"sort"
	"strings"
	"sync"

	"shmkit/logring"
	"shmkit/spawn"
)

// WorkerFunc is the body of a worker process. ctx ends when the worker is asked
// to stop (SIGTERM, SIGINT) or when the node is gone. A nil return is exit code
// 0; an error is exit code 1 and is told by [Group.Wait], with its text.
type WorkerFunc func(ctx context.Context, w *Worker) error

var (
	funcsMu sync.Mutex
	funcs   = map[string]WorkerFunc{}
)

// Func registers fn as the worker function called name and returns name, for
// use in a [Spec]. Register in package-level variables or init functions, so
// that the worker process, which is a second run of the same program, knows the
// function before [Main]. A name registered twice panics.
func Func(name string, fn WorkerFunc) string {
	funcsMu.Lock()
	defer funcsMu.Unlock()
	if name == "" || fn == nil {
		panic("shmkit: Func needs a name and a function")
	}
	if _, dup := funcs[name]; dup {
		panic("shmkit: worker function " + name + " registered twice")
	}
	funcs[name] = fn
	return name
}

func lookupFunc(name string) (WorkerFunc, error) {
	funcsMu.Lock()
	defer funcsMu.Unlock()
	if fn, ok := funcs[name]; ok {
		return fn, nil
	}
	known := make([]string, 0, len(funcs))
	for n := range funcs {
		known = append(known, n)
	}
	sort.Strings(known)
	return nil, fmt.Errorf("shmkit: worker function %q is not registered (there are: %s): register it with shmkit.Func in a package-level variable",
		name, strings.Join(known, ", "))
}

// Main turns this process into a worker if a node started it as one, or into a
// node if [Join] did: it runs what is registered for that, and exits. Otherwise it
// returns at once. Call it first in main, before flags are parsed or files are opened.
func Main() {
	if name, ok := nodeAsked(); ok {
		os.Exit(serve(name))
	}
	child, err := spawn.Attach()
	if errors.Is(err, spawn.ErrNotWorker) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(runWorker(child))
}

// Exit codes of a worker process that did not end by a signal.
const (
	exitOK     = 0
	exitFailed = 1
	exitPanic  = 2 // as the Go runtime's own
)

func runWorker(child *spawn.Child) int {
	fn, err := lookupFunc(child.Func)
	if err != nil {
		return failEarly(child, err)
	}
	w, err := attach(child)
	if err != nil {
		return failEarly(child, err)
	}
	defer w.close()
	return w.run(child, fn)
}

// failEarly reports an error for which there is no logger yet.
func failEarly(child *spawn.Child, err error) int {
	child.Fail(err.Error())
	fmt.Fprintln(os.Stderr, err)
	return exitFailed
}

// run calls fn. A panic becomes a log record and, on standard error, what the Go
// runtime would have printed.
func (w *Worker) run(child *spawn.Child, fn WorkerFunc) (code int) {
	defer func() {
		if p := recover(); p != nil {
			stack := debug.Stack()
			child.Fail(fmt.Sprintf("panic: %v", p))
			w.Log.LogAttrs(context.Background(), slog.LevelError, "worker panicked", slog.Any("panic", p))
			fmt.Fprintf(os.Stderr, "panic: %v\n\n%s", p, stack)
			w.lastWords()
			code = exitPanic
		}
	}()
	if err := fn(child.Context(), w); err != nil {
		if child.Context().Err() != nil && errors.Is(err, context.Canceled) {
			if w.files != nil {
				child.Fail(interrupted + err.Error()) // its part of the files may not be whole
			}
			return exitOK // asked to stop, and stopped
		}
		child.Fail(err.Error())
		w.Log.LogAttrs(context.Background(), slog.LevelError, "worker failed", slog.String("err", err.Error()))
		w.lastWords()
		return exitFailed
	}
	return exitOK
}

// lastWords waits a moment for the records of a worker that failed to be written: the
// node may be about to fail, too.
func (w *Worker) lastWords() {
	ctx, cancel := context.WithTimeout(context.Background(), logring.ExitWait)
	defer cancel()
	w.log.FlushTo(ctx, logring.Written)
}
