package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"shmkit/cfgblob"
	"shmkit/spawn"
)

// The flag values below check what they are given while the command line is
// parsed, so that a wrong one is a usage error before anything has begun.

// workersFlag is the N of -n.
type workersFlag int

func (f *workersFlag) Type() string   { return "N" }
func (f *workersFlag) String() string { return strconv.Itoa(int(*f)) }
func (f *workersFlag) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > spawn.MaxWorkers {
		return fmt.Errorf("give a number from 1 to %d", spawn.MaxWorkers)
	}
	*f = workersFlag(n)
	return nil
}

// runNameFlag is the name of a run.
type runNameFlag string

func (f *runNameFlag) Type() string   { return "RUN" }
func (f *runNameFlag) String() string { return string(*f) }
func (f *runNameFlag) Set(s string) error {
	if err := spawn.CheckRunName(s); err != nil {
		return fmt.Errorf("%s", bare(err))
	}
	*f = runNameFlag(s)
	return nil
}

// assignmentsFlag collects the KEY=VALUE of --set.
type assignmentsFlag []string

func (f *assignmentsFlag) Type() string   { return "KEY=VALUE" }
func (f *assignmentsFlag) String() string { return strings.Join(*f, " ") }
func (f *assignmentsFlag) Set(s string) error {
	if _, _, err := cfgblob.ParseAssignment(s); err != nil {
		return fmt.Errorf("%s", bare(err))
	}
	*f = append(*f, s)
	return nil
}

// signalsFlag collects the signals of --stop-signal.
type signalsFlag []syscall.Signal

func (f *signalsFlag) Type() string { return "SIGNAL" }
func (f *signalsFlag) String() string {
	var names []string
	for _, s := range *f {
		names = append(names, unix.SignalName(s))
	}
	return strings.Join(names, " ")
}
func (f *signalsFlag) Set(s string) error {
	sig := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(s), "SIG"))
	if n, err := strconv.Atoi(s); err == nil {
		sig = syscall.Signal(n)
	}
	if sig <= 0 || sig > 64 || sig == syscall.SIGKILL || sig == syscall.SIGSTOP {
		return fmt.Errorf("give the name of a signal that can be caught, as in USR1")
	}
	*f = append(*f, sig)
	return nil
}

func (f signalsFlag) list() []os.Signal {
	var all []os.Signal
	for _, s := range f {
		all = append(all, s)
	}
	return all
}

// audienceFlag chooses workers: GROUP, GROUP/RANK,RANK or */RANK.
type audienceFlag cfgblob.Audience

func (f *audienceFlag) Type() string   { return "WORKERS" }
func (f *audienceFlag) String() string { return cfgblob.Audience(*f).String() }
func (f *audienceFlag) Set(s string) error {
	a, err := cfgblob.ParseAudience(s)
	if err != nil {
		return fmt.Errorf("%s", bare(err))
	}
	*f = audienceFlag(a)
	return nil
}
