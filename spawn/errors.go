package spawn

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

var (
	// ErrRunning is wrapped by *[RunningError].
	ErrRunning = errors.New("the run already has a server")

	// ErrNotWorker is what [Attach] returns in a process that was not started by
	// a [Server] as a function worker.
	ErrNotWorker = errors.New("spawn: attach: this process is not a worker (it was not started with Spec.Func)")

	// ErrBusy is wrapped when a message found no room.
	ErrBusy = errors.New("the other side does not read its messages")

	// ErrServerGone is the cause of [Child.Context] when the server died or has
	// closed the control socket.
	ErrServerGone = errors.New("spawn: the server of this worker is gone")

	// ErrEnding is wrapped when a run takes no guests any more.
	ErrEnding = errors.New("the run is ending: join its successor")

	// ErrAskedToLeave is the cause of [Child.Context] of a process that joined
	// when the server stops: [Child.Leave] is expected.
	ErrAskedToLeave = errors.New("spawn: the server stops and asks its guests to leave")
)

// RunningError says that another server holds the run.
type RunningError struct {
	Run string
	Dir string // of the run
	Pid int    // of the holder, as it wrote it down; 0 when unknown
}

func (e *RunningError) Error() string {
	who := "another process"
	if e.Pid > 0 {
		who = "process " + strconv.Itoa(e.Pid)
	}
	return fmt.Sprintf("spawn: run %q is already running: %s holds %s: choose another run name, or stop that one", e.Run, who, e.Dir)
}

func (e *RunningError) Unwrap() error { return ErrRunning }

// DirError says that a directory cannot be used as runtime or run directory.
type DirError struct {
	Dir string
	Err error // why, and what to do
}

func (e *DirError) Error() string { return fmt.Sprintf("spawn: directory %s: %v", e.Dir, e.Err) }
func (e *DirError) Unwrap() error { return e.Err }

// SpecError says what is wrong with a field of Options or Spec.
type SpecError struct {
	Field string
	Err   error // why, and what to do
}

func (e *SpecError) Error() string { return fmt.Sprintf("spawn: %s: %v", e.Field, e.Err) }
func (e *SpecError) Unwrap() error { return e.Err }

// CommandError says that a program cannot be started. Err wraps
// [os/exec.ErrNotFound], [io/fs.ErrPermission] or the system's error.
type CommandError struct {
	Name string
	Err  error // why, and what to do
}

func (e *CommandError) Error() string { return fmt.Sprintf("spawn: command %q: %v", e.Name, e.Err) }
func (e *CommandError) Unwrap() error { return e.Err }

// LimitError says that the system does not have what a start needs.
type LimitError struct {
	Group     string
	What      string // "file descriptors (RLIMIT_NOFILE)", "processes (pids.max of …)"
	Need      int
	Available int // at most 0: none
	Hint      string
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("spawn: start group %q: needs %d %s, %d available: %s", e.Group, e.Need, e.What, max(e.Available, 0), e.Hint)
}

// StartError says which worker of a group could not be started. The workers
// before it were stopped again.
type StartError struct {
	Group string
	Rank  int
	Err   error
}

func (e *StartError) Error() string {
	return fmt.Sprintf("spawn: start worker %d of group %q: %s", e.Rank, e.Group, trimPrefix(e.Err))
}
func (e *StartError) Unwrap() error { return e.Err }

// NotReadyError says that a worker was not ready in time, or ended before it was.
type NotReadyError struct {
	Group   string
	Rank    int
	Pid     int
	Timeout time.Duration
	Exit    *Exit // nil when it was killed for being late
}

func (e *NotReadyError) Error() string {
	if e.Exit != nil && e.Exit.Reason != ReasonNotReady {
		return fmt.Sprintf("spawn: ended before it was ready: %s", e.Exit)
	}
	return fmt.Sprintf("spawn: worker %d (pid %d) of group %q was not ready within %v and was killed: let it call Child.Ready (a command: send READY=1 to NOTIFY_SOCKET) earlier, or raise Spec.ReadyTimeout", e.Rank, e.Pid, e.Group, e.Timeout)
}

// GiveUpError says that a group had more restarts than its [Restart] allows, and
// which worker's end was the last of them. All workers were stopped then.
type GiveUpError struct {
	Group    string
	Rank     int
	Restarts int           // allowed …
	Period   time.Duration // … in this time
	Exit     *Exit         // of that worker; nil when it could not be started
	Start    error         // why it could not be started
	Err      error         // an *ExitError of the group, or nil
}

func (e *GiveUpError) Error() string {
	var why string
	if e.Exit != nil {
		why = e.Exit.String()
	} else {
		why = trimPrefix(e.Start)
	}
	return fmt.Sprintf("spawn: group %q gave up, more than %d restarts in %v were needed: %s: cure that, or allow more in Spec.Restart", e.Group, e.Restarts, e.Period, why)
}

func (e *GiveUpError) Unwrap() []error {
	var errs []error
	for _, err := range []error{e.Start, e.Err} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// ReloadError says at which worker a reload failed. The group runs what it ran
// before.
type ReloadError struct {
	Group   string
	Rank    int
	Program string
	Err     error
}

func (e *ReloadError) Error() string {
	return fmt.Sprintf("spawn: reload group %q with %s, worker %d: %s: the old program has its place back", e.Group, e.Program, e.Rank, trimPrefix(e.Err))
}
func (e *ReloadError) Unwrap() error { return e.Err }

// trimPrefix is for errors inside errors.
func trimPrefix(err error) string { return strings.TrimPrefix(err.Error(), "spawn: ") }

// MessageError says which message could not be sent.
type MessageError struct {
	To  string // `worker 3 of group "count"`, or "the server"
	Err error
}

func (e *MessageError) Error() string { return fmt.Sprintf("spawn: message to %s: %v", e.To, e.Err) }
func (e *MessageError) Unwrap() error { return e.Err }

// SignalError is the cause of [Child.Context] when a signal ended it.
type SignalError struct{ Signal os.Signal }

func (e *SignalError) Error() string {
	return fmt.Sprintf("spawn: the worker was asked to stop (%s)", e.Signal)
}
