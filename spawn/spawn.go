package spawn

import (
	"io"
	"os"
	"syscall"
	"time"
)

// Limits of the package. They bound what one call can ask for and what a hostile
// worker can make the server hold.
const (
	// MaxWorkers is the largest Spec.Workers.
	MaxWorkers = 16384

	// MaxLine is the longest piece of output, in bytes, that is delivered
	// unbroken, its newline not counted.
	MaxLine = 64 << 10

	// MaxMessage is the largest payload, in bytes, of one message between a
	// resource and its side in the worker.
	MaxMessage = 64 << 10

	// MaxMessageFiles is the number of files one message can carry.
	MaxMessageFiles = 16

	// DefaultStopTimeout is how long a worker has between SIGTERM and SIGKILL.
	DefaultStopTimeout = 10 * time.Second

	// ExitServerGone is the exit code of a function worker that ended because its
	// server was gone (EX_UNAVAILABLE of sysexits.h).
	ExitServerGone = 69
)

// A Resource is something that every function worker of a server is given under
// a name: a log ring, a configuration, a listener. It uses types of the standard
// library only, so that others implement it without importing this package.
//
// Donate is called once per worker, before it is started, in the order of the
// resources' names.
//
//   - files are placed in the worker and handed out by [Child.Resource]. The
//     server takes ownership: it closes its copies after the start, or when the
//     start fails. Give each worker its own open file description: a shared
//     one can be locked, seeked or made non-blocking by any of them.
//   - words travel in the environment: non-empty, of [A-Za-z0-9._/=-] only.
//   - lease is held for the life of the worker. Its Close is called exactly
//     once: after the worker is dead, its output drained and its last message
//     delivered, or when the start fails. A nil lease is allowed.
//
// When err is not nil the rest is ignored. A lease may also be a [Starter], a
// [Messenger], an [Outputter] or an [Ender].
type Resource interface {
	Donate(group string, rank, size int) (files []*os.File, words []string, lease io.Closer, err error)
}

// A Starter is a lease that wants to know when its worker runs. Started is called
// once, before any Message or Output.
//
// send sends one message to the resource of the same name in the worker, for
// [Child.Handle] there. It never blocks: when the worker does not read, the
// message is not sent and the error wraps [ErrBusy]; after its death,
// [os.ErrClosed]. The files stay the caller's. send may be called at any time and
// from any goroutine.
type Starter interface {
	Started(pid int, send func(payload []byte, files ...*os.File) error)
}

// A Messenger is a lease that takes messages from the worker's side. An empty
// payload is a doorbell. The messages of one worker come one at a time and in
// order; those of different workers come at the same time. Payload and files
// belong to the callee. A lease that is no Messenger never sees a message: it
// counts as rejected, and files that come with it are closed.
type Messenger interface {
	Message(payload []byte, files []*os.File)
}

// An Outputter is a lease that takes the captured output of its worker, in
// addition to Options.Output and under the same rules ([OutputFunc]).
type Outputter interface {
	Output(stream string, line []byte, continued bool)
}

// An Ender is a lease that wants to know how its worker ended. Ended is called once,
// after the last Message and Output, right before Close. It is not called when the
// start failed.
type Ender interface {
	Ended(Exit)
}

// OutputFunc takes one line of a worker's output. Stream is "stdout" or "stderr".
// The line comes without its newline ("\n" or "\r\n"), may be empty, may hold any
// byte, and is valid during the call. A line longer than [MaxLine] comes in
// pieces of MaxLine bytes and a rest; continued is true for all of them but the
// first. The last line of a stream need not have been terminated.
//
// The lines of one worker come one at a time, and in order within each stream;
// those of different workers come at the same time. As long as the function does
// not return, that worker's pipe fills up and the worker waits.
type OutputFunc func(group string, rank, pid int, stream string, line []byte, continued bool)

// Options configure a [Server]. Only Run is needed.
type Options struct {
	// Run names the run: 1 to 64 of [A-Za-z0-9._-], the first one a letter, a
	// digit or '_'.
	Run string

	// Dir is the runtime directory, which holds one directory per run. Default:
	// [RuntimeDir]. It must be on a file system of this machine.
	Dir string

	// Resources are given to every function worker. The map is copied.
	Resources map[string]Resource

	// Output takes the lines of all workers, function workers included. When it
	// is nil they are read and dropped; [Exit].Stderr is kept all the same.
	Output OutputFunc

	// Exit is called for each worker that ended, after its last line was delivered
	// and its leases were closed, and before [Group.Wait] returns. Calls for
	// different workers may overlap.
	Exit func(Exit)

	// Contain asks for means to keep the processes of the run together beyond the two
	// that are always in force. What cannot be had here is left out:
	// [Server.Containment] says what was reached.
	Contain Containment

	// Stall is called when a worker has stalled ([Heartbeat]), and when it beats again.
	// It must not wait for long: while it does, its group is not looked after.
	Stall func(Stall)

	// Env is added to the environment of every worker ("KEY=value").
	Env []string

	// Guests lets processes that this server did not start join the run, with the
	// same resources as function workers: see [Join].
	Guests bool

	// LeaveTimeout is how long guests may take to leave when the server stops.
	// Default: [DefaultStopTimeout].
	LeaveTimeout time.Duration

	// Joined is called for each guest when it has been given its resources.
	Joined func(Info)
}

// Spec says what to start. Exactly one of Func and Cmd is set.
type Spec struct {
	// Func is handed to the workers as [Child].Func; they are this binary.
	Func string

	// Cmd is the program and its arguments. A program without a slash is looked
	// for in the PATH of the worker's environment, one with a relative path
	// from Dir.
	Cmd []string

	// Workers is the number of processes, 1 to [MaxWorkers].
	Workers int

	// Group names the group. Default: Func, or the last element of Cmd[0], with
	// "-2", "-3", … when a running group already has that name. A name given
	// here must not be in use.
	Group string

	// Env is added to the environment, after Options.Env. Later entries win.
	Env []string

	// Dir is the working directory. Default: the server's.
	Dir string

	// StopTimeout is the time between SIGTERM and SIGKILL when the group is
	// stopped. Default: [DefaultStopTimeout]. A negative one kills at once.
	StopTimeout time.Duration

	// Restart says which workers are started again when they end. Default: none.
	Restart Restart

	// ReadyTimeout is the time a worker has, from its start, to say that it is ready: a
	// function worker by [Child.Ready], a command by READY=1 to the socket that
	// NOTIFY_SOCKET names in its environment, as sd_notify(3) and systemd-notify do. Start, Resize and Reload return when the workers they start are
	// ready; one that is not in time is killed, which counts as a failure. 0: workers
	// need not tell.
	ReadyTimeout time.Duration

	// Heartbeat says when a worker has stalled, and what is done. Default: nobody
	// looks.
	Heartbeat Heartbeat

	// Recycle says when a worker is replaced by a fresh one. Default: never.
	Recycle Recycle

	// Spares is the number of function workers that are kept ready beyond Workers:
	// started, initialised, and waiting in [Attach] for a rank. Restarts, Resize and
	// recycling take one of them when there is one, which saves the start of a
	// process. What they were started with is the group's; they have no SHMKIT_RANK
	// and SHMKIT_SIZE in their environment before Attach returns.
	Spares int

	// Placement says on which processors the workers run. Default: where this process
	// runs.
	Placement Placement

	// Process is what the workers' processes are given: umask, nice value, limits,
	// user, cgroup. Default: what this process has.
	Process Process

	// Pty gives each worker a pseudo-terminal of its own as stdout and stderr, for
	// programs that buffer, or say less, when nobody watches. Its lines are those of
	// the stream "stdout".
	Pty bool

	// Files are passed on to every worker, which shares what they are open to: sockets
	// that listen, say. They stay the caller's. A function worker has them by
	// [Child.File]; a command as descriptors 3, 4, … with LISTEN_FDS, LISTEN_FDNAMES
	// and LISTEN_PID, as sd_listen_fds(3) reads them. For a command they cost what
	// Process.Limits do.
	Files []NamedFile

	// Stdin is the standard input of every worker; they share it, and it stays the
	// caller's. It is made blocking. Default: the null device.
	Stdin *os.File
}

// A NamedFile is an open file that workers know by a name.
type NamedFile struct {
	Name string // as of a group: 1 to 64 of [A-Za-z0-9._-]
	File *os.File
}

// State is a phase in the life of a worker.
type State string

const (
	Starting State = "starting" // runs, and is not ready yet (Spec.ReadyTimeout)
	Running  State = "running"
	Stopping State = "stopping" // asked to stop
	Exited   State = "exited"   // ended, reaped and drained
	Waiting  State = "waiting"  // as Exited, and to be started again
)

// Info describes a worker.
type Info struct {
	Group   string    `json:"group"`
	Rank    int       `json:"rank"`
	Size    int       `json:"size"`
	Pid     int       `json:"pid"`
	State   State     `json:"state"`
	Started time.Time `json:"started"`

	// Restarts is how often this rank was started again.
	Restarts int `json:"restarts"`

	// Beats is the number of heartbeats at the last look, and LastBeat the time of the
	// last look that found a new one ([Spec].Heartbeat).
	Beats    uint64     `json:"beats,omitempty"`
	LastBeat *time.Time `json:"last_beat,omitempty"`

	// Code is the exit code, or 128+signal, and Ended the time of the end, of a
	// worker that is Exited.
	Code  *int       `json:"exit,omitempty"`
	Ended *time.Time `json:"ended,omitempty"`

	// Guest: the process joined from outside, see [Options].Guests.
	Guest bool `json:"guest,omitempty"`

	// Rejected counts messages from the worker that were malformed, came with too
	// many files, or had no taker; Unsent those to it that found no room.
	Rejected uint64 `json:"rejected"`
	Unsent   uint64 `json:"unsent"`
}

// Reload says what [Group.Reload] goes over to.
type Reload struct {
	// Binary is the program file of function workers. Default: the file that this
	// program was started from, as it is now.
	Binary string

	// Cmd is the new command of a group of commands. Default: the same one, looked
	// up again. The way back is to the old command: where its file was overwritten in
	// place, there is none. Give releases paths of their own.
	Cmd []string

	// Settle is how long a worker of a group without Spec.ReadyTimeout has to live
	// to be taken for good. Default: 1 s.
	Settle time.Duration
}

// A Reason is why the server ended a worker.
type Reason string

const (
	ReasonStop     Reason = "stop"      // Group.Stop, Server.Stop or Close
	ReasonNotReady Reason = "not ready" // within Spec.ReadyTimeout
	ReasonRestart  Reason = "restart"   // of another worker, which takes this one along; or the group gave up
	ReasonStalled  Reason = "stalled"   // no heartbeat: Spec.Heartbeat
	ReasonRecycle  Reason = "recycle"   // Spec.Recycle
	ReasonReload   Reason = "reload"
	ReasonResize   Reason = "resize"
)

// Exit says how a worker ended.
type Exit struct {
	Group string
	Rank  int
	Pid   int

	Code    int            // exit code, or 128+signal; -1 when it was lost (see Message)
	Signal  syscall.Signal // 0 unless killed by a signal
	Core    bool           // it dumped core
	OOM     bool           // the kernel killed it for want of memory, as far as its counts say
	Stopped bool           // the server had asked it to end before it did
	Reason  Reason         // why; "" when it ended by itself
	Guest   bool           // it joined from outside: Code is 0 when it left in order, else -1

	// Message is the worker's own account ([Child.Fail]). It is the worker's word:
	// any text, up to 4 KiB.
	Message string

	// Stderr holds the last lines of stderr, at most 20, each cut at 1 KiB.
	Stderr []string

	// Beats is the number of heartbeats, and LastBeat when the server saw the last
	// new one; zero without Spec.Heartbeat.
	Beats    uint64
	LastBeat time.Time

	UserTime, SystemTime time.Duration
	MaxRSS               int64 // bytes

	Started, Ended time.Time
}

// RunInfo describes one run of a runtime directory.
type RunInfo struct {
	Name string
	Dir  string
	Live bool // its server runs; else it is stale: the server was killed
	Pid  int  // of the server, as it wrote it down; 0 when unknown
}
