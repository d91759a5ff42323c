package logring

import (
	"log"
	"log/slog"
	"sync"
)

// CaptureDefault makes h the handler of everything in this process that logs
// without being told where: [slog.Default], and package log, whose lines become
// records of the given level. It returns what undoes it.
//
//	defer logring.CaptureDefault(w.Handler(nil), slog.LevelInfo)()
//
// It is slog.SetDefault with a level for package log, and a way back. The prefix of
// package log stays in front of its messages; its flags are set to 0, since the
// record carries time and position. A logger of one's own for code that takes a
// *log.Logger is [slog.NewLogLogger] of a handler of this package. A nil h panics.
func CaptureDefault(h slog.Handler, level slog.Level) (restore func()) {
	if h == nil {
		panic("logring: CaptureDefault: the handler is nil: give it what Writer.Handler or Collector.Handler returns")
	}
	before, out, flags := slog.Default(), log.Writer(), log.Flags()
	slog.SetDefault(slog.New(h))
	log.SetOutput(slog.NewLogLogger(h, level).Writer())
	log.SetFlags(0)
	return sync.OnceFunc(func() {
		// slog first: unless it was slog's first default, it takes package log with it.
		slog.SetDefault(before)
		log.SetOutput(out)
		log.SetFlags(flags)
	})
}
