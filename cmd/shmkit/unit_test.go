package main

import (
	"encoding/json"
	"errors"
	"strings"
	"syscall"
	"testing"

	"shmkit/logring"
	"shmkit/spawn"
)

func TestParseSink(t *testing.T) {
	for in, want := range map[string]sinkSpec{
		"console":                          {"console", ""},
		"json:a":                           {"json", "a"},
		"text:/x:y z":                      {"text", "/x:y z"},
		"sqlite:out/a.db":                  {"sqlite", "out/a.db"},
		"syslog":                           {"syslog", ""},
		"journald":                         {"journald", ""},
		"otlp://h:4317":                    {"otlp", "//h:4317"},
		"postgres://u@h/d?sslmode=disable": {"postgres", "//u@h/d?sslmode=disable"},
		"rotate:a?mb=1&every=24h&keep=3&days=2&total=100&compress=zstd&format=text&at=00:00,12:00": {"rotate", "a?mb=1&every=24h&keep=3&days=2&total=100&compress=zstd&format=text&at=00:00,12:00"},
	} {
		if got, err := parseSink(in); err != nil || got != want || got.String() != in {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "json", "json:", "Console", "stdout", ":x", "console:"} {
		if got, err := parseSink(in); err == nil {
			t.Errorf("%q is %+v", in, got)
		}
	}
}

func TestFormat(t *testing.T) {
	for _, c := range []struct{ in, plain, line, compact string }{
		{`"text"`, "text", "text", `"text"`},
		{`""`, "", "", `""`},
		{`"a\nb"`, "a\nb", `"a\nb"`, `"a\nb"`},
		{`"\u001b[31m"`, "\x1b[31m", `"\u001b[31m"`, `"\u001b[31m"`},
		{`12345678901234567890.10`, "12345678901234567890.10", "12345678901234567890.10", "12345678901234567890.10"},
		{`null`, "null", "null", "null"},
		{`{ "a" : [ 1 ] }`, `{"a":[1]}`, `{"a":[1]}`, `{"a":[1]}`},
	} {
		in := json.RawMessage(c.in)
		p, err1 := plain(in)
		l, err2 := plainLine(in)
		k, err3 := compact(in)
		if err := errors.Join(err1, err2, err3); err != nil || p != c.plain || l != c.line || k != c.compact {
			t.Errorf("%s: %q %q %q %v", c.in, p, l, k, err)
		}
	}
}

func TestOneLine(t *testing.T) {
	if got := oneLine("a\nb\x1b[31m\r\u0085\u2028c\n"); got != "a; b [31m   c" {
		t.Errorf("%q", got)
	}
}

// What a run comes to, from how its workers and its node ended.
func TestOutcome(t *testing.T) {
	exits := func(x ...spawn.Exit) error { return &spawn.ExitError{Group: "g", Size: 4, Exits: x} }
	for name, c := range map[string]struct {
		wait, close error
		stats       logring.Stats
		code        int
		says        string // "" for silence
	}{
		"all well":        {},
		"worst worker":    {wait: exits(spawn.Exit{Rank: 0, Code: 3}, spawn.Exit{Rank: 1, Code: 139, Signal: syscall.SIGSEGV}), code: 139, says: "2 of 4 workers"},
		"stopped":         {wait: exits(spawn.Exit{Code: 143, Signal: syscall.SIGTERM, Stopped: true}), code: 143},
		"stopped, killed": {wait: exits(spawn.Exit{Code: 137, Signal: syscall.SIGKILL, Stopped: true}), code: 137, says: "signal 9"},
		"not stopped":     {wait: exits(spawn.Exit{Code: 143, Signal: syscall.SIGTERM}), code: 143, says: "signal 15"},
		"close fails":     {close: errors.New("logring: disk full"), code: 1, says: "disk full"},
		"both":            {wait: exits(spawn.Exit{Code: 2}), close: errors.New("disk full"), code: 2, says: "; disk full"},
		"given up":        {wait: exits(spawn.Exit{Code: 143, Signal: syscall.SIGTERM, Stopped: true}), close: errAbandoned, code: 130, says: "interrupted"},
		"dropped":         {stats: logring.Stats{Attempted: 10, Delivered: 8, Dropped: map[string]uint64{"full": 2}}, code: 1, says: "2 of 10 records dropped (full: 2)"},
		"sink dropped":    {stats: logring.Stats{Sinks: []logring.SinkStats{{Name: "json:x", Dropped: map[string]uint64{"write": 3, "none": 0}}}}, code: 1, says: `"json:x": 3 records not written (write: 3)`},
		"dropped, code":   {wait: exits(spawn.Exit{Code: 7}), stats: logring.Stats{Attempted: 1, Dropped: map[string]uint64{"full": 1}}, code: 7, says: "dropped"},
	} {
		var b strings.Builder
		if code := report(&b, outcome(c.wait, c.close, c.stats)); code != c.code {
			t.Errorf("%s: exit code %d, want %d", name, code, c.code)
		}
		if c.says == "" && b.Len() > 0 || !strings.Contains(b.String(), c.says) {
			t.Errorf("%s: says %q", name, b.String())
		}
	}
}
