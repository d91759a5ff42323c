package shmkit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
)

// startedGroups are those that others asked for, so that they can be waited for
// after they have ended.
type startedGroups struct {
	mu     sync.Mutex
	groups []*Group // oldest first
}

// maxStarted bounds how many ended groups are remembered.
const maxStarted = 256

func (s *startedGroups) add(g *Group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups = append(s.groups, g)
	for i := 0; len(s.groups) > maxStarted && i < len(s.groups); i++ {
		select {
		case <-s.groups[i].Done():
			s.groups = append(s.groups[:i], s.groups[i+1:]...)
			i--
		default:
		}
	}
}

// get returns the youngest of that name.
func (s *startedGroups) get(name string) *Group {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.groups) - 1; i >= 0; i-- {
		if s.groups[i].Name() == name {
			return s.groups[i]
		}
	}
	return nil
}

// group finds a group that lives, or that somebody asked for.
func (s *controlServer) group(name string) (*Group, error) {
	if g := s.node.server.Group(name); g != nil {
		return g, nil
	}
	if g := s.started.get(name); g != nil {
		return g, nil
	}
	return nil, fmt.Errorf("shmkit: run %q has no group %q: see shmkit ps", s.node.Name(), name)
}

// workers answers what is asked about workers. The workers are the node's,
// whoever asked for them: they outlive the connection.
func (s *controlServer) workers(r request) answer {
	if r.Op == opStart {
		if r.Spec == nil {
			return answer{Error: "bad request: no spec"}
		}
		r.Spec.Stdin = nil
		g, err := s.node.Start(*r.Spec)
		if err != nil {
			return answer{Error: err.Error()}
		}
		s.started.add(g)
		return answer{Group: g.Name(), Infos: g.Infos()}
	}
	g, err := s.group(r.Group)
	if err == nil {
		switch r.Op {
		case opStop:
			err = g.Stop(s.ctx)
		case opResize:
			err = g.Resize(s.ctx, r.Workers)
		case opReload:
			if r.Reload == nil {
				return answer{Error: "bad request: no reload"}
			}
			err = g.Reload(s.ctx, *r.Reload)
		}
	}
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Group: g.Name(), Infos: g.Infos()}
}

// wait answers when a group has ended, and gives up when the client has gone.
func (s *controlServer) wait(c *net.UnixConn, out *json.Encoder, r request) {
	g, err := s.group(r.Group)
	if err != nil {
		out.Encode(answer{Error: err.Error()})
		return
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	s.wg.Go(func() {
		var b [1]byte
		c.Read(b[:])
		cancel()
	})
	select {
	case <-g.Done():
		a := answer{Group: g.Name(), Exits: g.Exits()}
		if err := g.Wait(); err != nil {
			a.Error = err.Error()
		}
		out.Encode(a)
	case <-ctx.Done():
		out.Encode(answer{Error: errors.Join(fmt.Errorf("shmkit: run %q is ending", s.node.Name()), ctx.Err()).Error()})
	}
	c.Close()
}
