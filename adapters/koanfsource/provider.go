package koanfsource

import (
	"context"
	"errors"
	"time"

	"github.com/knadh/koanf/v2"

	"shmkit/cfgblob"
)

// Provider is a [cfgblob.Source] of whatever koanf has a provider for: etcd, Consul,
// Vault, NATS, S3, HTTP, and others. parser reads what the provider holds as bytes; it
// is nil if the provider makes a nested map itself. name is for people.
//
// If p has koanf's usual Watch method, the source follows changes by it. A watch
// that ends with an error is begun again, after a pause that grows to a minute, and
// everything is read then: a server that was away is found again. For a provider
// without one there is [Every].
func Provider(name string, p koanf.Provider, parser koanf.Parser) cfgblob.Source {
	s := provider{name, p, parser}
	if w, ok := p.(watcher); ok {
		return watched{s, w}
	}
	return s
}

type provider struct {
	name   string
	p      koanf.Provider
	parser koanf.Parser
}

func (s provider) Name() string { return s.name }

func (s provider) Read(context.Context) (cfgblob.Layer, error) {
	var parser koanf.Parser = treeParser{s.p}
	var data []byte
	if s.parser != nil {
		var err error
		if data, err = s.p.ReadBytes(); err != nil {
			return cfgblob.Layer{}, &FileError{Err: err, cure: "see that it is there and can be read"}
		}
		parser = s.parser
	}
	tree, err := checked{parser}.Unmarshal(data)
	if err != nil {
		return cfgblob.Layer{}, newParseError("", err)
	}
	return cfgblob.Layer{Name: s.name, Tree: tree}, nil
}

// treeParser is a provider that needs no parser.
type treeParser struct{ koanf.Provider }

func (t treeParser) Unmarshal([]byte) (map[string]any, error) { return t.Read() }
func (t treeParser) Marshal(map[string]any) ([]byte, error)   { return nil, errors.ErrUnsupported }

// watcher is what koanf's providers have that can watch.
type watcher interface {
	Watch(cb func(event any, err error)) error
}

type watched struct {
	provider
	w watcher
}

const (
	firstPause = time.Second
	lastPause  = time.Minute
)

func (s watched) Follow(ctx context.Context, changed func()) error {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		began := time.Now()
		s.watch(ctx, changed)
		if time.Since(began) > lastPause {
			pause = firstPause
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// watch follows one watch to its end. Events that come while changed runs are one.
func (s watched) watch(ctx context.Context, changed func()) {
	events, failed := make(chan struct{}, 1), make(chan struct{}, 1)
	go func() { // some return at once, others when the watch ends
		err := s.w.Watch(func(_ any, err error) {
			if err != nil {
				offer(failed)
				return
			}
			offer(events)
		})
		if err != nil {
			offer(failed)
		}
		offer(events) // what has changed before it began
	}()
	offer(events) // the same, if it returns at the end only
	for {
		select {
		case <-events:
			changed()
		case <-failed:
			changed() // that it is gone, and why, is told by reading it
			return
		case <-ctx.Done():
			if u, ok := s.w.(interface{ Unwatch() error }); ok {
				u.Unwatch()
			}
			return
		}
	}
}

// offer leaves a token if there is room: one that is there already says as much.
func offer(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Every returns src, read again every interval: for sources that cannot tell when
// they change. Equal content is no new version. What is written in place, so that it
// can be read half, is better followed by [File].
func Every(interval time.Duration, src cfgblob.Source) cfgblob.Source {
	return every{src, max(interval, time.Millisecond)}
}

type every struct {
	cfgblob.Source
	interval time.Duration
}

func (e every) Follow(ctx context.Context, changed func()) error {
	tick := time.NewTicker(e.interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			changed()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
