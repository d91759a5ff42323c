package call

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options configure a [Server]. The zero value is useful.
type Options struct {
	// Name is for messages, on both sides. Default: "call".
	Name string

	// Allow, if set, says for each function whether a worker is offered it. It is
	// asked when the worker is started. Default: all that are not nil.
	Allow func(worker Caller, method string) bool

	// Timeout is how long a call may run before its context ends, whatever the
	// caller's says. Default: no bound but the caller's.
	Timeout time.Duration

	// MaxCalls is how many calls of one worker may run at the same time; in the
	// worker, more wait for their turn. Default: 64.
	MaxCalls int

	// MaxMessage bounds the arguments and the results of one call, in bytes.
	// Default: [MaxMessage], which is also the largest.
	MaxMessage int

	// Log takes panics, and workers that lost their connection because they did
	// not keep to the protocol. Default: nowhere.
	Log *slog.Logger
}

const (
	defaultMaxCalls = 64
	largestMaxCalls = 1 << 16
	smallestMessage = 256
)

func (o Options) withDefaults() (Options, error) {
	if o.Name == "" {
		o.Name = "call"
	}
	if o.MaxCalls == 0 {
		o.MaxCalls = defaultMaxCalls
	}
	if o.MaxMessage == 0 {
		o.MaxMessage = MaxMessage
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.MaxCalls < 1 || o.MaxCalls > largestMaxCalls:
		return o, fmt.Errorf("call: %q: MaxCalls of %d: choose from 1 to %d", o.Name, o.MaxCalls, largestMaxCalls)
	case o.MaxMessage < smallestMessage || o.MaxMessage > MaxMessage:
		return o, fmt.Errorf("call: %q: MaxMessage of %d bytes: choose from %d to %d", o.Name, o.MaxMessage, smallestMessage, MaxMessage)
	case o.Timeout < 0:
		return o, fmt.Errorf("call: %q: Timeout of %v: choose a positive one, or 0 for none", o.Name, o.Timeout)
	}
	return o, nil
}

// Caller is the worker that a call came from.
type Caller struct {
	Group      string
	Rank, Size int
}

func (c Caller) String() string { return fmt.Sprintf("worker %d of group %q", c.Rank, c.Group) }

type callerKey struct{}

// CallerOf returns the worker for which a function runs, given its context.
func CallerOf(ctx context.Context) (c Caller, ok bool) {
	c, ok = ctx.Value(callerKey{}).(Caller)
	return c, ok
}

// A Server runs the functions of one API for any number of workers. It is a
// resource for a worker server.
type Server struct {
	o       Options
	methods []bound

	mu       sync.Mutex
	closed   bool
	sessions map[*session]struct{}
	running  sync.WaitGroup // readers and calls; added to under mu while not closed, or by one that is counted
}

// bound is a method and the owner's function for it.
type bound struct {
	method
	fn reflect.Value
}

// Serve offers the functions of api, a struct of them; fields that are nil are not
// offered. They may be called at the same time, and should return soon after
// their context has ended: until then the call counts.
func Serve[T any](o Options, api T) (*Server, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	ms, err := methodsOf(reflect.TypeFor[T]())
	if err != nil {
		return nil, err
	}
	s := &Server{o: o, sessions: map[*session]struct{}{}}
	for _, m := range ms {
		if fn := reflect.ValueOf(api).Field(m.field); !fn.IsNil() {
			s.methods = append(s.methods, bound{m, fn})
		}
	}
	if len(s.methods) == 0 {
		return nil, fmt.Errorf("call: %q: every function of the API %v is nil: set those that workers may call", o.Name, reflect.TypeFor[T]())
	}
	return s, nil
}

const wordVersion = "call=1"

// Donate gives a worker about to be started a connection of its own: one file, and
// the words that [Attach] wants with it. The lease is to be closed when the worker
// is dead.
func (s *Server) Donate(group string, rank, size int) (files []*os.File, words []string, lease io.Closer, err error) {
	caller := Caller{group, rank, size}
	words = []string{wordVersion, "name=" + wordOf(s.o.Name), "calls=" + strconv.Itoa(s.o.MaxCalls), "bytes=" + strconv.Itoa(s.o.MaxMessage)}
	var offered []bound
	for _, m := range s.methods {
		if s.o.Allow == nil || s.o.Allow(caller, m.name) {
			offered = append(offered, m)
			words = append(words, "m="+m.name+"/"+m.signature)
		}
	}
	ours, theirs, err := socketpair()
	if err != nil {
		return nil, nil, nil, fmt.Errorf("call: %q: connect %v: %w", s.o.Name, caller, err)
	}
	link, err := newLink(ours, s.o.MaxMessage)
	if err != nil {
		theirs.Close()
		return nil, nil, nil, fmt.Errorf("call: %q: connect %v: %w", s.o.Name, caller, err)
	}
	c, err := s.open(caller, offered, link)
	if err != nil {
		theirs.Close()
		link.close()
		return nil, nil, nil, err
	}
	return []*os.File{theirs}, words, c, nil
}

func (s *Server) open(caller Caller, offered []bound, l *link) (*session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("call: %q: connect %v: %w", s.o.Name, caller, os.ErrClosed)
	}
	c := newSession(s, caller, offered, l)
	s.sessions[c] = struct{}{}
	s.running.Go(c.read)
	return c, nil
}

// Close ends all connections and the contexts of all calls, and waits for the
// functions that run: when it returns, nobody uses what they use. So a function
// must not call it. It is idempotent.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	for c := range s.sessions {
		c.end(fmt.Errorf("call: %q: %w", s.o.Name, os.ErrClosed))
	}
	s.mu.Unlock()
	s.running.Wait()
	return nil
}

func (s *Server) forget(c *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, c)
}

// wordOf keeps the characters of a name that may stand in an environment word.
func wordOf(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', strings.ContainsRune("._/-", r):
			return r
		}
		return '-'
	}, name)
}
