//go:build linux

package logring

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"shmkit/internal/proctest"
)

// floods logs as fast as it can, infos and debugs in turn, until it is killed. After
// each pair it notes how many pairs have returned.
var _ = proctest.Helper("floods", func(args []string) {
	w := attached(args, 1)
	returned := mapCounter(args[0])
	l := slog.New(w.Handler(nil))
	for i := 0; ; i++ {
		l.LogAttrs(context.Background(), slog.LevelDebug, "debug", slog.Int("i", i))
		l.LogAttrs(context.Background(), slog.LevelInfo, "info", slog.Int("i", i))
		atomic.StoreInt64(returned, int64(i+1))
	}
})

// Workers that log faster than the sink writes are killed at a random moment: infos
// are dropped when there is no room, debugs overwrite the oldest. What is missing in
// the stream is what the account says and what the stream tells, to the record; and of
// the debugs the newest is there.
//
// Leaving out what the node tells for the dead (letGo) lets this fail, and so does
// counting what was overwritten at each look anew.
func TestKilledUnderEachPolicy(t *testing.T) {
	const rounds = 6
	rnd := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	k := &keeper{}
	slow := sinkFunc(func(batch []Record) error {
		time.Sleep(time.Duration(len(batch)) * 2 * time.Microsecond)
		return k.Write(batch)
	})
	c := newCollector(t, CollectorOptions{RingSize: 32 << 10, MaxRecord: 512, Level: slog.LevelDebug,
		Policy: DropNew, PolicyFrom: map[slog.Level]Policy{slog.LevelDebug: OverwriteOldest, slog.LevelInfo: DropNew},
		Sinks: []Sink{With(slow, SinkOptions{Queue: 1, Stall: time.Hour})}})
	for rank := range rounds {
		note := counterFile(t, t.TempDir(), rank)
		returned := mapCounter(note)
		s := start(t, c, "floods", "g", rank, note)
		for after := int64(1 + rnd.IntN(20000)); atomic.LoadInt64(returned) < after; {
			time.Sleep(100 * time.Microsecond)
		}
		s.cmd.Process.Kill()
		if err := s.wait(); err == nil {
			t.Error("it ended by itself")
		}
		flushAll(t, c)
		calls := atomic.LoadInt64(returned)
		unmapCounter(returned)

		var mine []Record
		next, missing := map[string]int64{}, map[string]uint64{}
		for _, r := range k.all() {
			if r.Group != "g" || r.Worker != rank {
				continue
			}
			mine = append(mine, r)
			if r.Message == gapMessage {
				continue
			}
			i := attrOf(t, r, "i").Int64()
			if i < next[r.Message] {
				t.Fatalf("worker %d: %s %d after %d", rank, r.Message, i, next[r.Message]-1)
			}
			missing[r.Message] += uint64(i - next[r.Message])
			next[r.Message] = i + 1
		}
		if n := next["debug"]; n < calls || n > calls+1 {
			t.Errorf("worker %d: %d calls returned, the newest debug is %d", rank, calls, n-1)
		}
		// Infos at the end may be dropped, and the process may have died between the
		// drop and its note, or the other way round.
		missing["info"] += uint64(max(calls-next["info"], 0))
		st := c.Stats()
		checkAccount(t, st)
		w := st.Workers[rank]
		if w.Worker != rank || w.Pending != 0 || w.Delivered != uint64(len(mine)) {
			t.Errorf("worker %d: account %+v of %d records", rank, w, len(mine))
		}
		for message, reason := range map[string]string{"debug": DropOverwritten, "info": DropFull} {
			_, told := gapsIn(t, mine, reason)
			if told != w.Dropped[reason] {
				t.Errorf("worker %d: %s: told %d, dropped %d", rank, reason, told, w.Dropped[reason])
			}
			if n := w.Dropped[reason]; n != missing[message] && !(message == "info" && n == missing[message]+1) {
				t.Errorf("worker %d: %s: %d counted, %d missing", rank, reason, n, missing[message])
			}
		}
	}
	if s := c.Stats(); s.Dropped[DropOverwritten] == 0 || s.Dropped[DropFull] == 0 {
		t.Errorf("dropped %v: the test shows nothing", s.Dropped)
	}
}
