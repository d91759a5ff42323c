package logring

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A levelRule says from which level on some loggers log.
type levelRule struct {
	group string // "" means every one
	rank  int    // anyRank means every one
	// logger is a name, or "name.*": that one and those below it. "" is what has no
	// better rule.
	logger string
	level  slog.Level
}

const anyRank = -1 << 31

// narrow says how exact the rule is about who logs.
func (r *levelRule) narrow() int {
	switch {
	case r.rank != anyRank:
		return 2
	case r.group != "":
		return 1
	}
	return 0
}

func (r *levelRule) holdsFor(group string, rank int) bool {
	return (r.group == "" || r.group == group) && (r.rank == anyRank || r.rank == rank)
}

// parseRule takes the key of a rule apart: [GROUP[/RANK]:]LOGGER.
func parseRule(key string, level slog.Level) (r levelRule, err error) {
	bad := func(what string) (levelRule, error) {
		return r, fmt.Errorf(`logring: level rule %q: %s: write it as [GROUP[/RANK]:]LOGGER, as in "db.*", "count:" or "count/3:db.pool"`, key, what)
	}
	r = levelRule{rank: anyRank, level: slog.Level(wireLevel(level))}
	scope, logger, scoped := strings.Cut(key, ":")
	if !scoped {
		scope, logger = "", key
	} else if scope == "" {
		return bad("no group before the colon")
	}
	group, rank, ranked := strings.Cut(scope, "/")
	if r.group = group; ranked {
		n, err := strconv.Atoi(rank)
		if err != nil || n < NodeWorker || group == "" {
			return bad(fmt.Sprintf("%q is no worker", scope))
		}
		r.rank = n
	}
	if logger == "*" {
		logger = ""
	} else if logger == "" && !scoped {
		return bad("it is empty")
	}
	if strings.Contains(strings.TrimSuffix(logger, ".*"), "*") || logger == ".*" {
		return bad("a star stands alone, or at the end behind a dot")
	}
	if len(logger) > maxLogger {
		return bad(fmt.Sprintf("a name of %d bytes, at most %d", len(logger), maxLogger))
	}
	r.logger = logger
	return r, nil
}

// maxLogger is the longest name of a logger that rules see, in bytes.
const maxLogger = 255

// SetLevels gives loggers levels of their own (see [LoggerKey]), and replaces what
// the last SetLevels gave. A key is [GROUP[/RANK]:]LOGGER:
//
//	"db.pool"        the logger of that name, wherever it is
//	"db.*"           the logger db and all below it: db.pool, db.pool.idle
//	"*"              all loggers, and those without a name
//	"count:"         all of group count; the node itself is "node:"
//	"count/3:db.*"   db and below in worker 3 of count
//
// Of several rules for a logger the one with the longest name holds, then the one
// that is narrower about who logs. A logger without a rule has the level of its
// worker: that of a rule without a name, or else of [Collector.SetGroupLevel] and
// [Collector.SetLevel].
//
// Workers that run obey with their next log call. Rules take room in the memory
// that each worker shares with the node; more than fit (about 2 KiB for one worker)
// are refused, and then nothing has changed.
func (c *Collector) SetLevels(levels map[string]slog.Level) error {
	var rules []levelRule
	for _, key := range slices.Sorted(maps.Keys(levels)) {
		r, err := parseRule(key, levels[key])
		if err != nil {
			return err
		}
		rules = append(rules, r)
	}
	// The longest name first, of equal ones the narrowest, so that the first that
	// fits is the one that holds.
	slices.SortStableFunc(rules, func(a, b levelRule) int {
		return cmp.Or(cmp.Compare(len(b.logger), len(a.logger)), cmp.Compare(a.logger, b.logger), b.narrow()-a.narrow())
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range c.tallies {
		if err := rulesFit(rules, k.group, k.rank); err != nil {
			return err
		}
	}
	c.rules = rules
	c.publishLevels()
	return nil
}

// rulesFit says if a worker cannot be told all its rules.
func rulesFit(rules []levelRule, group string, rank int) error {
	if n := len(appendRules(nil, rules, group, rank)); n > maxRules {
		return fmt.Errorf("logring: level rules: those for %s/%d take %d bytes, possible are %d: use fewer, or shorter names with a star", group, rank, n, maxRules)
	}
	return nil
}

// levelOf returns the level of a worker's loggers that have no better rule. It needs
// mu.
func (c *Collector) levelOf(group string, rank int) slog.Level {
	level, ofGroup := c.levels[group]
	if !ofGroup {
		level = c.level
	}
	for i := range c.rules {
		if r := &c.rules[i]; r.logger == "" && r.holdsFor(group, rank) {
			if r.narrow() > 0 || !ofGroup {
				level = r.level
			}
			break // the narrowest comes first
		}
	}
	return level
}

// What a worker is told of the rules: i32 its own level, then for each rule with a
// name, the longest first: i32 level, u8 n, n bytes of name.
const (
	maxRules    = 2 << 10
	rulesFixed  = 4
	ruleFixed   = 5
	rulesSlots  = 4
	rulesLength = 128 + rulesSlots*(maxRules+rulesFixed+128) // at least what seqlock.Size says
)

// rulesOf returns what one worker is told. It needs mu.
func (c *Collector) rulesOf(group string, rank int) []byte {
	doc := le.AppendUint32(nil, levelBits(c.levelOf(group, rank)))
	return appendRules(doc, c.rules, group, rank)
}

// appendRules appends those that hold for one worker.
func appendRules(dst []byte, rules []levelRule, group string, rank int) []byte {
	last := ""
	for i := range rules {
		r := &rules[i]
		if r.logger == "" || r.logger == last || !r.holdsFor(group, rank) {
			continue // of several with one name the narrowest comes first
		}
		last = r.logger
		dst = le.AppendUint32(dst, uint32(wireLevel(r.level)))
		dst = append(dst, byte(len(r.logger)))
		dst = append(dst, r.logger...)
	}
	return dst
}

// ruleFor returns the level of a logger by what a worker was told.
func ruleFor(doc []byte, logger string) slog.Level {
	if len(doc) < rulesFixed {
		return slog.LevelInfo
	}
	own := slog.Level(int32(le.Uint32(doc)))
	for b := doc[rulesFixed:]; len(b) >= ruleFixed; {
		level, n := slog.Level(int32(le.Uint32(b))), int(b[ruleFixed-1])
		if b = b[ruleFixed:]; n > len(b) {
			break
		}
		if under(logger, stringOf(b[:n])) {
			return level
		}
		b = b[n:]
	}
	return own
}

// under reports whether a rule for pattern holds for the logger.
func under(logger, pattern string) bool {
	top, tree := strings.CutSuffix(pattern, ".*")
	if !tree {
		return logger == pattern
	}
	rest, found := strings.CutPrefix(logger, top)
	return found && (rest == "" || rest[0] == '.')
}
