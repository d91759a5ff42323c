package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"shmkit"
	"shmkit/spawn"
)

// specFlags are the flags of shmkit run that say how its workers live.
type specFlags struct {
	restart  choiceFlag
	strategy choiceFlag
	cpus     cpusFlag
	umask    umaskFlag
	nice     int
	limits   limitsFlag
	pty      bool
	ready    time.Duration
}

var (
	restarts   = []string{"never", "on-failure", "always"}              // in the order of spawn.When
	strategies = []string{"one-for-one", "one-for-all", "rest-for-one"} // in the order of spawn.Strategy
	policies   = []string{"compact", "scatter", "core"}                 // in the order of spawn.PlacementPolicy, from PlaceCompact
)

func (o *specFlags) register(f *pflag.FlagSet) {
	o.restart.words, o.strategy.words = restarts, strategies
	f.Var(&o.restart, "restart", "start workers again that have ended: "+strings.Join(restarts, ", "))
	f.Var(&o.strategy, "restart-strategy", "who is started again with them: "+strings.Join(strategies, ", "))
	f.Var(&o.cpus, "cpus", "processors: compact[:N], scatter[:N], core, for each worker its own; or a list for all, as in 0-3,8")
	f.Var(&o.umask, "umask", "file mode creation mask of the workers, in octal")
	f.IntVar(&o.nice, "nice", 0, "added to the nice value of the workers")
	f.Var(&o.limits, "limit", "resource limit of the workers, as in nofile=1024 or core=unlimited (repeatable)")
	f.BoolVar(&o.pty, "pty", false, "give each worker a pseudo-terminal as its output")
	f.DurationVar(&o.ready, "ready", 0, "time a worker has to send READY=1 to $NOTIFY_SOCKET, as sd_notify(3) does (default: it need not)")
}

// apply completes a spec by what the flags say.
func (o *specFlags) apply(s *shmkit.Spec) {
	s.Restart = spawn.Restart{When: spawn.When(o.restart.chosen), Strategy: spawn.Strategy(o.strategy.chosen)}
	s.Placement = spawn.Placement(o.cpus)
	s.Process.Umask, s.Process.Nice, s.Process.Limits = string(o.umask), o.nice, o.limits
	s.Pty, s.ReadyTimeout = o.pty, o.ready
}

// choiceFlag is one of several words; the first is the default.
type choiceFlag struct {
	words  []string
	chosen int
}

func (f *choiceFlag) Type() string { return "WHICH" }
func (f *choiceFlag) String() string {
	if f.words == nil {
		return ""
	}
	return f.words[f.chosen]
}
func (f *choiceFlag) Set(s string) error {
	i := slices.Index(f.words, s)
	if i < 0 {
		return fmt.Errorf("give one of %s", strings.Join(f.words, ", "))
	}
	f.chosen = i
	return nil
}

// cpusFlag says on which processors the workers run.
type cpusFlag spawn.Placement

func (f *cpusFlag) Type() string { return "WHERE" }
func (f *cpusFlag) String() string {
	if f.Policy == spawn.PlaceAnywhere {
		return f.Within
	}
	return policies[f.Policy-spawn.PlaceCompact]
}
func (f *cpusFlag) Set(s string) error {
	name, width, has := strings.Cut(s, ":")
	i := slices.Index(policies, name)
	if i < 0 {
		if s == "" || strings.Trim(s, "0123456789,-") != "" {
			return fmt.Errorf("give compact[:N], scatter[:N], core, or a list as in 0-3,8")
		}
		*f = cpusFlag{Within: s}
		return nil
	}
	*f = cpusFlag{Policy: spawn.PlaceCompact + spawn.PlacementPolicy(i)}
	if !has {
		return nil
	}
	n, err := strconv.Atoi(width)
	if err != nil || n < 1 || f.Policy == spawn.PlaceCore {
		return fmt.Errorf("give the number of processors of one worker, as in compact:2; core takes none")
	}
	f.Width = n
	return nil
}

// umaskFlag is a file mode creation mask.
type umaskFlag string

func (f *umaskFlag) Type() string   { return "MODE" }
func (f *umaskFlag) String() string { return string(*f) }
func (f *umaskFlag) Set(s string) error {
	if n, err := strconv.ParseUint(s, 8, 32); err != nil || n > 0o777 {
		return fmt.Errorf("give an octal number up to 777")
	}
	*f = umaskFlag(s)
	return nil
}

// limitsFlag collects the NAME=VALUE of --limit.
type limitsFlag map[string]uint64

func (f *limitsFlag) Type() string   { return "NAME=VALUE" }
func (f *limitsFlag) String() string { return "" }
func (f *limitsFlag) Set(s string) error {
	name, value, ok := strings.Cut(s, "=")
	n, err := strconv.ParseUint(value, 10, 64)
	if value == "unlimited" {
		n, err = spawn.Unlimited, nil
	}
	if !ok || name == "" || err != nil {
		return fmt.Errorf("give NAME=VALUE with a number or unlimited, as in nofile=1024")
	}
	if *f == nil {
		*f = limitsFlag{}
	}
	(*f)[name] = n
	return nil
}
