package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
)

// held starts a run whose workers wait at a gate, and returns what lets them go.
func (l *lab) held(args ...string) (run *command, release func()) {
	l.t.Helper()
	g, out := l.gate("held-in"), l.gate("held-out")
	run = l.command(append([]string{"run"}, append(args, "--", "sh", "-c", fmt.Sprintf(ready, g)+fmt.Sprintf("read x < %q", out))...)...).start()
	g.arrive(run)
	return run, func() {
		l.t.Helper()
		out.open(l.t)
		if r := run.wait(); r.code != 0 || r.stderr != "" {
			l.t.Errorf("run: exit code %d, stderr %q", r.code, r.stderr)
		}
	}
}

// Layers: files in order, then --set in order.
func TestConfigLayers(t *testing.T) {
	l := newLab(t)
	l.write("a.yaml", "Name: first\ndeep: {x: 1, y: two}\nlist: [1, 2]\nbig: 9007199254740993\n")
	l.write("b.toml", "deep.x = 10\n")
	l.write("c.json", `{"list":["only"]}`)
	_, release := l.held("--config", "a.yaml", "--config", "b.toml", "--config", "c.json",
		"--set", "deep.z=true", "--set", "deep.z=false", "--set", "level=nonsense", "--set", "zip=01234", "--set", `list.1="8080"`)
	for key, want := range map[string]string{
		"Name":   "first",
		"deep.x": "10",
		"deep.y": "two",
		"deep.z": "false",
		"level":  "nonsense", // means nothing to shmkit itself
		"zip":    "01234",
		"list":   `["only","8080"]`,
		"list.1": "8080",
		"big":    "9007199254740993",
		"deep":   `{"x":10,"y":"two","z":false}`,
	} {
		if got := l.want("config", "get", key); got != want+"\n" {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if got := l.want("config", "get", "--json", "Name"); got != "\"first\"\n" {
		t.Errorf("as JSON: %q", got)
	}
	whole := l.want("config", "get")
	var doc map[string]any
	if err := json.Unmarshal([]byte(whole), &doc); err != nil || len(doc) != 6 || !strings.Contains(whole, "\n  \"deep\": {\n    \"x\": 10,") {
		t.Errorf("whole document: %v\n%s", err, whole)
	}
	if got := l.want("config", "get", "--json"); strings.Count(got, "\n") != 1 {
		t.Errorf("whole document as JSON: %q", got)
	}
	release()
}

// A running worker asks for a value, another process changes it, the worker
// asks again.
func TestConfigInsideAWorker(t *testing.T) {
	l := newLab(t)
	in, out := l.gate("in"), l.gate("out")
	c := l.command("run", "--name", "inside", "--set", "mode=slow", "--log", "json:out.jsonl", "--", "sh", "-c", fmt.Sprintf(`
shmkit config get mode
echo ready > %q
read x < %q
shmkit config get mode
shmkit config get no.such.key || echo "exit $?"
shmkit config set from.worker=$SHMKIT_RANK
shmkit config get from
`, in, out)).start()
	in.arrive(c)
	// From outside: --run, and the only live run.
	if r := l.shmkit("config", "set", "--run", "inside", "mode=fast"); r.code != 0 || r.stdout+r.stderr != "" {
		t.Errorf("set: %+v", r)
	}
	if got := l.want("config", "get", "mode"); got != "fast\n" {
		t.Errorf("outside: %q", got)
	}
	out.open(t)
	if r := c.wait(); r.code != 0 || r.stderr != "" {
		t.Errorf("run: %+v", r)
	}
	got, _ := captured(l.records("out.jsonl"))
	if want := []string{"slow", "fast", "exit 1", `{"worker":0}`}; fmt.Sprint(got["0/stdout"]) != fmt.Sprint(want) {
		t.Errorf("worker saw %q, want %q", got["0/stdout"], want)
	}
	if errs := got["0/stderr"]; len(errs) != 2 || !strings.Contains(errs[0], `"no.such.key"`) || !strings.Contains(errs[1], "created") {
		t.Errorf("worker's stderr: %q", errs)
	}
}

func TestConfigSet(t *testing.T) {
	l := newLab(t)
	_, release := l.held("--set", "a=1", "--set", "s=text")
	r := l.shmkit("config", "set", "new.key={\"x\":[1]}")
	if r.code != 0 || r.stdout != "" {
		t.Errorf("new key: %+v", r)
	}
	oneLineError(t, r.stderr, `"new.key"`, "created")
	if r := l.shmkit("config", "set", "a=2"); r.code != 0 || r.stdout+r.stderr != "" {
		t.Errorf("old key: %+v", r)
	}
	// Version 1 was the start, 2 the new key, 3 a=2.
	if r := l.shmkit("config", "set", "a=3", "--if-version", "3"); r.code != 0 {
		t.Errorf("right version: %+v", r)
	}
	r = l.shmkit("config", "set", "a=99", "--if-version", "3")
	if r.code != 1 {
		t.Errorf("wrong version: %+v", r)
	}
	oneLineError(t, r.stderr, "version 4")
	r = l.shmkit("config", "set", "s.below=1")
	if r.code != 1 {
		t.Errorf("below a string: %+v", r)
	}
	oneLineError(t, r.stderr, `"s`)
	r = l.shmkit("config", "get", "A")
	if r.code != 1 || r.stdout != "" {
		t.Errorf("other case: %+v", r)
	}
	oneLineError(t, r.stderr, `"A"`)
	for key, want := range map[string]string{"a": "3", "s": "text", "new.key.x.0": "1"} {
		if got := l.want("config", "get", key); got != want+"\n" {
			t.Errorf("%s is %q", key, got)
		}
	}
	release()
}

// watch prints a line now and at each change, and ends with the run.
func TestConfigWatch(t *testing.T) {
	l := newLab(t)
	_, release := l.held("--set", "mode=slow", "--set", "other=1")
	type watcher struct {
		*command
		out *bufio.Reader
	}
	watch := func(args ...string) watcher {
		c := l.command(append([]string{"config", "watch"}, args...)...)
		c.Cmd.Stdout = nil
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		w := watcher{c, bufio.NewReader(out)}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.cancel)
		return w
	}
	line := func(w watcher, want string) {
		t.Helper()
		if got, err := w.out.ReadString('\n'); got != want+"\n" || err != nil {
			t.Errorf("watch printed %q, %v; want %q", got, err, want)
		}
	}
	one, all, none, js := watch("mode"), watch(), watch("later"), watch("later", "--json")
	line(one, "1 slow")
	line(all, `1 {"mode":"slow","other":1}`)
	line(none, "1")
	line(js, `{"version":1}`)
	l.want("config", "set", "other=2")
	line(all, `2 {"mode":"slow","other":2}`)
	l.want("config", "set", `mode="two\nlines"`)
	line(one, `3 "two\nlines"`) // version 2 left the key alone
	line(all, `3 {"mode":"two\nlines","other":2}`)
	if r := l.shmkit("config", "set", "later=now"); r.code != 0 {
		t.Errorf("set: %+v", r)
	}
	line(none, "4 now")
	line(js, `{"version":4,"value":"now"}`)
	release()
	for _, w := range []watcher{one, none, js} {
		if rest, err := io.ReadAll(w.out); err != nil || len(rest) > 0 {
			t.Errorf("watch went on with %q, %v", rest, err)
		}
	}
	line(all, `4 {"later":"now","mode":"two\nlines","other":2}`)
	for _, w := range []watcher{one, all, none, js} {
		if err := w.Wait(); err != nil || w.stderr.Len() > 0 {
			t.Errorf("watch ended with %v, stderr %q", err, &w.stderr)
		}
	}
}

// Which run is meant: --run, else $SHMKIT_RUN, else the only one.
func TestWhichRun(t *testing.T) {
	l := newLab(t)
	r := l.shmkit("config", "get")
	if r.code != 1 {
		t.Errorf("no run: %+v", r)
	}
	oneLineError(t, r.stderr, "no")
	if got := l.want("ps", "--json"); got != "[]\n" {
		t.Errorf("ps without a run: %q", got)
	}

	hold := l.gate("hold")
	var runs []*command
	for _, name := range []string{"one", "two"} {
		g := l.gate("in-" + name)
		c := l.command("run", "--name", name, "--set", "me="+name, "--", "sh", "-c",
			fmt.Sprintf(ready, g)+fmt.Sprintf("read x < %q", hold)).start()
		g.arrive(c)
		runs = append(runs, c)
	}
	r = l.shmkit("config", "get", "me")
	if r.code != 1 {
		t.Errorf("two runs: %+v", r)
	}
	oneLineError(t, r.stderr, "one", "two", "--run")
	if got := l.want("config", "get", "me", "--run", "two"); got != "two\n" {
		t.Errorf("--run: %q", got)
	}
	c := l.command("config", "get", "me")
	c.Env = append(c.Env, "SHMKIT_RUN=one")
	if r := c.start().wait(); r.stdout != "one\n" {
		t.Errorf("SHMKIT_RUN: %+v", r)
	}
	c = l.command("config", "get", "me", "--run", "two")
	c.Env = append(c.Env, "SHMKIT_RUN=one")
	if r := c.start().wait(); r.stdout != "two\n" {
		t.Errorf("--run over SHMKIT_RUN: %+v", r)
	}
	r = l.shmkit("config", "get", "--run", "three")
	if r.code != 1 {
		t.Errorf("no such run: %+v", r)
	}
	oneLineError(t, r.stderr, `"three"`)

	// A name that is taken.
	r = l.shmkit("run", "--name", "one", "--log", "json:taken.jsonl", "--log", "sqlite:taken.db", "--", "true")
	if r.code != 1 || r.stdout != "" {
		t.Errorf("taken name: %+v", r)
	}
	oneLineError(t, r.stderr, `"one"`, fmt.Sprint(runs[0].Process.Pid))
	l.absent("taken.jsonl", "taken.db", "taken.db-wal")

	for range runs {
		hold.open(t)
	}
	for _, c := range runs {
		if r := c.wait(); r.code != 0 {
			t.Errorf("run: %+v", r)
		}
	}
}
