package sqlproxy_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// database/sql's own tests, run on a copy of that package from the installed Go, once
// with its fake driver and once with the same driver behind this package: the same tests
// pass and the same fail.
//
// Left out are the tests that look into the fake driver's own objects below the handle
// under test (they are the node's then), by what their source says, and those in apart.
//
// apart are the known differences, and why.
var apart = map[string]string{
	"TestCursorFake":        "a cursor as a column value is not carried",
	"TestNamedValueChecker": "an argument of the driver's own struct type is not carried",
	"TestConnMaxLifetime":   "counts the connections that the pool of the handle opens: they are the node's pool's",
	"TestStmtCloseDeps":     "the same",
	"TestIssue18719":        "wants a query to succeed whose context has ended: it is not sent",
}

func TestSuiteOfDatabaseSQL(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a copy of database/sql")
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skipf("needs Go: %v", err)
	}
	root, err := exec.Command(goTool, "env", "GOROOT").Output()
	src := filepath.Join(strings.TrimSpace(string(root)), "src", "database", "sql")
	if _, statErr := os.Stat(filepath.Join(src, "fakedb_test.go")); err != nil || statErr != nil {
		t.Skipf("needs the source of Go: %v, %v", err, statErr)
	}
	dir := t.TempDir()
	own := copySuite(t, src, dir)

	bin := filepath.Join(dir, "suite.test")
	build := exec.Command(goTool, "test", "-c", "-o", bin, ".")
	build.Dir = dir
	build.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	list, err := exec.Command(bin, "-test.list", "^Test").Output()
	if err != nil {
		t.Fatal(err)
	}
	results := map[string][2]string{}
	skipped := 0
	for name := range strings.FieldsSeq(string(list)) {
		if own[name] || apart[name] != "" {
			skipped++
			continue
		}
		var r [2]string
		for i, mode := range []string{"direct", "forwarded"} {
			r[i] = runOne(t, bin, dir, name, mode)
		}
		results[name] = r
	}
	passed := 0
	for _, name := range slices.Sorted(maps.Keys(results)) {
		direct, forwarded := results[name][0], results[name][1]
		verdict := func(s string) bool { return s == "" }
		if verdict(direct) {
			passed++
		}
		if verdict(direct) != verdict(forwarded) {
			t.Errorf("%s differs\ndirect:    %s\nforwarded: %s", name, direct, forwarded)
		}
	}
	if passed < 50 {
		t.Errorf("%d tests passed directly: the copy is not what it should be", passed)
	}
	t.Logf("%d tests: %d pass directly and forwarded, %d are left out", len(results)+skipped, passed, skipped)
}

// runOne runs one test in a process of its own. It returns "" when it passes.
func runOne(t *testing.T, bin, dir, name, mode string) string {
	cmd := exec.Command(bin, "-test.run", "^"+name+"$", "-test.count", "1", "-test.timeout", "10s")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "SUITE="+mode)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err == nil {
		return ""
	}
	return fmt.Sprintf("%v: %.600s", err, out)
}

// copySuite makes a module of the package's copy. It returns the tests that are left out.
func copySuite(t *testing.T, src, dir string) (own map[string]bool) {
	t.Helper()
	core, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	own = map[string]bool{}
	inside := regexp.MustCompile(`\.\(\*(fakeConn|fakeTx|rowsCursor|ctxOnlyConn|fakeConnector)\)|numPrepares\(|testContextWait\(`)
	for _, name := range []string{"sql.go", "convert.go", "ctxutil.go", "sql_test.go", "fakedb_test.go"} {
		b, err := os.ReadFile(filepath.Join(src, name))
		if err != nil {
			t.Fatal(err)
		}
		text := regexp.MustCompile(`"internal/(\w+)"`).ReplaceAllString(string(b), `"suite/stub/$1"`)
		if name == "sql.go" {
			const head = "func OpenDB(c driver.Connector) *DB {\n"
			if !strings.Contains(text, head) {
				t.Skip("database/sql is not as expected")
			}
			text = strings.Replace(text, head, "var forward = func(c driver.Connector) driver.Connector { return c }\n\n"+head+"\tc = forward(c)\n", 1)
		}
		if name == "sql_test.go" {
			for _, fn := range strings.Split(text, "\nfunc ") {
				if m := regexp.MustCompile(`^(Test\w+)\(`).FindStringSubmatch(fn); m != nil &&
					inside.MatchString(fn) {
					own[m[1]] = true
				}
			}
		}
		write(name, text)
	}
	write("stub/testenv/t.go", "package testenv\n\nimport \"testing\"\n\nfunc SkipIfOptimizationOff(testing.TB) {}\n")
	write("stub/race/r.go", "package race\n\nconst Enabled = false\n")
	sum, err := os.ReadFile(filepath.Join(core, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(core, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	write("go.sum", string(sum))
	write("go.mod", strings.Replace(string(mod), "module shmkit", "module suite", 1)+
		"\nrequire shmkit v0.0.0\n\nreplace shmkit => "+core+"\n")
	write("forward_test.go", forwardSource)
	if len(bytes.TrimSpace(sum)) == 0 {
		t.Fatal("go.sum is empty")
	}
	return own
}

// forwardSource puts a server and a worker's side between a handle and its driver.
const forwardSource = `package sql

import (
	stdsql "database/sql"
	"database/sql/driver"
	"os"
	"strconv"
	"sync"

	"shmkit/dataio/sqlproxy"
)

type forwarded struct {
	driver.Connector
	orig driver.Connector
	end  func()
}

func (f forwarded) Driver() driver.Driver { return f.orig.Driver() }
func (f forwarded) Close() error          { f.end(); return nil }

// errorsByReference is a codec for the tests' own errors, which they compare with ==: it
// can be one, since the node is in the same process.
type errorsByReference struct{}

var seen struct {
	sync.Mutex
	errs []error
}

func (errorsByReference) Encode(err error) ([]byte, bool) {
	seen.Lock()
	defer seen.Unlock()
	seen.errs = append(seen.errs, err)
	return []byte(strconv.Itoa(len(seen.errs) - 1)), true
}

func (errorsByReference) Decode(b []byte) (error, bool) {
	seen.Lock()
	defer seen.Unlock()
	i, err := strconv.Atoi(string(b))
	return seen.errs[i], err == nil
}

func init() {
	sqlproxy.RegisterCodec("suite", errorsByReference{})
	if os.Getenv("SUITE") != "forwarded" {
		return
	}
	forward = func(c driver.Connector) driver.Connector {
		db := stdsql.OpenDB(c)
		db.SetMaxIdleConns(1000) // the handle under test has its own idea
		s, err := sqlproxy.NewServer(map[string]*stdsql.DB{"main": db}, map[string]sqlproxy.Policy{"main": {MaxConns: 1000}})
		if err != nil {
			panic(err)
		}
		files, words, lease, err := s.Donate("suite", 0, 1)
		if err != nil {
			panic(err)
		}
		client, err := sqlproxy.Attach(files, words)
		if err != nil {
			panic(err)
		}
		return forwarded{client.Connector("main"), c, func() {
			client.Close()
			lease.Close()
			s.Close()
			db.Close()
		}}
	}
}
`
