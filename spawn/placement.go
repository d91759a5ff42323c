package spawn

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Placement says on which processors the workers run. It is in force before a
// worker's first instruction, and always within the processors that this process
// may use itself. GOMAXPROCS and OMP_NUM_THREADS are set to the number of a
// worker's processors, unless Spec.Env or Options.Env sets them. The zero value is
// where this process runs.
//
// Processors are counted as the system does, from 0. Two threads of one core are
// two of them.
type Placement struct {
	Policy PlacementPolicy

	// Width is the number of processors of one worker, for PlaceCompact and
	// PlaceScatter. Default: 1.
	Width int

	// CPUs are the processors of each rank, for PlaceList: lists like "0-3,8". Rank i
	// has number i, and there are as many as the group will ever have workers, or
	// they are used again from the beginning.
	CPUs []string

	// Within are the processors to choose from, a list like "0-3,8": those of the
	// process that asked for the workers, if that is another one. Default: all that
	// this process may use.
	Within string

	// BindMemory lets a worker take memory only from the NUMA nodes of its
	// processors. Default: from there as long as there is some.
	BindMemory bool
}

// PlacementPolicy is how processors are dealt out. When there are more workers than
// places, they share, beginning with the first place.
type PlacementPolicy uint8

const (
	PlaceAnywhere PlacementPolicy = iota
	PlaceCompact                  // next to each other: all threads of a core, all cores of a node, then the next node
	PlaceScatter                  // far from each other: a node each in turn, a core each, threads of a core last
	PlaceCore                     // one physical core each, with all its threads
	PlaceList                     // as Placement.CPUs says
)

// A processor is one CPU of the system and where it is.
type processor struct{ id, node, socket, core int }

func (p Placement) check() error {
	switch {
	case p.Policy > PlaceList:
		return &SpecError{"Spec.Placement.Policy", fmt.Errorf("%d: want one of PlaceAnywhere to PlaceList", p.Policy)}
	case p.Width < 0:
		return &SpecError{"Spec.Placement.Width", fmt.Errorf("%d: want 1 or more", p.Width)}
	case (p.Policy == PlaceList) != (len(p.CPUs) > 0):
		return &SpecError{"Spec.Placement.CPUs", fmt.Errorf("PlaceList and CPUs belong together: set both or neither")}
	}
	if p.Within != "" {
		if _, err := parseCPUs(p.Within); err != nil {
			return &SpecError{"Spec.Placement.Within", err}
		}
	}
	return nil
}

// within leaves those processors that the requester may use.
func (p Placement) within(usable []processor) ([]processor, error) {
	if p.Within == "" {
		return usable, nil
	}
	ids, err := parseCPUs(p.Within)
	if err != nil {
		return nil, &SpecError{"Spec.Placement.Within", err}
	}
	left := slices.DeleteFunc(slices.Clone(usable), func(c processor) bool { return !slices.Contains(ids, c.id) })
	if len(left) == 0 {
		return nil, &SpecError{"Spec.Placement.Within", fmt.Errorf("%q: this process may use none of them, but %s", p.Within, formatCPUs(usable))}
	}
	return left, nil
}

// deal returns the processors of each place, out of those that may be used.
func (p Placement) deal(usable []processor) ([][]processor, error) {
	if len(p.CPUs) > 0 {
		return p.listed(usable)
	}
	cpus := slices.Clone(usable)
	slices.SortFunc(cpus, func(a, b processor) int {
		return cmp.Or(cmp.Compare(a.node, b.node), cmp.Compare(a.socket, b.socket), cmp.Compare(a.core, b.core), cmp.Compare(a.id, b.id))
	})
	if p.Policy == PlaceCore {
		return byCore(cpus), nil
	}
	width := max(p.Width, 1)
	if width > len(cpus) {
		return nil, &SpecError{"Spec.Placement.Width", fmt.Errorf("%d processors a worker, this process may use %d (%s): ask for fewer, or give it more", width, len(cpus), formatCPUs(cpus))}
	}
	if p.Policy == PlaceScatter {
		// Whole blocks of neighbours for each worker, but the blocks far from each other.
		blocks := slices.Collect(slices.Chunk(cpus, width))
		if len(blocks[len(blocks)-1]) < width {
			blocks = blocks[:len(blocks)-1]
		}
		if width == 1 {
			return scatter(cpus), nil
		}
		return spread(blocks), nil
	}
	var places [][]processor
	for i := 0; i+width <= len(cpus); i += width {
		places = append(places, cpus[i:i+width])
	}
	return places, nil
}

// byCore groups sorted processors by physical core.
func byCore(cpus []processor) (cores [][]processor) {
	for i, c := range cpus {
		if i > 0 && sameCore(c, cpus[i-1]) {
			cores[len(cores)-1] = append(cores[len(cores)-1], c)
			continue
		}
		cores = append(cores, []processor{c})
	}
	return cores
}

func sameCore(a, b processor) bool {
	return a.node == b.node && a.socket == b.socket && a.core == b.core
}

// scatter orders single processors: first threads of all cores, nodes in turn, then
// the second threads.
func scatter(cpus []processor) (places [][]processor) {
	cores := byCore(cpus)
	for thread := 0; ; thread++ {
		var round [][]processor
		for _, c := range cores {
			if thread < len(c) {
				round = append(round, c[thread:thread+1])
			}
		}
		if len(round) == 0 {
			return places
		}
		places = append(places, spread(round)...)
	}
}

// spread takes blocks from each node in turn.
func spread(blocks [][]processor) (out [][]processor) {
	var nodes [][][]processor
	for i, b := range blocks {
		if i == 0 || b[0].node != blocks[i-1][0].node {
			nodes = append(nodes, nil)
		}
		nodes[len(nodes)-1] = append(nodes[len(nodes)-1], b)
	}
	for i := 0; len(out) < len(blocks); i++ {
		for _, n := range nodes {
			if i < len(n) {
				out = append(out, n[i])
			}
		}
	}
	return out
}

func (p Placement) listed(usable []processor) (places [][]processor, err error) {
	for rank, list := range p.CPUs {
		ids, err := parseCPUs(list)
		if err != nil {
			return nil, &SpecError{"Spec.Placement.CPUs", fmt.Errorf("rank %d: %q: %w", rank, list, err)}
		}
		var place []processor
		for _, id := range ids {
			i := slices.IndexFunc(usable, func(c processor) bool { return c.id == id })
			if i < 0 {
				return nil, &SpecError{"Spec.Placement.CPUs", fmt.Errorf("rank %d: %q: processor %d is none of those this process may use (%s): choose among them, or start it with a wider mask", rank, list, id, formatCPUs(usable))}
			}
			place = append(place, usable[i])
		}
		places = append(places, place)
	}
	return places, nil
}

// maxCPU bounds processor numbers: what a mask of the system's default size holds.
const maxCPU = 1024

// parseCPUs reads a list as in /sys/devices/system/cpu/online: "0-3,8".
func parseCPUs(list string) (ids []int, err error) {
	for part := range strings.SplitSeq(strings.TrimSpace(list), ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		lo, err1 := strconv.Atoi(first)
		hi, err2 := strconv.Atoi(last)
		if err1 != nil || err2 != nil || lo < 0 || hi < lo || hi >= maxCPU {
			return nil, fmt.Errorf("%q is no processor or range below %d: write it like 0-3,8", part, maxCPU)
		}
		for id := lo; id <= hi; id++ {
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}

// formatCPUs writes a list as parseCPUs reads it.
func formatCPUs(cpus []processor) string {
	ids := make([]int, len(cpus))
	for i, c := range cpus {
		ids[i] = c.id
	}
	slices.Sort(ids)
	var b strings.Builder
	for i := 0; i < len(ids); {
		j := i
		for j+1 < len(ids) && ids[j+1] == ids[j]+1 {
			j++
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(ids[i]))
		if j > i {
			b.WriteString("-" + strconv.Itoa(ids[j]))
		}
		i = j + 1
	}
	return b.String()
}
