package recfile

import (
	"fmt"
	"strings"

	"shmkit/ring"
	"shmkit/shm"
)

// A worker's segment holds one ring for each file, one behind the other, each at a page
// of its own. So a file whose records are not taken fills its own ring only. The words
// that go with the segment say what is in it, in the order of the rings:
//
//	NAME=FORMAT.MAXRECORD.RINGSIZE
//
// In the bytes that a ring leaves to its owner the node says how it is going:
//
//	+192  u32 state  1: the file was given up; 2: nothing is taken from this ring any more
//	+200  u64 done   records taken from this ring whose fate is known
//	+208  u64 lost   of these, records that are not in the file
const (
	stateAt = ring.OwnerOffset
	doneAt  = ring.OwnerOffset + 8
	lostAt  = ring.OwnerOffset + 16

	givenUp = 1
	ended   = 2
)

var kindRecords = shm.KindOf("RECF")

// schema is the number of this layout.
const schema = 2

// A slot is one file in the segment.
type slot struct {
	name    string
	format  Format
	max     int // largest record
	size    int // of the ring
	at, end int // its view in the region
}

func (s slot) word() string { return fmt.Sprintf("%s=%d.%d.%d", s.name, s.format, s.max, s.size) }

func parseSlot(word string) (s slot, err error) {
	name, rest, _ := strings.Cut(word, "=")
	if n, err := fmt.Sscanf(rest, "%d.%d.%d", &s.format, &s.max, &s.size); n != 3 || err != nil {
		return slot{}, fmt.Errorf("bad word %q", word)
	}
	s.name = name
	return s, nil
}

// place gives each slot its view, and returns the length of the region.
func place(slots []slot) (length int, err error) {
	for i := range slots {
		s := &slots[i]
		n, err := ring.Size(s.size, s.max)
		if err != nil {
			return 0, fmt.Errorf("ring for %q: %w", s.name, err)
		}
		s.at = (length + shm.PageSize - 1) &^ (shm.PageSize - 1)
		s.end = s.at + n
		length = s.end
	}
	return length, nil
}
