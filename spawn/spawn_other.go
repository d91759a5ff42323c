//go:build !linux

package spawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
)

var errUnsupported = fmt.Errorf("spawn: worker processes need Linux, this is %s: %w", runtime.GOOS, errors.ErrUnsupported)

func signalName(s syscall.Signal) string { return s.String() }

// RuntimeDir needs Linux.
func RuntimeDir() (string, error) { return "", errUnsupported }

// Runs needs Linux.
func Runs(dir string) ([]RunInfo, error) { return nil, errUnsupported }

// Prune needs Linux.
func Prune(dir string) ([]string, error) { return nil, errUnsupported }

// Server needs Linux.
type Server struct{}

// NewServer needs Linux.
func NewServer(o Options) (*Server, error) { return nil, errUnsupported }

func (s *Server) Start(ctx context.Context, spec Spec) (*Group, error) { return nil, errUnsupported }
func (s *Server) Group(name string) *Group                             { return nil }
func (s *Server) Containment() Containment                             { return 0 }
func (s *Server) Workers() []Info                                      { return nil }
func (s *Server) Stop(ctx context.Context) error                       { return errUnsupported }
func (s *Server) Close() error                                         { return nil }
func (s *Server) Dir() string                                          { return "" }
func (s *Server) ShutGuests()                                          {}
func (s *Server) Run() string                                          { return "" }

// Group needs Linux.
type Group struct{}

func (g *Group) Name() string                   { return "" }
func (g *Group) Size() int                      { return 0 }
func (g *Group) Wait() error                    { return errUnsupported }
func (g *Group) Done() <-chan struct{}          { return nil }
func (g *Group) Stop(ctx context.Context) error { return errUnsupported }
func (g *Group) Signal(sig syscall.Signal) error {
	return errUnsupported
}
func (g *Group) Resize(ctx context.Context, workers int) error { return errUnsupported }
func (g *Group) Reload(ctx context.Context, r Reload) error    { return errUnsupported }
func (g *Group) Infos() []Info                                 { return nil }
func (g *Group) Exits() []Exit                                 { return nil }

// Child needs Linux.
type Child struct {
	Run, Group, Func string
	Rank, Size       int
}

// Attach needs Linux.
func Attach() (*Child, error) { return nil, ErrNotWorker }

func (c *Child) Dir() string { return "" }
func (c *Child) Resource(name string) ([]*os.File, []string, bool) {
	return nil, nil, false
}
func (c *Child) Send(resource string, payload []byte, files ...*os.File) error {
	return errUnsupported
}
func (c *Child) Handle(resource string, fn func(payload []byte, files []*os.File)) {}
func (c *Child) Context() context.Context                                          { return context.Background() }
func (c *Child) File(name string) *os.File                                         { return nil }
func (c *Child) Beat()                                                             {}
func (c *Child) TaskDone()                                                         {}
func (c *Child) Ready() error                                                      { return errUnsupported }
func (c *Child) Fail(msg string) error                                             { return errUnsupported }

// Join needs Linux.
func Join(ctx context.Context, o JoinOptions) (*Child, error) {
	return nil, &JoinError{o.Run, errUnsupported}
}

func (c *Child) Leave(ctx context.Context) error { return errUnsupported }

// OwnProcessors needs Linux.
func OwnProcessors() (string, error) { return "", errUnsupported }
