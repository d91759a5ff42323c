package shmkit

import (
	"maps"
	"slices"

	"shmkit/spawn"
)

// Given is what a node gives to each of its workers beside a logger and the
// configuration. It does not change while the node lives.
type Given struct {
	Databases []string                  // for [Worker.DB], sorted
	Files     []string                  // for [Worker.File], sorted
	Resources map[string]spawn.Resource // for [Worker.Resource]
}

// Given tells what the node gives to its workers: [Options].Databases, Files and
// Resources. The map is a copy.
func (n *Node) Given() Given {
	return Given{
		Databases: slices.Sorted(maps.Keys(n.opts.Databases)),
		Files:     slices.Sorted(maps.Keys(n.opts.Files)),
		Resources: maps.Clone(n.opts.Resources),
	}
}
