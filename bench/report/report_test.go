package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"shmkit/bench/callgrind"
)

const output = `goos: linux
pkg: shmkit/bench
BenchmarkRingThroughput-2   	       1	         0 ns/op	        80.00 shmkit-M/s	        20.00 boost-M/s	         4.400 shmkit/channel	        12.00 shmkit/channel:spread-%
some other output
BenchmarkRingSizes/64-2     	       1	        80.00 M/s
BenchmarkRingSizes/4096-2   	       1	        10.00 M/s
BenchmarkRingParked/hot-2 	       1	 3700 shmkit-p50-ns	 8500 socket-p50-ns	 0.9 p99-ratio
BenchmarkLoad/a-b-2 	 100	 2.0 ns/op
BenchmarkLoad/a-b-2 	 100	 4.0 ns/op
BenchmarkLoad/a-b-2 	 100	 3.0 ns/op
PASS
`

func sample(t *testing.T) collected {
	t.Helper()
	r := newResults("compare")
	if err := r.read(strings.NewReader(output)); err != nil {
		t.Fatal(err)
	}
	r.settle()
	path := filepath.Join(t.TempDir(), "results", "compare.json")
	if err := r.write(path); err != nil {
		t.Fatal(err)
	}
	all, err := readResults(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestFigures(t *testing.T) {
	all := sample(t)
	for _, c := range []struct {
		bench, unit string
		median      float64
		spread      string
	}{
		{"bench.RingThroughput", "shmkit-M/s", 80, "–"},
		{"bench.RingThroughput", "shmkit/channel", 4.4, "12 %"},
		{"bench.RingSizes/64", "M/s", 80, "–"},
		{"bench.Load/a-b", "ns/op", 3, "67 %"},
	} {
		f := all.find(c.bench, c.unit)
		if f == nil || f.Median != c.median || f.spread() != c.spread {
			t.Errorf("%s %s: %+v, want %v ± %v", c.bench, c.unit, f, c.median, c.spread)
		}
	}
	if f := all.find("bench.RingThroughput", "shmkit/channel"+spreadSuffix); f != nil {
		t.Errorf("a spread was kept as a figure: %+v", f)
	}
	if f := all.find("bench.RingThroughput", "ns/op"); f != nil {
		t.Errorf("the empty ns/op of a comparison was kept: %+v", f)
	}
}

func TestBars(t *testing.T) {
	all := sample(t)
	path := filepath.Join(t.TempDir(), "BARS.md")
	if err := writeBars(path, all); err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(path)
	for _, want := range []string{
		"| ≥ 4 | 4.4 | 12 % | holds | `bench.RingThroughput` shmkit/channel |",
		"| ≤ 0.5 | 0.9 | – | **falls short** | `bench.RingParked/hot` p99-ratio |",
		"| ≥ 3 |  |  | not measured here | `bench.LargeRecords/65536` shmipc/shmkit |",
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no line %q in\n%s", want, b)
		}
	}
}

// What the lists name is in the tree: a benchmark or test that was renamed is noticed
// here and not by an empty cell.
func TestListsNameWhatExists(t *testing.T) {
	exists := func(name, kind string) {
		t.Helper()
		i := strings.LastIndex(name, ".")
		if j := strings.Index(name, "."); kind == "Benchmark" && j >= 0 {
			i = j // what follows may hold dots of sub-benchmarks
		}
		folder, fn := name[:i], name[i+1:]
		fn, _, _ = strings.Cut(fn, "/")
		files, err := filepath.Glob(filepath.Join("../..", folder, "*_test.go"))
		if err != nil || len(files) == 0 {
			t.Errorf("%s: no tests in %s", name, folder)
		}
		for _, f := range files {
			if b, _ := os.ReadFile(f); strings.Contains(string(b), "func "+kind+fn+"(") {
				return
			}
		}
		t.Errorf("%s: no such function", name)
	}
	for _, b := range bars {
		exists(b.Bench, "Benchmark")
	}
	for _, r := range rows {
		exists(r.Bench, "Benchmark")
	}
	for _, in := range scalingInputs {
		for _, x := range in.From {
			exists(x[0], "Benchmark")
		}
	}
	for _, c := range scalingChecks {
		exists(c.Bench, "Benchmark")
	}
	for _, h := range callgrind.HotPaths {
		exists(h.String(), "Benchmark")
	}
	for _, p := range proofs {
		for test := range strings.SplitSeq(p.Test, ", ") {
			exists(test, "")
		}
	}
}

// Each bar, row and curve names what could be: one direction, known units, a place.
func TestLists(t *testing.T) {
	for _, b := range bars {
		if (b.Least > 0) == (b.Most > 0) || b.Bench == "" || b.Unit == "" || b.What == "" || b.Area == "" {
			t.Errorf("bar %+v", b)
		}
	}
	for _, c := range curves {
		if !strings.HasSuffix(c.File, ".svg") || len(c.Lines) == 0 {
			t.Errorf("curve %+v", c)
		}
		for _, l := range c.Lines {
			if n := regexp.MustCompile(l.Bench + " " + l.Unit).NumSubexp(); n != 1 {
				t.Errorf("%s: %s: %d groups", c.File, l.Name, n)
			}
		}
	}
}

func TestPlotsAndReadme(t *testing.T) {
	all := sample(t)
	dir := t.TempDir()
	if err := drawPlots(dir, all); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "ring-sizes.svg")); err != nil || !strings.Contains(string(b), "<svg") {
		t.Errorf("no picture: %v", err)
	}
	readme := filepath.Join(dir, "README.md")
	if err := updateReadme(readme, all); err == nil {
		t.Error("a README that is not there was updated")
	}
	os.WriteFile(readme, []byte("no markers"), 0o600)
	if err := updateReadme(readme, all); err == nil || !strings.Contains(err.Error(), "markers") {
		t.Errorf("without markers: %v", err)
	}
	os.WriteFile(readme, []byte("before\n"+beginMark+"\nold\n"+endMark+"\nafter\n"), 0o600)
	for range 2 {
		if err := updateReadme(readme, all); err != nil {
			t.Fatal(err)
		}
	}
	b, _ := os.ReadFile(readme)
	for _, want := range []string{"before\n", "\nafter\n", "3.7 µs", "Unix socket: 8.5 µs", "(bench/plots/ring-sizes.svg)", "parked wake, p99, against a Unix socket: 0.9, asked ≤ 0.5"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %q in\n%s", want, b)
		}
	}
	if strings.Contains(string(b), "old") {
		t.Errorf("the old part stayed:\n%s", b)
	}
}

// The model is computed from its inputs, and not at all without one of them.
func TestScaling(t *testing.T) {
	r := newResults("compare")
	for _, in := range scalingInputs {
		for _, x := range in.From {
			if (collected{r}).find(x[0], x[1]) == nil {
				r.add(x[0], x[1], float64(len(r.Figures)+1))
				r.Figures[len(r.Figures)-1].Median = float64(len(r.Figures))
			}
		}
	}
	path := filepath.Join(t.TempDir(), "SCALING.md")
	os.WriteFile(path, []byte("a\n"+beginMark+"\nold\n"+endMark+"\nz\n"), 0o600)
	if err := updateScaling(path, collected{r}); err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(path)
	// c = 1000/2 ns and q = 0, since the 4th figure is not below the 3rd.
	for _, want := range []string{"a\n", "\nz\n", "| c | ns a record, collector and JSON alone on one processor | 500 |", "| 2 M | 2 M | 2 M |", "not measured"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %q in\n%s", want, b)
		}
	}
	r.Figures = r.Figures[1:]
	if _, err := scalingTables(collected{r}); err == nil || !strings.Contains(err.Error(), "bench.Workers/1 records/s was not measured") {
		t.Errorf("without an input: %v", err)
	}
	for _, c := range scalingChecks {
		if c.Bench == "" || c.Unit == "" {
			t.Errorf("check %+v", c.What)
		}
	}
}

func TestPlaces(t *testing.T) {
	for s, want := range map[string]float64{"64": 64, "64B": 64, "4KiB": 4096, "1MiB": 1 << 20} {
		if got, ok := place(s); !ok || got != want {
			t.Errorf("place(%q) = %v, %v", s, got, ok)
		}
	}
	for _, s := range []string{"", "x", "-1", "0"} {
		if _, ok := place(s); ok {
			t.Errorf("place(%q) is one", s)
		}
	}
}
