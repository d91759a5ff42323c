//go:build amd64 || arm64

package shm

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// maxNode bounds the numbers of NUMA nodes; Linux is built for at most 1024.
const maxNode = 1024

// nodeSet has a bit for each node.
type nodeSet [maxNode / 64]uint64

// bind makes the pages of a mapping come from the given nodes as long as those
// have any. For shared memory the policy is the file's, so it holds for the
// reservation and for every process.
func bind(mapping []byte, nodes []int) error {
	var set nodeSet
	for _, n := range nodes {
		if n < 0 || n >= maxNode {
			return fmt.Errorf("%w: NUMA node %d", os.ErrInvalid, n)
		}
		set[n/64] |= 1 << (n % 64)
	}
	policy := mpolPreferredMany
	if len(nodes) == 1 {
		policy = mpolPreferred
	}
	err := mbind(mapping, policy, &set)
	if errors.Is(err, unix.EINVAL) && policy == mpolPreferredMany { // before Linux 5.15
		err = mbind(mapping, mpolInterleave, &set)
	}
	switch {
	case errors.Is(err, unix.ENOSYS):
		return nil // a kernel without NUMA has one node
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w: NUMA nodes %d: %w", os.ErrInvalid, nodes, err)
	}
	return err
}

const (
	mpolPreferred     = 1
	mpolInterleave    = 3
	mpolPreferredMany = 5
)
