package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

// A curve is a picture of sub-benchmarks whose names end in a number.
type curve struct {
	File, Title, X, Y string
	LogX, LogY        bool
	Readme            bool // shown there too; the others only lie in the folder
	Lines             []line
}

// A line takes its points from the benchmarks that Bench matches, and of them the units
// that Unit does; the one group in either is the place on the x axis, with Ki and Mi
// understood.
type line struct {
	Name, Bench, Unit string
}

// drawPlots draws those curves that have points.
func drawPlots(dir string, all collected) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, c := range curves {
		p := plot.New()
		p.Title.Text, p.X.Label.Text, p.Y.Label.Text = c.Title, c.X, c.Y
		p.Legend.Top = true
		if c.LogX {
			p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
		}
		if c.LogY {
			p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
		} else {
			p.Y.Min = 0
		}
		p.Add(plotter.NewGrid())
		var args []any
		for _, l := range c.Lines {
			if pts := l.points(all); len(pts) > 0 {
				args = append(args, l.Name, pts)
			}
		}
		if len(args) == 0 {
			continue
		}
		if err := plotutil.AddLinePoints(p, args...); err != nil {
			return err
		}
		if err := p.Save(16*vg.Centimeter, 10*vg.Centimeter, filepath.Join(dir, c.File)); err != nil {
			return err
		}
	}
	return nil
}

func (l line) points(all collected) (pts plotter.XYs) {
	re := regexp.MustCompile("^" + l.Bench + " " + l.Unit + "$")
	for _, r := range all {
		for _, f := range r.Figures {
			m := re.FindStringSubmatch(f.Bench + " " + f.Unit)
			if m == nil || f.Median <= 0 {
				continue
			}
			if x, ok := place(m[1]); ok {
				pts = append(pts, plotter.XY{X: x, Y: f.Median})
			}
		}
	}
	slices.SortFunc(pts, func(a, b plotter.XY) int {
		if a.X < b.X {
			return -1
		}
		return 1
	})
	return pts
}

// place reads 64, 64B, 4KiB, 1MiB.
func place(s string) (float64, bool) {
	s = strings.TrimSuffix(s, "B")
	factor := 1.0
	for suffix, f := range map[string]float64{"Ki": 1 << 10, "Mi": 1 << 20} {
		if rest, ok := strings.CutSuffix(s, suffix); ok {
			s, factor = rest, f
		}
	}
	v, err := strconv.ParseFloat(s, 64)
	return v * factor, err == nil && v > 0
}
