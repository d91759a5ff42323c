package spawn

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"
)

// model is the rules of Restart written down a second time, naively: it keeps
// everything that ever happened, and looks through it for each question.
type model struct {
	rule   Restart
	state  map[int]string // "up", "leaving", "down", "over"
	due    map[int]time.Duration
	starts map[int][]time.Duration
	ends   map[int][]time.Duration // that counted, by rank
	all    []time.Duration         // that counted
	closed bool
}

func newModel(rule Restart, n int) *model {
	m := &model{rule: rule, state: map[int]string{}, due: map[int]time.Duration{}, starts: map[int][]time.Duration{}, ends: map[int][]time.Duration{}}
	for i := range n {
		m.state[i], m.starts[i] = "up", []time.Duration{0}
	}
	return m
}

func (m *model) exit(now time.Duration, rank int, counts bool, luck float64) (stop []int, gaveUp bool) {
	if m.closed || !counts && m.state[rank] == "up" {
		m.state[rank] = "over"
		return nil, false
	}
	if m.state[rank] == "leaving" {
		m.state[rank] = "down"
		return nil, false
	}
	// The pause: doubled for each end in a row before this one, where the row
	// begins with the last end of a worker that had lived for a period.
	lived := now - m.starts[rank][len(m.starts[rank])-1]
	if lived >= m.rule.Period {
		m.ends[rank] = nil
	}
	pause := float64(m.rule.Backoff)
	for range m.ends[rank] {
		pause *= 2
	}
	pause = min(pause, float64(m.rule.MaxBackoff))
	if m.rule.Backoff < 0 {
		pause = 0
	}
	due := now + time.Duration(pause) - time.Duration(luck/2*pause)
	m.ends[rank] = append(m.ends[rank], now)
	m.all = append(m.all, now)
	m.state[rank] = "down"

	within := 0
	for _, t := range m.all {
		if t > now-m.rule.Period {
			within++
		}
	}
	if m.rule.Intensity >= 0 && within > m.rule.Intensity {
		m.closed = true
		for i := range m.state {
			if s := m.state[i]; s == "up" || s == "leaving" {
				stop = append(stop, i)
			} else {
				m.state[i] = "over"
			}
		}
		return backwards(stop), true
	}
	for i := range m.state {
		if i != rank && m.rule.Strategy == OneForOne || i < rank && m.rule.Strategy == RestForOne {
			continue
		}
		m.due[i] = max(m.due[i], due)
		switch m.state[i] {
		case "up":
			m.state[i] = "leaving"
			stop = append(stop, i)
		case "over":
			m.state[i] = "down"
		}
	}
	return backwards(stop), false
}

func backwards(ranks []int) []int {
	slices.Sort(ranks)
	slices.Reverse(ranks)
	return ranks
}

func (m *model) next(now time.Duration) (start []int) {
	for i := range len(m.state) {
		if m.state[i] == "leaving" && m.rule.Strategy != OneForOne {
			return nil
		}
	}
	for i := range len(m.state) {
		if m.state[i] == "down" && m.due[i] <= now {
			m.state[i] = "up"
			m.starts[i] = append(m.starts[i], now)
			start = append(start, i)
		}
	}
	return start
}

func (m *model) with(states ...string) (ranks []int) {
	for i := range len(m.state) {
		if slices.Contains(states, m.state[i]) {
			ranks = append(ranks, i)
		}
	}
	return ranks
}

// The restart rules equal the model in every step of random sequences of ends,
// planned replacements, pauses and starts.
//
// Shown to catch planted bugs: "<" for "<=" in enlist, and a one-for-one that takes
// the neighbour along.
func TestRestartRulesEqualTheModel(t *testing.T) {
	sequences := 1_000
	if os.Getenv("SHMKIT_STRESS") != "" {
		sequences = 100_000
	}
	gaveUp := 0
	for seed := range sequences {
		if compareWithModel(t, uint64(seed)) {
			gaveUp++
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d sequences, %d of them gave up", sequences, gaveUp)
	if gaveUp < sequences/20 || gaveUp > sequences*19/20 {
		t.Errorf("%d of %d sequences gave up: they show little", gaveUp, sequences)
	}
}

func compareWithModel(t *testing.T, seed uint64) (gaveUp bool) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	n := 1 + rnd.IntN(6)
	rule := Restart{
		When: RestartAlways, Strategy: Strategy(rnd.IntN(3)),
		Intensity: rnd.IntN(9) - 1, Period: time.Duration(1+rnd.IntN(50)) * 100, // coarse: ends fall on its edges
		Backoff: time.Duration(rnd.IntN(300) - 20), MaxBackoff: time.Duration(1 + rnd.IntN(2_000)),
	}
	rule = rule.withDefaults(n)
	r := newRestarter(rule, n)
	m := newModel(rule, n)
	var luck float64
	r.luck = func() float64 { return luck }
	now := time.Duration(0)
	var log []string
	for range 60 {
		var what string
		luck = rnd.Float64()
		switch running := m.with("up", "leaving"); {
		case len(running) > 0 && rnd.IntN(3) > 0:
			rank, counts := running[rnd.IntN(len(running))], rnd.IntN(4) > 0
			what = fmt.Sprintf("%d exits (counts: %v)", rank, counts)
			stop, quit := r.exited(now, rank, counts)
			stop2, quit2 := m.exit(now, rank, counts, luck)
			if !slices.Equal(stop, stop2) || quit != quit2 {
				t.Errorf("seed %d, %+v, %v, at %d %s: stop %v, gave up %v; the model: %v, %v", seed, rule, log, now, what, stop, quit, stop2, quit2)
			}
			gaveUp = gaveUp || quit
		case len(running) > 0 && rnd.IntN(4) == 0:
			rank := running[rnd.IntN(len(running))]
			what = fmt.Sprintf("%d is replaced", rank)
			want := m.state[rank] == "up" && !m.closed
			if want {
				m.state[rank], m.due[rank] = "leaving", now
			}
			if r.replace(now, rank) != want {
				t.Errorf("seed %d, %v: replace %d: want %v", seed, log, rank, want)
			}
		default:
			step := time.Duration(rnd.IntN(5)) * 100
			what = fmt.Sprintf("%d pass", step)
			now += step
		}
		log = append(log, what)
		start, again := r.next(now)
		if want := m.next(now); !slices.Equal(start, want) {
			t.Errorf("seed %d, %+v, %v, at %d: start %v; the model: %v", seed, rule, log, now, start, want)
		}
		if again >= 0 && again <= now {
			t.Errorf("seed %d, %v, at %d: ask again at %d", seed, log, now, again)
		}
		for i, p := range r.places {
			if got := [...]string{"up", "leaving", "down", "over"}[p.phase]; got != m.state[i] {
				t.Errorf("seed %d, %+v, %v, at %d: %d is %s, in the model %s", seed, rule, log, now, i, got, m.state[i])
			}
		}
		if r.finished() != (len(m.with("over")) == n) {
			t.Errorf("seed %d, %v: finished: %v", seed, log, r.finished())
		}
		if t.Failed() {
			break
		}
	}
	return gaveUp
}

// The defaults, as documented: a worker that dies at once is tried six times in
// three seconds.
func TestRestartDefaults(t *testing.T) {
	r := newRestarter(Restart{When: RestartOnFailure}, 1)
	r.luck = func() float64 { return 0 }
	now, tries := time.Duration(0), 1
	for {
		_, gaveUp := r.exited(now, 0, r.rule.counts(1))
		if gaveUp {
			break
		}
		_, now = r.next(now)
		r.next(now)
		tries++
	}
	if tries != 6 || now != 3100*time.Millisecond {
		t.Errorf("gave up at %v after %d starts", now, tries)
	}
	if r := (Restart{}).withDefaults(64); r.Intensity != 64 || r.counts(1) {
		t.Errorf("%+v", r)
	}
	for n, want := range map[int]time.Duration{0: 100 * time.Millisecond, 3: 800 * time.Millisecond, 9: 30 * time.Second, 1000: 30 * time.Second} {
		if d := r.rule.pause(n, 0); d != want {
			t.Errorf("pause %d: %v, want %v", n, d, want)
		}
		if d := r.rule.pause(n, 0.999999); d < want/2 || d > want*51/100 {
			t.Errorf("shortest pause %d: %v", n, d)
		}
	}
}

func TestBadRestart(t *testing.T) {
	for field, r := range map[string]Restart{
		"Spec.Restart.When":       {When: 7},
		"Spec.Restart.Strategy":   {Strategy: 7},
		"Spec.Restart.Period":     {Period: -1},
		"Spec.Restart.MaxBackoff": {MaxBackoff: -1},
	} {
		var se *SpecError
		if err := r.check(); !errors.As(err, &se) || se.Field != field {
			t.Errorf("%+v: %v", r, err)
		}
	}
}
