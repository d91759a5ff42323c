package logring

import (
	"log/slog"
	"math"
	"sync"
	"sync/atomic"

	"shmkit/seqlock"
)

// loggers are the levels of a process's loggers with names. The node publishes the
// rules in a latch; a logger works its level out when it sees another version, and
// remembers it. So a change costs the node one copy per worker, a call two loads,
// and nobody has to be told of a name.
type loggers struct {
	rules *seqlock.Reader

	// floor is from where on records are kept as a backtrace: those are enabled,
	// too. Written once, before there are loggers.
	floor slog.Level

	mu     sync.Mutex
	names  map[string]*loggerLevel
	closed bool
	buf    []byte
}

// maxLoggers bounds the names that a process may use. Loggers beyond it have the
// level of their worker.
const maxLoggers = 1 << 12

func newLoggers(view []byte) (*loggers, error) {
	r, err := seqlock.OpenReader(view)
	if err != nil {
		return nil, err
	}
	return &loggers{rules: r, floor: math.MaxInt32, names: map[string]*loggerLevel{}}, nil
}

// A loggerLevel is the level of one logger.
type loggerLevel struct {
	of   *loggers
	name string

	// seen is the version of the rules (its low half) above the level by them.
	// Stored with of.mu held, loaded by every log call through this logger. Nothing
	// else becomes visible with it.
	seen atomic.Uint64
}

// named returns the level of a logger, or nil for one too many.
func (s *loggers) named(name string) *loggerLevel {
	if len(name) > maxLogger {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.names[name]
	if l == nil && len(s.names) < maxLoggers {
		l = &loggerLevel{of: s, name: string([]byte(name))}
		l.seen.Store(uint64(^uint32(0)) << 32) // no version that will be seen soon
		s.names[l.name] = l
	}
	return l
}

// level costs two loads while the rules do not change: of their version, which the
// node stores, and of what was made of it.
func (l *loggerLevel) level() slog.Level {
	s := l.seen.Load()
	if uint32(s>>32) != uint32(l.of.rules.Version()) {
		return l.look()
	}
	return slog.Level(int32(uint32(s)))
}

// enabled returns the lowest level that is not thrown away.
func (l *loggerLevel) enabled() slog.Level {
	level := l.level()
	if level == math.MaxInt32 {
		return level // closed, or off
	}
	return min(level, l.of.floor)
}

// look works the level out anew.
//
//go:noinline
func (l *loggerLevel) look() slog.Level {
	s := l.of
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return math.MaxInt32
	}
	doc, version, err := s.rules.Read(s.buf)
	if err != nil {
		// Overtaken for many times in a row, or nothing there yet: as before; the
		// next call looks again.
		return slog.Level(int32(uint32(l.seen.Load())))
	}
	s.buf = doc
	level := ruleFor(doc, l.name)
	l.seen.Store(uint64(version)<<32 | uint64(levelBits(level)))
	return level
}

// close makes all of them log nothing.
func (s *loggers) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	version := s.rules.Version()
	for _, l := range s.names {
		l.seen.Store(version<<32 | uint64(levelBits(math.MaxInt32)))
	}
}
