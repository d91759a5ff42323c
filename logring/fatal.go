package logring

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// LevelFatal is the level of the last record of a program that gives up. slog shows
// it as ERROR+4.
const LevelFatal slog.Level = 12

// ExitWait is how long [Fatal], [LogPanic] and [FlushOnSignal] wait for the sinks.
// The records themselves need no wait: they are in the node's memory.
const ExitWait = 3 * time.Second

// Fatal logs a record at [LevelFatal] and ends the process with exit code 1. Before
// that it waits, at most [ExitWait], until the sinks have written and synced: who
// sees the process end finds the record in the log. A nil logger is [slog.Default].
//
// Deferred functions do not run, as with log.Fatal.
func Fatal(l *slog.Logger, msg string, args ...any) {
	if l == nil {
		l = slog.Default()
	}
	var pc [1]uintptr
	runtime.Callers(2, pc[:])
	r := slog.NewRecord(time.Now(), LevelFatal, msg, pc[0])
	r.Add(args...)
	last(l, r)
	os.Exit(1)
}

// LogPanic, when it is deferred, logs a panic at [LevelFatal] with its stack, waits as
// [Fatal] does, and lets the panic go on. Put it first into each goroutine whose
// panic is to stand in the log:
//
//	go func() {
//		defer logring.LogPanic(log)
//		…
//	}()
//
// A nil logger is [slog.Default].
func LogPanic(l *slog.Logger) {
	p := recover()
	if p == nil {
		return
	}
	if l == nil {
		l = slog.Default()
	}
	r := slog.NewRecord(time.Now(), LevelFatal, "panic", 0)
	r.AddAttrs(slog.String("panic", panicValue(p)), slog.String("stack", string(debug.Stack())))
	last(l, r)
	panic(p)
}

// panicValue is the text of a panic's value, whose own methods may panic.
func panicValue(p any) (s string) {
	defer func() {
		if again := recover(); again != nil {
			s = fmt.Sprintf("%T, whose text panicked", p)
		}
	}()
	return fmt.Sprint(p)
}

// last logs the last record and waits for the sinks.
func last(l *slog.Logger, r slog.Record) {
	ctx, cancel := context.WithTimeout(context.Background(), ExitWait)
	defer cancel()
	h := l.Handler()
	h.Handle(ctx, r) // whatever the level
	if own, ok := h.(*handler); ok {
		own.out.flushTo(ctx, Synced)
	}
}

// FlushOnSignal makes a signal that would end the process wait until the sinks
// have written and synced what was logged, at most [ExitWait]; then it takes its
// course. It is for programs that do not handle the signal themselves: one that does,
// as a worker function does through its context, flushes where it ends. It returns
// what undoes it.
//
//	defer w.FlushOnSignal(syscall.SIGTERM, os.Interrupt)()
func (w *Writer) FlushOnSignal(signals ...os.Signal) (stop func()) {
	c, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(c, signals...)
	go func() {
		select {
		case s := <-c:
			ctx, cancel := context.WithTimeout(context.Background(), ExitWait)
			defer cancel()
			w.FlushTo(ctx, Synced)
			signal.Stop(c) // now it does what it does by itself
			if self, err := os.FindProcess(os.Getpid()); err == nil {
				self.Signal(s)
			}
		case <-done:
		}
	}()
	return sync.OnceFunc(func() {
		signal.Stop(c)
		close(done)
	})
}
