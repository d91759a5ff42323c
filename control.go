package shmkit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"shmkit/cfgblob"
)

// controlServer answers the other processes of this user: shmkit config, shmkit
// ps, and programs that use [Dial].
type controlServer struct {
	node *Node
	l    *net.UnixListener
	path string

	ctx    context.Context // ends at Close; every connection with it
	cancel context.CancelFunc
	wg     sync.WaitGroup
	once   sync.Once

	started startedGroups
}

func serveControl(n *Node, dir string) (*controlServer, error) {
	l, err := listenControl(dir)
	if err != nil {
		return nil, fmt.Errorf("shmkit: start %q: control socket in %s: %w", n.Name(), dir, err)
	}
	s := &controlServer{node: n, l: l, path: filepath.Join(dir, socketName)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.wg.Go(s.accept)
	return s, nil
}

// Close ends all connections and removes the socket. It is idempotent.
func (s *controlServer) Close() error {
	var err error
	s.once.Do(func() {
		s.cancel()
		s.l.Close()
		if e := os.Remove(s.path); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = e
		}
		s.wg.Wait()
	})
	return err
}

func (s *controlServer) accept() {
	slots := make(chan struct{}, maxClients)
	for {
		select {
		case slots <- struct{}{}:
		case <-s.ctx.Done():
			return
		}
		c, err := s.l.AcceptUnix()
		if err != nil {
			<-slots
			// At the descriptor limit accept fails at once and for as long as the
			// connection waits; do not spin.
			select {
			case <-time.After(50 * time.Millisecond):
				continue
			case <-s.ctx.Done():
				return
			}
		}
		s.wg.Go(func() {
			defer func() { <-slots }()
			s.serve(c)
		})
	}
}

// serve answers one connection until it closes.
func (s *controlServer) serve(c *net.UnixConn) {
	defer c.Close()
	defer context.AfterFunc(s.ctx, func() { c.Close() })()
	if err := samePeer(c); err != nil {
		return // the runtime directory is 0700: only root gets here, and is let in
	}
	in := bufio.NewScanner(c)
	in.Buffer(make([]byte, 4096), maxRequest)
	out := json.NewEncoder(c)
	for in.Scan() {
		var r request
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			out.Encode(answer{Error: "bad request: " + err.Error()})
			return
		}
		if r.Op == opWatch {
			s.watch(c, out, r)
			return
		}
		if r.Op == opWait {
			s.wait(c, out, r)
			return
		}
		if out.Encode(s.answer(r)) != nil {
			return
		}
	}
}

func (s *controlServer) answer(r request) answer {
	switch r.Op {
	case opStatus:
		return answer{Status: s.node.status()}
	case opStart, opStop, opResize, opReload:
		return s.workers(r)
	}
	return configAnswer(s.node.config, r)
}

// watch sends the value of a key now and at each change of it. Versions that
// leave it alone are not sent.
func (s *controlServer) watch(c *net.UnixConn, out *json.Encoder, r request) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	s.wg.Go(func() { // a client sends nothing more: what is read is its end
		var b [1]byte
		c.Read(b[:])
		cancel()
	})
	var paths []string
	if r.Key != "" {
		paths = []string{r.Key}
	}
	for snap := range s.node.config.Watch(ctx, paths...) {
		a := valueAt(snap, r.Key)
		if errors.Is(cfgblob.CodeError(a.Code), cfgblob.ErrNoKey) {
			a = answer{Version: snap.Version, Missing: true}
		}
		if out.Encode(a) != nil {
			break
		}
	}
	c.Close()
}

func (n *Node) status() *Status {
	return &Status{
		Run:           n.Name(),
		PID:           os.Getpid(),
		Started:       n.started,
		ConfigVersion: n.config.Snapshot().Version,
		Workers:       n.server.Workers(),
		Logs:          n.logs.Stats(),
	}
}
