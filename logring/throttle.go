package logring

import (
	"cmp"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"shmkit/ring"
)

// Sample lets a part of the records through that say the same. In each interval
// the first ones pass, then one of every so many:
//
//	logring.Sample{First: 100, Every: 1000}  // of each message, a second
//	logring.Sample{Every: 10}                // one of ten
//	logring.Sample{First: 5}                 // five a second, no more
//
// What it holds back is counted as dropped for [DropSampled], and told in the stream
// once an interval: a record "suppressed" that says of which message how many, since
// when and for how long. The zero Sample lets everything through.
type Sample struct {
	First    int           // records of one key that pass in each interval
	Every    int           // after them one of Every; 0: none
	Interval time.Duration // default 1 s

	// Key says which records say the same; nil: those with the same message. Of a
	// key the first 256 bytes count. At most 1,024 keys are told apart at one time;
	// what comes beyond shares the key "(other)".
	Key func(slog.Record) string
}

func (s *Sample) off() bool { return s.First <= 0 && s.Every <= 0 }

// passes says whether the n-th record of an interval does, counted from 1.
func (s *Sample) passes(n int) bool {
	first := max(s.First, 0)
	if s.Every > 0 {
		first = max(first, 1)
	}
	return n <= first || s.Every > 0 && (n-first)%s.Every == 0
}

// Limit lets at most so many records of each logger (see [LoggerKey]) through: a
// token bucket. What it holds back is counted as dropped for [DropLimited] and told
// once a second, as with [Sample]. The zero Limit lets everything through.
type Limit struct {
	Rate  float64 // records a second
	Burst int     // that may come at once; default Rate, at least 1
}

func (l *Limit) off() bool { return l.Rate <= 0 }

// A Throttle holds records back before they cost anything: for code that logs
// without a handler of this package. Handlers have one of their own, see
// [HandlerOptions].
//
// Its methods may be called from any goroutine.
type Throttle struct {
	out    outlet
	sample Sample
	limit  Limit
	span   time.Duration // between two tellings

	mu      sync.Mutex
	keys    map[string]*sampled
	buckets map[string]*bucket
	timer   *time.Timer // armed while something is untold
	armed   bool
}

// NewThrottle returns a throttle whose refusals are counted for the worker.
func (w *Writer) NewThrottle(s Sample, l Limit) *Throttle {
	return newThrottle(w, s, l)
}

func newThrottle(out outlet, s Sample, l Limit) *Throttle {
	if s.Interval <= 0 {
		s.Interval = time.Second
	}
	if l.Burst <= 0 {
		l.Burst = max(int(min(l.Rate, 1<<30)), 1)
	}
	t := &Throttle{out: out, sample: s, limit: l, span: time.Second, keys: map[string]*sampled{}, buckets: map[string]*bucket{}}
	if !s.off() {
		t.span = s.Interval
	}
	out.atFlush(t.tell)
	return t
}

// Allow reports whether a record with this key, of this logger ("" is one, too) and
// level, may be logged now. A false is counted as an attempted and dropped record.
func (t *Throttle) Allow(logger, key string, level slog.Level) bool {
	return t.allow(logger, key, level, time.Now())
}

func (t *Throttle) allow(logger, key string, level slog.Level, now time.Time) bool {
	reason, refused := t.refusal(logger, key, level, now)
	if refused {
		t.out.refuse(reason)
	}
	return !refused
}

// refusal returns whether a record may not pass, and why.
func (t *Throttle) refusal(logger, key string, level slog.Level, now time.Time) (reason ring.Reason, refused bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.sample.off() {
		s := t.sampledOf(key, now)
		if d := now.Sub(s.start); d >= t.sample.Interval || d < 0 {
			s.start, s.n = now, 0
		}
		if s.n++; !t.sample.passes(s.n) {
			t.mute(&s.muted, level, now)
			return reasonSampled, true
		}
	}
	if !t.limit.off() {
		b := t.bucketOf(logger, now)
		b.tokens = min(b.tokens+max(now.Sub(b.at), 0).Seconds()*t.limit.Rate, float64(t.limit.Burst))
		b.at = now
		if b.tokens < 1 {
			t.mute(&b.muted, level, now)
			return reasonLimited, true
		}
		b.tokens--
	}
	return 0, false
}

// What a ring calls the drops that are for its caller to name.
const (
	reasonSampled = ring.DropCaller2
	reasonLimited = ring.DropCaller3
)

// sampled is what is known of the records with one key.
type sampled struct {
	start time.Time // of the interval
	n     int       // records in it
	muted muted
}

// bucket is what one logger may still log.
type bucket struct {
	tokens float64
	at     time.Time // when they were counted
	muted  muted
}

// muted is what was held back since it was told the last time.
type muted struct {
	n     uint64
	level slog.Level // the highest of them
	since time.Time
}

const (
	maxKeys     = 1 << 10 // told apart at one time
	maxKeyBytes = 256
	otherKeys   = "(other)"
)

func (t *Throttle) sampledOf(key string, now time.Time) *sampled {
	key = key[:min(len(key), maxKeyBytes)]
	if s := t.keys[key]; s != nil {
		return s
	}
	if len(t.keys) >= maxKeys {
		for k, s := range t.keys { // those that have nothing to say any more
			if s.muted.n == 0 && now.Sub(s.start) >= t.sample.Interval {
				delete(t.keys, k)
			}
		}
		if len(t.keys) >= maxKeys {
			key = otherKeys
		}
	}
	s := t.keys[key]
	if s == nil {
		s = &sampled{start: now}
		t.keys[strings.Clone(key)] = s
	}
	return s
}

func (t *Throttle) bucketOf(logger string, now time.Time) *bucket {
	logger = logger[:min(len(logger), maxKeyBytes)]
	b := t.buckets[logger]
	if b == nil && len(t.buckets) >= maxKeys {
		logger = otherKeys
		b = t.buckets[logger]
	}
	if b == nil {
		b = &bucket{tokens: float64(t.limit.Burst), at: now}
		t.buckets[strings.Clone(logger)] = b
	}
	return b
}

// mute counts one record that is held back. It needs mu.
func (t *Throttle) mute(m *muted, level slog.Level, now time.Time) {
	if m.n == 0 {
		m.level, m.since = level, now
	}
	m.n++
	m.level = max(m.level, level)
	if t.armed {
		return
	}
	t.armed = true
	if t.timer == nil {
		t.timer = time.AfterFunc(t.span, t.tell)
	} else {
		t.timer.Reset(t.span)
	}
}

// tell logs what was held back since the last time: from a timer, and before a
// flush or the end.
func (t *Throttle) tell() {
	type tale struct {
		muted
		reason  ring.Reason
		key, of string
	}
	var tales []tale
	t.mu.Lock()
	t.armed = false
	if t.timer != nil {
		t.timer.Stop()
	}
	for key, s := range t.keys {
		if s.muted.n > 0 {
			tales = append(tales, tale{s.muted, reasonSampled, "of", key})
			s.muted = muted{}
		}
	}
	for logger, b := range t.buckets {
		if b.muted.n > 0 {
			tales = append(tales, tale{b.muted, reasonLimited, LoggerKey, logger})
			b.muted = muted{}
		}
	}
	t.mu.Unlock()

	slices.SortFunc(tales, func(a, b tale) int { return cmp.Or(a.since.Compare(b.since), cmp.Compare(a.of, b.of)) })
	now := time.Now()
	for _, x := range tales {
		e := newEncoder(now, x.level, "suppressed", t.out.maxRecord())
		if x.of != "" {
			e.text(x.key, x.of)
		}
		e.lost(ringReasons[x.reason], x.n, x.since, now)
		if t.out.emit(e.finish(t.out.maxRecord())) == nil {
			t.out.told(x.reason, x.n)
		}
		e.free()
	}
}

// lost appends what a record says of others that are not there.
func (e *encoder) lost(reason string, n uint64, since, until time.Time) {
	e.word(kindUint64, "dropped", n)
	e.text("reason", reason)
	e.time("since", since)
	e.word(kindDuration, "for", uint64(max(until.Sub(since), 0)))
}
