package logring

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestRuleSyntax(t *testing.T) {
	for key, want := range map[string]levelRule{
		"db":           {rank: anyRank, logger: "db"},
		"db.*":         {rank: anyRank, logger: "db.*"},
		"*":            {rank: anyRank},
		"count:":       {group: "count", rank: anyRank},
		"count:*":      {group: "count", rank: anyRank},
		"count/3:":     {group: "count", rank: 3},
		"count/3:a.b":  {group: "count", rank: 3, logger: "a.b"},
		"node/-1:a":    {group: "node", rank: NodeWorker, logger: "a"},
		"count:a:b":    {group: "count", rank: anyRank, logger: "a:b"},
		"ünï/0:cödé.*": {group: "ünï", rank: 0, logger: "cödé.*"},
	} {
		if got, err := parseRule(key, 0); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", key, got, err, want)
		}
	}
	for key, what := range map[string]string{
		"":                       "empty",
		"db*":                    "star",
		".*":                     "star",
		"*.db":                   "star",
		"a.*.b":                  "star",
		":db":                    "no group",
		"count/x:db":             `"count/x" is no worker`,
		"count/-2:db":            "is no worker",
		"/3:db":                  "is no worker",
		strings.Repeat("x", 300): "300 bytes",
	} {
		c := newCollector(t, CollectorOptions{})
		err := c.SetLevels(map[string]slog.Level{key: 0})
		if err == nil || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), fmt.Sprintf("%q", key)) || !strings.Contains(err.Error(), "write it as") {
			t.Errorf("%q: error %v, want one with the rule, %q and the cure", key, err, what)
		}
	}
}

// Which rule holds: the longest name, then the narrowest worker.
func TestRuleOrder(t *testing.T) {
	c := newCollector(t, CollectorOptions{Level: 1})
	c.SetGroupLevel("web", 2)
	if err := c.SetLevels(map[string]slog.Level{
		"db.*": 10, "db.pool": 11, "count:db.*": 12, "count/3:db.*": 13,
		"count:": 14, "count/3:": 15, "http": 16, "db.pool.*": 17, "web:db.pool": 18,
	}); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		group  string
		rank   int
		logger string
		want   slog.Level
	}{
		{"job", 0, "", 1},
		{"job", 0, "other", 1},
		{"job", 0, "db", 10},
		{"job", 0, "db.x.y", 10},
		{"job", 0, "dbx", 1},
		{"job", 0, "db.pool", 17}, // the tree's pattern is the longer one
		{"job", 0, "db.pool.idle", 17},
		{"job", 0, "http", 16},
		{"job", 0, "http.x", 1},
		{"count", 0, "", 14},
		{"count", 0, "db", 12},
		{"count", 3, "db", 13},
		{"count", 3, "", 15},
		{"count", 3, "other", 15},
		{"count", 3, "db.pool", 17},
		{"web", 0, "", 2},
		{"web", 0, "other", 2},
	} {
		c.mu.Lock()
		doc := c.rulesOf(x.group, x.rank)
		c.mu.Unlock()
		got := ruleFor(doc, x.logger)
		if x.logger == "" {
			got = slog.Level(int32(le.Uint32(doc)))
		}
		if got != x.want {
			t.Errorf("%s/%d, logger %q: %v, want %v", x.group, x.rank, x.logger, int(got), int(x.want))
		}
	}
	// "*" is for those that nothing else is said of.
	if err := c.SetLevels(map[string]slog.Level{"*": 5, "web/1:": 6}); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		group string
		rank  int
		want  slog.Level
	}{{"job", 0, 5}, {"web", 0, 2}, {"web", 1, 6}} {
		c.mu.Lock()
		got := c.levelOf(x.group, x.rank)
		c.mu.Unlock()
		if got != x.want {
			t.Errorf("%s/%d: %v, want %v", x.group, x.rank, got, x.want)
		}
	}
}

// What a worker was told, cut anywhere, is no reason to fail.
func TestRulesCutShort(t *testing.T) {
	doc := appendRules(le.AppendUint32(nil, 4), []levelRule{{rank: anyRank, logger: "db.*", level: 8}, {rank: anyRank, logger: "x", level: 1}}, "g", 0)
	for n := range len(doc) + 1 {
		ruleFor(doc[:n], "x")
	}
	if l := ruleFor(doc, "x"); l != 1 {
		t.Errorf("level %v, want 1", l)
	}
}
