package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// What changed, by whom, and back again.
func TestConfigHistory(t *testing.T) {
	l := newLab(t)
	_, release := l.held("--set", "a=1", "--set", "deep.x=[1,2]")
	l.want("config", "set", "a=2")
	l.want("config", "set", "deep.x.0=9")
	l.want("config", "unset", "a")

	history := strings.Split(strings.TrimSpace(l.want("config", "history")), "\n")
	for i, want := range []string{`1 `, `2 `, `3 `, `4 `} {
		if len(history) != 4 || !strings.HasPrefix(history[i], want) || !strings.HasSuffix(history[i], []string{
			`start`, `"control socket" set a`, `"control socket" set deep.x.0`, `"control socket" unset a`}[i]) {
			t.Fatalf("history: %q", history)
		}
	}
	var last struct{ Version uint64 }
	text := strings.Split(strings.TrimSpace(l.want("config", "history", "--json")), "\n")
	if err := json.Unmarshal([]byte(text[len(text)-1]), &last); err != nil || last.Version != 4 {
		t.Errorf("%v: %s", err, text)
	}
	if got, want := l.want("config", "diff", "1"), "a: - 1\ndeep.x: [1,2] → [9,2]\n"; got != want {
		t.Errorf("diff 1: %q, want %q", got, want)
	}
	if got, want := l.want("config", "diff", "2", "1", "--json"), `{"path":"a","old":2,"new":1}`+"\n"; got != want {
		t.Errorf("diff 2 1: %q, want %q", got, want)
	}
	r := l.shmkit("config", "diff", "9")
	if r.code != 1 {
		t.Errorf("%+v", r)
	}
	oneLineError(t, r.stderr, "version 9 is not kept", "from 1 to 4")

	if got := l.want("config", "rollback", "2", "--if-version", "4"); got != "5\n" {
		t.Errorf("rollback printed %q", got)
	}
	if got := l.want("config", "get", "--json"); got != `{"a":2,"deep":{"x":[1,2]}}`+"\n" {
		t.Errorf("after it: %s", got)
	}
	r = l.shmkit("config", "rollback", "1", "--if-version", "4")
	if r.code != 1 {
		t.Errorf("%+v", r)
	}
	oneLineError(t, r.stderr, "made for version 4, but version 5")

	if got := l.want("config", "explain", "a"); got != "runtime, version 5 by \"control socket\": 2\ndefaults: 1\n" && got != "runtime, version 2 by \"control socket\": 2\ndefaults: 1\n" {
		t.Errorf("explain: %q", got)
	}
	l.want("config", "reset")
	if got := l.want("config", "get", "a"); got != "1\n" {
		t.Errorf("after reset: %q", got)
	}
	release()
}

// Overrides and canaries change other documents than everybody's.
func TestConfigForSome(t *testing.T) {
	l := newLab(t)
	_, release := l.held("--set", "rate=1")
	get := func(who, want string) {
		t.Helper()
		args := []string{"config", "get", "rate"}
		if who != "" {
			args = append(args, "--for", who)
		}
		if got := l.want(args...); got != want+"\n" {
			t.Errorf("for %q: %q, want %s", who, got, want)
		}
	}
	l.want("config", "set", "rate=2", "--for", "train")
	get("", "1")
	get("train/3", "2")
	if got, want := l.want("config", "explain", "rate", "--for", "train/1"), "runtime for train, version 2 by \"control socket\": 2\ndefaults: 1\n"; got != want {
		t.Errorf("explain: %q, want %q", got, want)
	}
	l.want("config", "set", "rate=3", "--canary", "train/0")
	get("train/0", "3")
	get("train/1", "2")
	get("", "1")
	r := l.shmkit("config", "set", "rate=4", "--canary", "train/1")
	if r.code != 1 {
		t.Errorf("%+v", r)
	}
	oneLineError(t, r.stderr, "promote or abandon it first")
	l.want("config", "reset", "--for", "train")
	l.want("config", "promote")
	get("", "3")
	r = l.shmkit("config", "abandon")
	if r.code != 1 {
		t.Errorf("%+v", r)
	}
	oneLineError(t, r.stderr, "no canary")
	release()
}

func TestConfigValidate(t *testing.T) {
	l := newLab(t)
	l.write("good.yaml", "level: debug\nn: 1\n")
	l.write("bad.yaml", "level: [1]\n")
	_, release := l.held("--set", "a=1")
	if got := l.want("config", "validate", "good.yaml", "--set", "n=2"); got != "" {
		t.Errorf("good: %q", got)
	}
	l.want("config", "validate", "bad.yaml") // a level of another kind means nothing to run
	if got := l.want("config", "get", "--json"); got != `{"a":1}`+"\n" {
		t.Errorf("validate changed it: %s", got)
	}
	release()
}
