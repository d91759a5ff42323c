package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// The model of docs/SCALING.md, computed from what was measured. Each input has the
// letter that the formulas there use.
type model struct {
	t float64 // ns a record through the whole node, flat out
	c float64 // ns a record of the collector's processor
	q float64 // ns a record more for each further ring
	j float64 // % of a processor for an idle node with one ring
	i float64 // % more for a further idle ring
	b float64 // bytes a record in the ring
	m float64 // KiB of a worker
	k float64 // KiB in the node for a worker
	f float64 // descriptors in the node for a worker
	s float64 // ms to start and end a worker
	w float64 // µs for a further worker to see a change
	z float64 // µs for the first
}

const ringKiB = 1024 // default Options.Log.RingSize

// scalingInputs say where each comes from; Of makes it of those figures.
var scalingInputs = []struct {
	Name, What string
	From       [][2]string // benchmark and unit
	Of         func(v []float64) float64
	To         func(*model) *float64
}{
	{"t", "ns a record, one worker to a JSON file, flat out", [][2]string{{"bench.Workers/1", "records/s"}},
		func(v []float64) float64 { return 1e9 / v[0] }, func(m *model) *float64 { return &m.t }},
	{"c", "ns a record, collector and JSON alone on one processor", [][2]string{{"logring.Backend/json/1", "Mrec/s"}},
		func(v []float64) float64 { return 1e3 / v[0] }, func(m *model) *float64 { return &m.c }},
	{"q", "ns a record more for each ring attached", [][2]string{{"bench.Rings/1000", "ns/record"}, {"bench.Rings/1", "ns/record"}},
		func(v []float64) float64 { return max(0, v[0]-v[1]) / 999 }, func(m *model) *float64 { return &m.q }},
	{"j", "% of a processor for an idle collector with one ring", [][2]string{{"bench.Rings/1", "idle-cpu-%"}},
		func(v []float64) float64 { return v[0] }, func(m *model) *float64 { return &m.j }},
	{"i", "% more for each further idle ring", [][2]string{{"bench.Rings/1000", "idle-cpu-%"}, {"bench.Rings/1", "idle-cpu-%"}},
		func(v []float64) float64 { return max(0, v[0]-v[1]) / 999 }, func(m *model) *float64 { return &m.i }},
	{"b", "bytes of a slog record with three values in the ring", [][2]string{{"bench.RecordBytes/slog", "B/record"}},
		func(v []float64) float64 { return v[0] }, func(m *model) *float64 { return &m.b }},
	{"m", "KiB of a worker that has logged once", [][2]string{{"bench.Memory/64", "worker-KiB"}},
		func(v []float64) float64 { return v[0] }, func(m *model) *float64 { return &m.m }},
	{"k", "KiB more in the node for each worker", [][2]string{{"bench.Memory/64", "node-KiB/worker"}},
		func(v []float64) float64 { return max(0, v[0]) }, func(m *model) *float64 { return &m.k }},
	{"f", "descriptors in the node for each worker", [][2]string{{"bench.Memory/64", "node-files/worker"}},
		func(v []float64) float64 { return v[0] }, func(m *model) *float64 { return &m.f }},
	{"s", "ms to start and end a worker, 64 together", [][2]string{{"bench.SpawnMany/64", "shmkit-ms"}},
		func(v []float64) float64 { return v[0] }, func(m *model) *float64 { return &m.s }},
	{"z", "µs until one sleeping worker has a change", [][2]string{{"bench.ConfigWatch/1", "p50-µs"}},
		func(v []float64) float64 { return v[0] }, func(m *model) *float64 { return &m.z }},
	{"w", "µs more for each further worker", [][2]string{{"bench.ConfigWatch/64", "p50-µs"}, {"bench.ConfigWatch/1", "p50-µs"}},
		func(v []float64) float64 { return max(0, v[0]-v[1]) / 63 }, func(m *model) *float64 { return &m.w }},
}

// scalingOutputs are the rows of the table by workers.
var scalingOutputs = []struct {
	What, Formula string
	Of            func(m model, n float64) float64
}{
	{"records a second, collector on a processor of its own", "10⁹ / (c + q·n)", model.capacity},
	{"of that for each worker", "10⁹ / (c + q·n) / n", func(m model, n float64) float64 { return m.capacity(n) / n }},
	{"burst of a worker before a call waits, records", "1 MiB / b", func(m model, n float64) float64 { return ringKiB * 1024 / m.b }},
	{"processor time when idle, %", "j + i·(n−1)", model.idle},
	{"memory of workers and node, MiB", "n·(m + k)", func(m model, n float64) float64 { return n * (m.m + m.k) / 1024 }},
	{"reserved for rings, MiB", "n · 1 MiB", func(m model, n float64) float64 { return n * ringKiB / 1024 }},
	{"descriptors in the node", "f·n", func(m model, n float64) float64 { return m.f * n }},
	{"start of all, seconds, on this machine's processors", "s·n", func(m model, n float64) float64 { return m.s * n / 1e3 }},
	{"a change seen by the last, ms, on this machine's processors", "z + w·(n−1)", func(m model, n float64) float64 { return m.watch(n) / 1e3 }},
}

func (m model) capacity(n float64) float64 { return 1e9 / (m.c + m.q*n) }
func (m model) idle(n float64) float64     { return m.j + m.i*(n-1) }
func (m model) watch(n float64) float64    { return m.z + m.w*(n-1) }

// scalingChecks compare the model with points that were measured but are no inputs.
var scalingChecks = []struct {
	What, Bench, Unit string
	Of                func(m model) float64
}{
	{"a million records of 64 workers, their start included, records/s: N / (64·s + N·t)", "bench.Workers/64", "records/s",
		func(m model) float64 { return 1e6 / (64*m.s/1e3 + 1e6*m.t/1e9) }},
	{"a million records of 16 workers", "bench.Workers/16", "records/s",
		func(m model) float64 { return 1e6 / (16*m.s/1e3 + 1e6*m.t/1e9) }},
	{"64 idle workers, % of a processor: j + 63·i", "bench.Idle", "cpu-%", func(m model) float64 { return m.idle(64) }},
	{"memory of a worker and the node's books about it, of 256, KiB: m + k", "bench.Memory/256", "worker-KiB", func(m model) float64 { return m.m + m.k }},
	{"descriptors for each of 256 workers: f", "bench.Memory/256", "node-files/worker", func(m model) float64 { return m.f }},
	{"a change seen by the last of 16, µs: z + 15·w", "bench.ConfigWatch/16", "p50-µs", func(m model) float64 { return m.watch(16) }},
}

// scalingTolerance is by which factor the model may be off and still be of use: it says what
// saturates first, and those lie further apart.
const scalingTolerance = 1.5

var scaleTo = []float64{64, 256, 1024}

// updateScaling writes the tables into the document; without all inputs it leaves it.
func updateScaling(path string, all collected) error {
	text, err := scalingTables(all)
	if err != nil {
		fmt.Fprintln(os.Stderr, path, "stays as it is:", err)
		return nil
	}
	if err := between(path, text); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func scalingTables(all collected) (string, error) {
	var m model
	var b strings.Builder
	fmt.Fprintf(&b, "Measured on %s.\n\n| input | what | value | from |\n|---|---|---|---|\n", all.where())
	for _, in := range scalingInputs {
		var v []float64
		var from []string
		for _, x := range in.From {
			f := all.find(x[0], x[1])
			if f == nil {
				return "", fmt.Errorf("%s %s was not measured", x[0], x[1])
			}
			v, from = append(v, f.Median), append(from, "`"+x[0]+"` "+x[1])
		}
		value := in.Of(v)
		*in.To(&m) = value
		shown := number(value)
		if value == 0 {
			shown = "too little to measure: 0"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", in.Name, in.What, shown, strings.Join(from, ", "))
	}
	b.WriteString("\n| workers of a node | formula |")
	for _, n := range scaleTo {
		fmt.Fprintf(&b, " %.0f |", n)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(scaleTo)) + "\n")
	for _, out := range scalingOutputs {
		fmt.Fprintf(&b, "| %s | %s |", out.What, out.Formula)
		for _, n := range scaleTo {
			fmt.Fprintf(&b, " %s |", number(out.Of(m, n)))
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "\n| check | model | measured | within %g times | by |\n|---|---|---|---|---|\n", scalingTolerance)
	for _, c := range scalingChecks {
		said, measured, within := c.Of(m), "not measured", ""
		if f := all.find(c.Bench, c.Unit); f != nil {
			measured, within = number(f.Median), "yes"
			if said > scalingTolerance*f.Median || f.Median > scalingTolerance*said {
				within = "**no**"
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | `%s` %s |\n", c.What, number(said), measured, within, c.Bench, c.Unit)
	}
	return b.String(), nil
}
