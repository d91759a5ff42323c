package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// results are the figures of one suite and where they were measured.
type results struct {
	Suite   string    `json:"suite"`
	Machine machine   `json:"machine"`
	Date    string    `json:"date"`
	Figures []*figure `json:"figures"`
}

// A figure is one unit of one benchmark.
type figure struct {
	Bench  string    `json:"bench"`
	Unit   string    `json:"unit"`
	Median float64   `json:"median"`
	Spread *float64  `json:"spread_percent,omitempty"` // (max-min)/median of the rounds; none for a single one
	Values []float64 `json:"values"`
}

type machine struct {
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	Arch   string `json:"arch"`
}

func (m machine) String() string {
	return fmt.Sprintf("%s, %d CPUs, Linux %s, %s %s", m.CPU, m.CPUs, m.Kernel, m.Go, m.Arch)
}

func newResults(suite string) *results {
	return &results{Suite: suite, Machine: thisMachine(), Date: time.Now().Format("2006-01-02")}
}

func thisMachine() machine {
	m := machine{CPU: "unknown CPU", CPUs: runtime.NumCPU(), Go: runtime.Version(), Arch: runtime.GOARCH}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
				m.CPU = strings.TrimSpace(v)
				break
			}
		}
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(b))
	}
	return m
}

func (r *results) add(bench, unit string, v float64) {
	for _, f := range r.Figures {
		if f.Bench == bench && f.Unit == unit {
			f.Values = append(f.Values, v)
			return
		}
	}
	r.Figures = append(r.Figures, &figure{Bench: bench, Unit: unit, Values: []float64{v}})
}

// spreadSuffix makes of a unit the one under which a benchmark tells how far the rounds lie
// apart that its figure is the median of.
const spreadSuffix = ":spread-%"

// settle computes the medians, and the spreads of what was measured more than once.
func (r *results) settle() {
	told := map[[2]string]float64{}
	for _, f := range r.Figures {
		if unit, is := strings.CutSuffix(f.Unit, spreadSuffix); is {
			told[[2]string{f.Bench, unit}] = median(f.Values)
		}
	}
	r.Figures = slices.DeleteFunc(r.Figures, func(f *figure) bool { return strings.HasSuffix(f.Unit, spreadSuffix) })
	for _, f := range r.Figures {
		f.Median = median(f.Values)
		if s, ok := told[[2]string{f.Bench, f.Unit}]; ok && len(f.Values) == 1 {
			f.Spread = &s
		} else if f.Median != 0 && len(f.Values) > 1 {
			s := 100 * (slices.Max(f.Values) - slices.Min(f.Values)) / f.Median
			f.Spread = &s
		}
	}
}

// spread writes it, or a dash for a figure of one measurement.
func (f *figure) spread() string {
	if f.Spread == nil {
		return "–"
	}
	return fmt.Sprintf("%.0f %%", *f.Spread)
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	} else {
		return s[n/2]
	}
}

func (r *results) write(path string) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

// collected are the results of all suites.
type collected []*results

func readResults(dir string) (collected, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no results in %s: run without -from first", dir)
	}
	var all collected
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			return nil, err
		}
		r := new(results)
		if err := json.Unmarshal(b, r); err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		all = append(all, r)
	}
	return all, nil
}

// find returns a figure, or nil.
func (c collected) find(bench, unit string) *figure {
	for _, r := range c {
		for _, f := range r.Figures {
			if f.Bench == bench && f.Unit == unit {
				return f
			}
		}
	}
	return nil
}

// where says on what the figures were measured, once for each machine and date.
func (c collected) where() string {
	var said []string
	for _, r := range c {
		if s := r.Machine.String() + ", " + r.Date; !slices.Contains(said, s) {
			said = append(said, s)
		}
	}
	return strings.Join(said, "; ")
}
