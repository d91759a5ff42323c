package bench

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/viper"

	"shmkit/cfgblob"
)

// getDocument is a configuration of so many groups of ten keys, and the paths that are
// looked up in it, in an order that nobody can predict.
func getDocument(groups int) (doc map[string]any, paths []string) {
	doc = map[string]any{}
	for g := range groups {
		group := map[string]any{}
		for k := range 10 {
			group[fmt.Sprintf("key%d", k)] = runtimeString + strconv.Itoa(k)
			paths = append(paths, fmt.Sprintf("group%d.key%d", g, k))
		}
		doc[fmt.Sprintf("group%d", g)] = group
	}
	rand.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
	return doc, paths
}

// attachReader returns a reader of s as a worker has it: mapped read-only from a
// sealed segment.
func attachReader(b *testing.B, s *cfgblob.Store) *cfgblob.Reader {
	b.Helper()
	files, words, lease, err := s.Donate("bench", 0, 1)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { lease.Close() })
	r, err := cfgblob.Attach(files, words)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { r.Close() })
	return r
}

func newStore(b *testing.B, doc any) *cfgblob.Store {
	b.Helper()
	s, err := cfgblob.NewStore(cfgblob.StoreOptions{Sources: []cfgblob.Source{cfgblob.Defaults(doc)}}, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

// BenchmarkConfigGet is one string looked up by its path, in the current version
// of a shared configuration and in the two libraries that people use in one
// process. All see the same 200 keys; koanf and viper know nothing of other
// processes, and viper folds the case of keys. The bars: 100 ns, 4 times as fast
// as viper, 1.6 times as fast as koanf.
func BenchmarkConfigGet(b *testing.B) { configGet(b, 20) }

// BenchmarkConfigReads is the same by the number of keys, and beside it a Live, which has
// the whole document decoded.
func BenchmarkConfigReads(b *testing.B) {
	for _, keys := range []int{10, 100, 1_000, 10_000} {
		b.Run(strconv.Itoa(keys), func(b *testing.B) { configGet(b, keys/10) })
	}
}

func configGet(b *testing.B, groups int) {
	doc, paths := getDocument(groups)
	r := attachReader(b, newStore(b, doc))
	live, err := cfgblob.Bind[map[string]map[string]string](r)
	if err != nil {
		b.Fatal(err)
	}
	first := (*live.Load())["group0"]["key0"]
	k := koanf.New(".")
	if err := k.Load(confmap.Provider(doc, ""), nil); err != nil {
		b.Fatal(err)
	}
	v := viper.New()
	if err := v.MergeConfigMap(doc); err != nil {
		b.Fatal(err)
	}
	const calls = 200_000
	length := 0
	timed := func(get func(path string) string) float64 {
		start := time.Now()
		for i := range calls {
			length += len(get(paths[i%len(paths)]))
		}
		return float64(time.Since(start).Nanoseconds()) / calls
	}
	var ours, koanfs, vipers, lives []float64
	for b.Loop() {
		for range rounds {
			ours = append(ours, timed(func(path string) string { s, _ := r.Dict().String(path); return s }))
			koanfs = append(koanfs, timed(k.String))
			vipers = append(vipers, timed(v.GetString))
			lives = append(lives, timed(func(string) string {
				if live.Load() == nil {
					return ""
				}
				return first
			}))
		}
	}
	want := 4 * rounds * calls * b.N * (len(runtimeString) + 1)
	if length != want {
		b.Fatalf("%d bytes were got, want %d", length, want)
	}
	figure(b, "ns/get", ours)
	figure(b, "live-ns/get", lives)
	for name, theirs := range map[string][]float64{"koanf": koanfs, "viper": vipers} {
		figure(b, name+"-ns/get", theirs)
		figure(b, "x-"+name, over(theirs, ours))
	}
}

// BenchmarkConfigPython is one value of the shared configuration, read in a worker
// (Live.Load and a field), beside the same through Python's Manager().dict, whose
// proxy asks the manager's process. The bar: 10,000 times as fast.
func BenchmarkConfigPython(b *testing.B) {
	python, err := exec.LookPath("python3")
	if err != nil {
		b.Skip("python3 is not installed")
	}
	live, err := cfgblob.Bind[benchConfig](attachReader(b, newStore(b, benchConfig{Level: runtimeString})))
	if err != nil {
		b.Fatal(err)
	}
	const calls = 20_000_000
	length := 0
	var ours, theirs []float64
	for b.Loop() {
		for range rounds {
			start := time.Now()
			for range calls {
				length += len(live.Load().Level)
			}
			ours = append(ours, float64(time.Since(start).Nanoseconds())/calls)
			out, err := exec.Command(python, "python/manager_dict.py", "2000").Output()
			if err != nil {
				b.Fatal(err)
			}
			ns, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
			if err != nil {
				b.Fatalf("manager_dict.py printed %q", out)
			}
			theirs = append(theirs, ns)
		}
	}
	if length == 0 {
		b.Fatal("nothing was read")
	}
	reportPair(b, "ns/read", ours, theirs)
}
