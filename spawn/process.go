package spawn

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Process is what a worker's process is given by the system, before its first
// instruction. The zero value is what this process has.
type Process struct {
	// Umask in octal, "027".
	Umask string

	// Nice is added to this process's nice value; more is less important.
	// A negative one needs CAP_SYS_NICE or RLIMIT_NICE.
	Nice int

	// Scheduling is "batch", "idle", "fifo:PRIORITY" or "rr:PRIORITY"; the last two,
	// with priorities from 1 to 99, need CAP_SYS_NICE or RLIMIT_RTPRIO.
	Scheduling string

	// Limits are resource limits, soft and hard, under their names in limits.conf(5):
	// "nofile", "core", "as", "stack", … [Unlimited] is none. They are never above
	// the hard limits of this process. Without "nofile" a worker has the soft limit
	// that this process was started with.
	//
	// For a command they cost the start of this program's binary, which sets them and
	// then becomes the command (BenchmarkSpawnAttributes measures it). That is also why a command that then
	// cannot be executed ends with code 126, and is no failed Start.
	Limits map[string]uint64

	// User is whom the worker runs as: only root may choose.
	User *User

	// Cgroup is the directory of a version 2 cgroup to start in. This user must be
	// able to write to its cgroup.procs.
	Cgroup string

	// CleanEnv starts with an environment of PATH, HOME, USER, LOGNAME, SHELL, LANG,
	// LC_ALL, TZ, TMPDIR and TERM, as far as this process has them, in place of all it
	// has. Options.Env and Spec.Env are added as always.
	CleanEnv bool
}

// A User is a user and its groups, by number.
type User struct {
	UID, GID uint32
	Groups   []uint32
}

// Unlimited is a resource limit that is none.
const Unlimited = ^uint64(0)

// kept are the variables that CleanEnv keeps.
var kept = []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR", "TERM"}

// threadTraits are attributes that a child takes from the thread that forks it, and
// which that thread cannot always take back: lowering a nice value, or leaving
// SCHED_IDLE, needs rights that raising it did not. So there is a launcher for each
// combination in use; that is one thread, for all workers that have it.
type threadTraits struct {
	umask    int // −1: the process's
	nice     int
	policy   int // of sched_setscheduler(2); 0 is the normal one
	priority int
}

var plainTraits = threadTraits{umask: -1}

// policies are the numbers of sched_setscheduler(2), and whether they have a
// priority.
var policies = map[string]struct {
	number int
	timed  bool
}{"": {0, false}, "batch": {3, false}, "idle": {5, false}, "fifo": {1, true}, "rr": {2, true}}

func (p Process) traits() (threadTraits, error) {
	t := plainTraits
	if p.Umask != "" {
		mask, err := strconv.ParseUint(p.Umask, 8, 32)
		if err != nil || mask > 0o777 {
			return t, &SpecError{"Spec.Process.Umask", fmt.Errorf("%q: want an octal number up to 777", p.Umask)}
		}
		t.umask = int(mask)
	}
	if t.nice = p.Nice; t.nice < -40 || t.nice > 40 {
		return t, &SpecError{"Spec.Process.Nice", fmt.Errorf("%d: want -40 to 40", p.Nice)}
	}
	name, prio, has := strings.Cut(p.Scheduling, ":")
	policy, ok := policies[name]
	n, err := strconv.Atoi(prio)
	if !ok || has != policy.timed || has && (err != nil || n < 1 || n > 99) {
		return t, &SpecError{"Spec.Process.Scheduling", fmt.Errorf("%q: want batch, idle, fifo:N or rr:N with N from 1 to 99", p.Scheduling)}
	}
	t.policy, t.priority = policy.number, n
	return t, nil
}

// denied explains an attribute that the system refused.
func denied(field, value string, err error, need string) error {
	return &SpecError{field, fmt.Errorf("%s: %w: this process needs %s", value, err, need)}
}

var errNotRoot = errors.New("only root may start workers as somebody else")
