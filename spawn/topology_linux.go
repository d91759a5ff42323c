package spawn

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// usableProcessors are those this process may run on, with their places in the
// machine as far as the system tells.
func usableProcessors() ([]processor, error) {
	var mask unix.CPUSet
	if err := unix.SchedGetaffinity(os.Getpid(), &mask); err != nil {
		return nil, fmt.Errorf("spawn: read the own processor mask: %w", os.NewSyscallError("sched_getaffinity", err))
	}
	nodes := nodeOf()
	var cpus []processor
	for id := range maxCPU {
		if !mask.IsSet(id) {
			continue
		}
		dir := fmt.Sprintf("/sys/devices/system/cpu/cpu%d/topology/", id)
		c := processor{id: id, node: nodes[id], core: id}
		if n, ok := readInt(dir + "core_id"); ok {
			c.core = n
		}
		if n, ok := readInt(dir + "physical_package_id"); ok {
			c.socket = n
		}
		cpus = append(cpus, c)
	}
	return cpus, nil
}

// nodeOf maps processors to NUMA nodes.
func nodeOf() map[int]int {
	nodes := map[int]int{}
	lists, _ := filepath.Glob("/sys/devices/system/node/node[0-9]*/cpulist")
	for _, path := range lists {
		node, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(filepath.Dir(path)), "node"))
		b, err2 := os.ReadFile(path)
		if err != nil || err2 != nil {
			continue
		}
		ids, err := parseCPUs(string(b))
		if err != nil {
			continue // a node without processors
		}
		for _, id := range ids {
			nodes[id] = node
		}
	}
	return nodes
}

// A seatMask is where one worker runs.
type seatMask struct {
	cpus  unix.CPUSet
	nodes []uint64 // bit set of the nodes its memory comes from; nil: any
	width int
}

func newSeatMask(cpus []processor, bindMemory bool) *seatMask {
	m := &seatMask{width: len(cpus)}
	for _, c := range cpus {
		m.cpus.Set(c.id)
		if bindMemory {
			for len(m.nodes) <= c.node/64 {
				m.nodes = append(m.nodes, 0)
			}
			m.nodes[c.node/64] |= 1 << (c.node % 64)
		}
	}
	return m
}

// env is what programs read to size themselves.
func (m *seatMask) env() []string {
	n := strconv.Itoa(m.width)
	return []string{"GOMAXPROCS=" + n, "OMP_NUM_THREADS=" + n}
}

// OwnProcessors lists the processors that this process may run on, as in "0-3,8",
// for [Placement].Within.
func OwnProcessors() (string, error) {
	cpus, err := usableProcessors()
	return formatCPUs(cpus), err
}
