package cfgblob

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"shmkit/internal/proctest"
)

func TestMain(m *testing.M) {
	asWorker()
	proctest.Main(m)
}

func jsonNumber(s string) json.Number { return json.Number(s) }

// newStore returns a store that is closed when the test ends.
func newStore(t testing.TB, o StoreOptions, doc string) *Store {
	t.Helper()
	s, err := NewStore(o, []byte(doc))
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// attach returns a reader of s in this process.
func attach(t testing.TB, s *Store) *Reader {
	t.Helper()
	files, words, lease, err := s.Donate("test", 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	lease.Close()
	r, err := Attach(files, words)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// worker prepares a second process that gets s as a worker would: the file as
// descriptor 3, the words in the environment.
func worker(t testing.TB, s *Store, helper string, args ...string) *exec.Cmd {
	t.Helper()
	files, words, _, err := s.Donate("test", 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	cmd := proctest.Command(t, helper, args...)
	cmd.ExtraFiles = files
	cmd.Env = append(cmd.Env, "CFGBLOB_TEST_WORDS="+strings.Join(words, " "))
	t.Cleanup(func() { // after the start at the latest
		for _, f := range files {
			f.Close()
		}
	})
	return cmd
}

// attached is what a helper does first.
func attached() *Reader {
	r, err := Attach([]*os.File{os.NewFile(3, "config")}, strings.Fields(os.Getenv("CFGBLOB_TEST_WORDS")))
	must(err)
	return r
}

// must ends a helper that cannot go on.
func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "helper:", err)
		os.Exit(1)
	}
}

// A pattern document says the same number everywhere in it, and its size
// depends on the number: a mixture of two versions cannot pass for one.
type pattern struct {
	N    int    `json:"n"`
	Fill string `json:"fill"`
	Last bool   `json:"last"`
	Tail int    `json:"tail"`
}

// patternFill makes every eighth document a large one: a reader that copies it
// is easily overtaken by the small ones behind it.
func patternFill(n int) string {
	size := 1 + n*7919%300
	if n%8 == 0 {
		size = 50_000
	}
	return strings.Repeat(strconv.Itoa(n%10), size)
}

func patternDoc(n int, last bool) []byte {
	return fmt.Appendf(nil, `{"fill":"%s","last":%t,"n":%d,"tail":%d}`, patternFill(n), last, n, n)
}

func (p *pattern) check() error {
	if p.Tail != p.N || p.Fill != patternFill(p.N) {
		return fmt.Errorf("mixed document: n=%d tail=%d fill of %d bytes", p.N, p.Tail, len(p.Fill))
	}
	return nil
}

// checkPattern is check without decoding.
func checkPattern(doc []byte) error {
	n := -1
	tail := doc[max(0, bytes.LastIndex(doc, []byte(`"last":`))):]
	var last bool
	if _, err := fmt.Sscanf(string(tail), `"last":%t,"n":%d`, &last, &n); err != nil || !bytes.Equal(doc, patternDoc(n, last)) {
		return fmt.Errorf("mixed document: ends in %q: %v", tail, err)
	}
	return nil
}

// The checks above trip on a mixture of two versions, cut anywhere between the
// first and the last byte in which they differ.
func TestPatternNoticesMixtures(t *testing.T) {
	a, b := patternDoc(41, false), patternDoc(42, false)
	if checkPattern(a) != nil || checkPattern(patternDoc(48, true)) != nil {
		t.Error("a whole document is refused")
	}
	first := len(`{"fill":"`)
	for cut := first + 1; cut < min(len(a), len(b))-len(`1}`); cut++ {
		var p pattern
		mixed := append(append([]byte(nil), a[:cut]...), b[cut:]...)
		if err := json.Unmarshal(mixed, &p); err == nil && p.check() == nil || checkPattern(mixed) == nil {
			t.Errorf("cut at %d: not noticed: %s", cut, mixed)
		}
	}
}
