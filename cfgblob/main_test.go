package cfgblob

import (
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

func TestMain(m *testing.M) { proctest.Main(m) }

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

func patternDoc(n int, last bool) []byte {
	fill := strings.Repeat(strconv.Itoa(n%10), 1+n*7919%2000)
	return fmt.Appendf(nil, `{"n":%d,"fill":"%s","last":%t,"tail":%d}`, n, fill, last, n)
}

func (p *pattern) check() error {
	if p.Tail != p.N || p.Fill != strings.Repeat(strconv.Itoa(p.N%10), 1+p.N*7919%2000) {
		return fmt.Errorf("mixed document: n=%d tail=%d fill of %d bytes", p.N, p.Tail, len(p.Fill))
	}
	return nil
}

// The check above trips on a mixture of two versions, cut anywhere.
func TestPatternNoticesMixtures(t *testing.T) {
	a, b := patternDoc(41, false), patternDoc(42, false)
	mixtures := 0
	for cut := range min(len(a), len(b)) {
		var p pattern
		if err := json.Unmarshal(append(append([]byte(nil), a[:cut]...), b[cut:]...), &p); err != nil {
			mixtures++ // not even a document
		} else if p.check() != nil {
			mixtures++
		} else if cut > len(`{"n":4`) && cut < len(b)-len(`2}`) {
			t.Errorf("cut at %d: not noticed", cut)
		}
	}
	if mixtures == 0 {
		t.Error("nothing was mixed")
	}
}
