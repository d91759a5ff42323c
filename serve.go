package shmkit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"shmkit/spawn"
)

// The environment of a process that Join started to be the node: which of the
// registered ones, of which run, and how many ranks are expected. It reports on
// descriptor 3, in one line: readyLine, or what went wrong.
const (
	envNode      = "SHMKIT_NODE"
	envNodeRun   = "SHMKIT_NODE_RUN"
	envNodeDir   = "SHMKIT_NODE_DIR"
	envNodeRanks = "SHMKIT_NODE_RANKS"

	readyFD   = 3
	readyLine = "ready"
	takenLine = "taken" // another process is the node by now
)

// A node process ends when nobody has been in the run for nodeLinger, or, before
// anybody came, for nodeFirst. When it knows how many ranks there are, it ends with
// the last of them.
const (
	nodeLinger = 5 * time.Second
	nodeFirst  = 60 * time.Second
)

// NodeFunc says how the node of a run is to be: it runs in the process that becomes
// that node. Name and Dir of the Options are set by the joining rank.
type NodeFunc func(ctx context.Context) (Options, error)

var (
	nodesMu sync.Mutex
	nodes   = map[string]NodeFunc{}
)

// ServeFunc registers how a node process is configured, under a name for
// [JoinOptions].Node, and returns the name. Register in package-level variables, as
// with [Func]. A name registered twice panics.
func ServeFunc(name string, fn NodeFunc) string {
	nodesMu.Lock()
	defer nodesMu.Unlock()
	if name == "" || fn == nil {
		panic("shmkit: ServeFunc needs a name and a function")
	}
	if _, dup := nodes[name]; dup {
		panic("shmkit: node " + name + " registered twice")
	}
	nodes[name] = fn
	return name
}

func lookupNode(name string) (NodeFunc, error) {
	nodesMu.Lock()
	defer nodesMu.Unlock()
	fn, ok := nodes[name]
	if !ok {
		return nil, fmt.Errorf("shmkit: node %q is not registered: register it with shmkit.ServeFunc in a package-level variable", name)
	}
	return fn, nil
}

// startNode starts this program once more, as the node of a run, and returns when
// a node is there: that one, or another process's that was faster.
func startNode(ctx context.Context, node, run, dir string, ranks int) error {
	fail := func(err error) error { return fmt.Errorf("shmkit: start the node of run %q: %w", run, err) }
	r, w, err := os.Pipe()
	if err != nil {
		return fail(err)
	}
	defer r.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = os.Args[:1]
	cmd.Env = append(os.Environ(), envNode+"="+node, envNodeRun+"="+run, envNodeDir+"="+dir, envNodeRanks+"="+strconv.Itoa(ranks))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{w}
	detach(cmd)
	err = startWide(cmd)
	w.Close()
	if err != nil {
		return fail(err)
	}
	go cmd.Wait() // it may end before this process does
	stop := context.AfterFunc(ctx, func() { r.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	line, err := bufio.NewReader(io.LimitReader(r, 1<<16)).ReadString('\n')
	switch line = strings.TrimSuffix(line, "\n"); {
	case line == readyLine, line == takenLine:
		return nil
	case ctx.Err() != nil:
		return fail(ctx.Err())
	case line != "":
		return fail(errors.New(line))
	}
	return fail(fmt.Errorf("it ended without a word: look at its standard error (%w)", err))
}

// nodeAsked reports whether this process was started to be a node. What is meant
// for it alone is taken out of the environment.
func nodeAsked() (name string, ok bool) {
	name = os.Getenv(envNode)
	os.Unsetenv(envNode)
	return name, name != ""
}

// serve is the life of a node process.
func serve(name string) (code int) {
	report := os.NewFile(readyFD, "ready")
	if err := serveRun(name, report); err != nil {
		line := strings.ReplaceAll(err.Error(), "\n", "; ")
		if errors.Is(err, spawn.ErrRunning) {
			line = takenLine
		} else {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		fmt.Fprintln(report, line) // fails when ready was reported before
	}
	return code
}

func serveRun(name string, report *os.File) error {
	setCloseOnExec(report)
	fn, err := lookupNode(name)
	if err != nil {
		return err
	}
	// Batch systems send SIGTERM several times, and warnings to whatever is in the
	// job. They are for the ranks: the node writes until those have left.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGXCPU)
	o, err := fn(ctx)
	if err != nil {
		return err
	}
	o.Name, o.Dir = os.Getenv(envNodeRun), os.Getenv(envNodeDir)
	ranks, _ := strconv.Atoi(os.Getenv(envNodeRanks))
	for _, v := range []string{envNodeRun, envNodeDir, envNodeRanks} {
		os.Unsetenv(v)
	}
	p := newPresence(ranks)
	o.joined = p.joined
	told := o.OnExit
	o.OnExit = func(e Exit) {
		if told != nil {
			told(e)
		}
		if e.Guest {
			p.left()
		}
	}
	n, err := Start(ctx, o)
	if err != nil {
		return err
	}
	p.begin(n.server.ShutGuests)
	fmt.Fprintln(report, readyLine)
	report.Close()
	select {
	case <-p.over:
	case <-ctx.Done(): // Close asks the ranks to leave and waits for them
	}
	return n.Close()
}

// presence knows when nobody is left, or to be expected.
type presence struct {
	ranks int // expected; 0: unknown
	over  chan struct{}

	mu    sync.Mutex
	shut  func() // nil once called
	here  int
	seen  int
	timer *time.Timer
}

func newPresence(ranks int) *presence {
	return &presence{ranks: ranks, over: make(chan struct{})}
}

func (p *presence) begin(shut func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shut = shut
	p.timer = time.AfterFunc(nodeFirst, p.alone)
	if p.here > 0 {
		p.timer.Stop()
	}
}

func (p *presence) joined(i spawn.Info) {
	if !i.Guest {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.here++
	p.seen++
	if p.timer != nil {
		p.timer.Stop()
	}
}

func (p *presence) left() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.here--
	switch {
	case p.here > 0 || p.timer == nil:
	case p.ranks > 0 && p.seen >= p.ranks:
		p.end()
	default:
		p.timer.Reset(nodeLinger)
	}
}

func (p *presence) alone() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.here == 0 {
		p.end()
	}
}

func (p *presence) end() {
	if p.shut != nil {
		p.shut()
		p.shut = nil
		close(p.over)
	}
}
