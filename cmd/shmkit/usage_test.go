package main

import (
	"os"
	"strings"
	"testing"

	"shmkit/adapters/sqlitedb"
)

// absent checks that files of the working directory do not exist.
func (l *lab) absent(names ...string) {
	l.t.Helper()
	for _, name := range names {
		if _, err := os.Lstat(l.path(name)); err == nil {
			l.t.Errorf("left behind: %s", name)
		}
	}
}

// Every wrong command line is answered by one line that names the thing, with
// exit code 2, and every failure with exit code 1; nothing is left.
func TestBadInput(t *testing.T) {
	l := newLab(t)
	l.write("bad.yaml", "a: 1\n\tb: 2\n")
	l.write("bad.json", "{\n\"a\": }")
	l.write("bad.toml", "a =\n")
	l.write("twice.json", "{\"a\":1,\n\"a\":2}")
	l.write("conf.ini", "a=1\n")
	l.write("text.db", strings.Repeat("no database here\n", 100))
	l.write("not-executable", "echo hi\n")
	db, err := sqlitedb.Open(l.path("other.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("CREATE TABLE other(x)"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	before, err := os.ReadDir(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string // separated by blanks
		code int
		says []string
	}{
		{"run", 2, []string{"COMMAND is missing"}},
		{"run --", 2, []string{"COMMAND is missing"}},
		{"run -n 4", 2, []string{"COMMAND is missing"}},
		{"run -n 0 -- true", 2, []string{`"0"`, "-n", "1 to 16384"}},
		{"run -n -1 -- true", 2, []string{`"-1"`, "-n"}},
		{"run -n 100000 -- true", 2, []string{`"100000"`, "-n"}},
		{"run -n 100,000 -- true", 2, []string{`"100,000"`}},
		{"run -n many -- true", 2, []string{`"many"`}},
		{"run -n", 2, []string{"-n"}},
		{"run --frobnicate -- true", 2, []string{"--frobnicate"}},
		{"run -x -- true", 2, []string{"-x"}},
		{"run --log tape:/x -- true", 2, []string{`unknown sink "tape"`, "sqlite:PATH"}},
		{"run --log json -- true", 2, []string{"json:PATH"}},
		{"run --log json: -- true", 2, []string{"json:PATH"}},
		{"run --log console:x -- true", 2, []string{"console"}},
		{"run --log json:new --log text:./new -- true", 2, []string{"./new", "same place"}},
		{"run --log console --log console -- true", 2, []string{"same place"}},
		{"run --log journald:x -- true", 2, []string{"journald"}},
		{"run --log syslog: -- true", 2, []string{"syslog:tcp:HOST:PORT"}},
		{"run --log postgres:x -- true", 2, []string{"postgres://USER@HOST/DATABASE"}},
		{"run --log otlp:x -- true", 2, []string{"otlp://HOST:PORT"}},
		{"run --log rotate: -- true", 2, []string{"rotate:PATH"}},
		{"run --log rotate:new?keep=many -- true", 2, []string{"keep=many"}},
		{"run --log rotate:new?size=3 -- true", 2, []string{`"size"`, "mb"}},
		{"run --log json:new --log rotate:new?mb=1 -- true", 2, []string{"same place"}},
		{"run --set novalue -- true", 2, []string{`"novalue"`, "KEY=VALUE"}},
		{"run --set =1 -- true", 2, []string{"=1"}},
		{"run --set a..b=1 -- true", 2, []string{"a..b"}},
		{"run --name a/b -- true", 2, []string{`"a/b"`}},
		{"run --name .hidden -- true", 2, []string{".hidden"}},
		{"run --stop-timeout -1s -- true", 2, []string{"-1s"}},
		{"run --stop-timeout soon -- true", 2, []string{`"soon"`}},
		{"run --restart often -- true", 2, []string{`"often"`, "--restart", "on-failure"}},
		{"run --restart-strategy all -- true", 2, []string{`"all"`, "one-for-all"}},
		{"run --cpus near -- true", 2, []string{`"near"`, "compact"}},
		{"run --cpus compact:0 -- true", 2, []string{`"compact:0"`, "compact:2"}},
		{"run --umask 999 -- true", 2, []string{`"999"`, "octal"}},
		{"run --nice much -- true", 2, []string{`"much"`, "--nice"}},
		{"run --limit nofile -- true", 2, []string{`"nofile"`, "nofile=1024"}},
		{"run --limit bananas=3 -- true", 1, []string{"bananas", "nofile"}},
		{"run --crash-dir none/deep -- true", 1, []string{"none/deep", "CrashDir"}},
		{"run --secret a..b -- true", 1, []string{"a..b", "Secrets"}},
		{"run --stop-signal KILL -- true", 2, []string{`"KILL"`, "USR1"}},
		{"frobnicate", 2, []string{`"frobnicate"`}},
		{"--frobnicate", 2, []string{"--frobnicate"}},
		{"config", 2, []string{"get", "set", "watch"}},
		{"config got", 2, []string{`"got"`, "get"}},
		{"config get a b", 2, []string{`"b"`}},
		{"config set", 2, []string{"KEY=VALUE"}},
		{"config set a", 2, []string{`"a"`, "KEY=VALUE"}},
		{"config set a=1 b=2", 2, []string{`"b=2"`}},
		{"config watch a b", 2, []string{`"b"`}},
		{"config set a=1 --for train/x", 2, []string{`"x" is no rank`, "*/0"}},
		{"config set a=1 --for train --canary train/0", 2, []string{"--for and --canary"}},
		{"config unset", 2, []string{"KEY is missing"}},
		{"config diff", 2, []string{"FROM [TO] is missing"}},
		{"config diff x", 2, []string{`"x" is no version`, "history"}},
		{"config rollback 0", 2, []string{`"0" is no version`}},
		{"config rollback 1 2", 2, []string{`"2"`}},
		{"config explain", 2, []string{"KEY is missing"}},
		{"config history a", 2, []string{`"a"`}},
		{"config validate", 2, []string{"FILE is missing"}},
		{"config validate missing.yaml", 1, []string{`"missing.yaml"`, "no such file"}},
		{"config promote a", 2, []string{`"a"`}},
		{"config get --frobnicate", 2, []string{"--frobnicate"}},
		{"ps x", 2, []string{`"x"`}},
		{"ps --jsn", 2, []string{"--jsn"}},
		{"logs", 2, []string{"query", "tail"}},
		{"logs qery", 2, []string{`"qery"`, "query"}},
		{"logs query", 2, []string{"SOURCE is missing"}},
		{"logs tail", 2, []string{"SOURCE is missing"}},
		{"logs query --level loud x", 2, []string{`"loud"`, "--level", "warn"}},
		{"logs query --since soon x", 2, []string{`"soon"`, "--since", "90m"}},
		{"logs query --regexp ( x", 2, []string{"--regexp", "missing closing )"}},
		{"logs query --worker one x", 2, []string{`"one"`, "--worker"}},
		{"logs query --table a;b x", 2, []string{`"a;b"`, "--table"}},
		{"logs tail -n -1 x", 2, []string{`"-1"`, "-n"}},

		{"run -- no-such-command-here", 1, []string{`"no-such-command-here"`, "PATH"}},
		{"run -- ./no-such-file", 1, []string{`"./no-such-file"`}},
		{"run --log json:new -- ./not-executable", 1, []string{"not-executable"}},
		{"run --log json:new -- /", 1, []string{`"/"`}},
		{"run --log json:new --config missing.yaml -- true", 1, []string{`"missing.yaml"`, "no such file"}},
		{"run --log json:new --config bad.yaml -- true", 1, []string{`"bad.yaml"`, "line 2"}},
		{"run --log json:new --config bad.json -- true", 1, []string{`"bad.json"`, "line 2"}},
		{"run --log json:new --config bad.toml -- true", 1, []string{`"bad.toml"`, "line 1"}},
		{"run --log json:new --config twice.json -- true", 1, []string{`"twice.json"`, "line 2", `"a"`}},
		{"run --log json:new --config conf.ini -- true", 1, []string{`"conf.ini"`, ".toml"}},
		{"run --log json:new --set a=1 --set a.b=2 -- true", 1, []string{`"a`}},
		{"run --log json:new --log json:no/such/folder/x -- true", 1, []string{"no/such/folder/x"}},
		{"run --log json:new --log text:/ -- true", 1, []string{`text:/`}},
		{"run --log json:new --log sqlite:no/such/x.db -- true", 1, []string{"no/such/x.db", "folder"}},
		{"run --log sqlite:new --log sqlite:text.db -- true", 1, []string{"text.db", "not a database"}},
		{"run --log json:new --log rotate:no/such/x -- true", 1, []string{"rotate:no/such/x", "create its folder first"}},
		{"run --log rotate:new --log rotate:bad?compress=xz -- true", 1, []string{`"xz"`, "gzip"}},
		{"run --log json:new --log syslog:unix:none -- true", 1, []string{"syslog:unix:none", "is the syslog server running"}},
		{"run --log json:new --log syslog:tape:x -- true", 1, []string{"syslog:tape:x", "udp:HOST:PORT"}},
		{"run --log json:new --log postgres://u:pw@127.0.0.1:1/x -- true", 1, []string{"postgres://u:xxxxx@127.0.0.1:1/x", "is the server running"}},
		{"logs query none.jsonl", 1, []string{`"none.jsonl"`, "no such file"}},
		{"logs query no/such/x", 1, []string{`"no/such/x"`, "no such file"}},
		{"logs query .", 1, []string{`"."`, "it is a folder"}},
		{"logs tail -f none.jsonl", 1, []string{`"none.jsonl"`, "no such file"}},
		{"logs tail -f -", 1, []string{`"-"`, "leave it out"}},
		{"logs tail -f /dev/null", 1, []string{`"/dev/null"`, "not a regular file"}},
		{"logs query other.db", 1, []string{`"other.db"`, "logs", "is it a table that shmkit has written"}},
		{"logs tail -f other.db", 1, []string{"other.db", "is it a table that shmkit has written"}},
		{"salvage", 2, []string{"crash directory is missing"}},
		{"salvage a b", 2, []string{`"b"`}},
		{"salvage --format xml a", 2, []string{`"xml"`, "text or json"}},
		{"salvage none", 1, []string{"none", "no such file", "CrashDir"}},
		{"config get a", 1, []string{"no live run"}},
		{"config set a=1", 1, []string{"no live run"}},
		{"config watch", 1, []string{"no live run"}},
		{"config get --run gone a", 1, []string{`"gone"`}},
		{"config get --run a/b a", 2, []string{`"a/b"`}},
		{"ps --run gone", 1, []string{`"gone"`}},
	} {
		r := l.shmkit(strings.Fields(c.args)...)
		if r.code != c.code || r.stdout != "" {
			t.Errorf("shmkit %s: exit code %d, want %d; stdout %q, stderr %q", c.args, r.code, c.code, r.stdout, r.stderr)
		}
		t.Logf("shmkit %s: %s", c.args, r.stderr)
		oneLineError(t, r.stderr, c.says...)
		after, err := os.ReadDir(l.dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(after) != len(before) {
			t.Errorf("shmkit %s: left %v", c.args, after)
		}
	}
}

// Help is on standard output, with exit code 0, for every command, and shows
// how it is used.
func TestHelp(t *testing.T) {
	l := newLab(t)
	for _, args := range []string{"--help", "run --help", "run -h", "config --help", "config get --help",
		"config set --help", "config watch --help", "config unset --help", "config reset --help", "config history --help",
		"config diff --help", "config rollback --help", "config explain --help", "config validate --help",
		"config promote --help", "config abandon --help", "ps --help", "help run",
		"logs --help", "logs query --help", "logs tail -h", ""} {
		out := l.want(strings.Fields(args)...)
		if !strings.Contains(out, "Usage:\n") || !strings.Contains(out, "Examples:\n") {
			t.Errorf("shmkit %s: %s", args, out)
		}
	}
	if out := l.want("--version"); !strings.HasPrefix(out, "shmkit ") || strings.Count(out, "\n") != 1 {
		t.Errorf("version: %q", out)
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if out := l.want("completion", shell); !strings.Contains(out, "shmkit") {
			t.Errorf("completion %s: %.100q", shell, out)
		}
	}
	if out := l.shmkit("__complete", "run", "--log", ""); !strings.Contains(out.stdout, "sqlite:") {
		t.Errorf("completion of --log: %q", out.stdout)
	}
}

// A standard output that cannot be written to is a failure.
func TestFullDevice(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("needs /dev/full:", err)
	}
	defer full.Close()
	l := newLab(t)
	_, release := l.held("--set", "a=1")
	for _, args := range [][]string{{"config", "get", "a"}, {"config", "watch"}, {"ps"}, {"ps", "--json"}} {
		c := l.command(args...)
		c.Cmd.Stdout = full
		if r := c.start().wait(); r.code != 1 {
			t.Errorf("%q: %+v", args, r)
		} else {
			oneLineError(t, r.stderr, "no space left")
		}
	}
	release()
}
