package main

import (
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// A logFilter is a list of conditions that a record has to meet, all of them.
type logFilter struct {
	level   levelFlag
	groups  []string
	workers []int
	since   timeFlag
	until   timeFlag
	text    string
	regexp  regexpFlag
}

func (f *logFilter) addFlags(flags *pflag.FlagSet) {
	flags.Var(&f.level, "level", "lowest level: debug, info, warn, error, or as in info+2")
	flags.StringArrayVar(&f.groups, "group", nil, "`GROUP` of the workers; node is the node itself (repeatable)")
	flags.IntSliceVar(&f.workers, "worker", nil, "rank of the worker (repeatable)")
	flags.Var(&f.since, "since", "not before then")
	flags.Var(&f.until, "until", "before then")
	flags.StringVar(&f.text, "text", "", "what the message, a key or a value contains, in upper or lower case")
	flags.Var(&f.regexp, "regexp", "what the message, or KEY=VALUE of an attribute, matches")
}

func (f *logFilter) wants(e *logEntry) bool {
	switch {
	case f.level.set && e.level < f.level.Level,
		len(f.groups) > 0 && !slices.Contains(f.groups, e.group),
		len(f.workers) > 0 && !slices.Contains(f.workers, e.worker),
		!f.since.IsZero() && e.time.Before(f.since.Time),
		!f.until.IsZero() && !e.time.Before(f.until.Time):
		return false
	}
	if f.text != "" && !e.any(func(s string) bool { return containsFold(s, f.text) }) {
		return false
	}
	return f.regexp.Regexp == nil || e.any(f.regexp.MatchString)
}

// any reports whether f holds for the message or an attribute.
func (e *logEntry) any(f func(string) bool) bool {
	return f(e.msg) || slices.ContainsFunc(e.attrs, func(a logAttr) bool { return f(a.key + "=" + a.text()) })
}

func containsFold(s, part string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(part))
}

type levelFlag struct {
	slog.Level
	set bool
}

func (f *levelFlag) Type() string { return "LEVEL" }
func (f *levelFlag) String() string {
	if !f.set {
		return ""
	}
	return f.Level.String()
}

func (f *levelFlag) Set(s string) error {
	if err := f.UnmarshalText([]byte(s)); err != nil {
		return fmt.Errorf("use debug, info, warn, error, or as in info+2")
	}
	f.set = true
	return nil
}

type timeFlag struct{ time.Time }

func (f *timeFlag) Type() string { return "TIME" }
func (f *timeFlag) String() string {
	if f.IsZero() {
		return ""
	}
	return f.Format(time.RFC3339)
}

func (f *timeFlag) Set(s string) error {
	if d, err := time.ParseDuration(s); err == nil {
		f.Time = time.Now().Add(-d)
		return nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly, time.DateTime, "2006-01-02T15:04:05", "2006-01-02 15:04"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			f.Time = t
			return nil
		}
	}
	return fmt.Errorf(`use 2006-01-02, "2006-01-02 15:04:05", RFC 3339, or how long ago, as in 90m`)
}

type regexpFlag struct{ *regexp.Regexp }

func (f *regexpFlag) Type() string { return "REGEXP" }
func (f *regexpFlag) String() string {
	if f.Regexp == nil {
		return ""
	}
	return f.Regexp.String()
}

func (f *regexpFlag) Set(s string) (err error) {
	f.Regexp, err = regexp.Compile(s)
	return err
}

// countFlag is a number that is not negative.
type countFlag int

func (f *countFlag) Type() string   { return "N" }
func (f *countFlag) String() string { return strconv.Itoa(int(*f)) }
func (f *countFlag) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 1_000_000 {
		return fmt.Errorf("give a number from 0 to 1000000")
	}
	*f = countFlag(n)
	return nil
}

// tableFlag is the name of a table.
type tableFlag string

var tableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$`)

func (f *tableFlag) Type() string   { return "TABLE" }
func (f *tableFlag) String() string { return string(*f) }
func (f *tableFlag) Set(s string) error {
	if !tableName.MatchString(s) {
		return fmt.Errorf("use letters, digits and _, optionally SCHEMA.TABLE")
	}
	*f = tableFlag(s)
	return nil
}
