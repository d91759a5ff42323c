package fxkit_test

import (
	"io"
	"os"
	"strconv"
	"sync/atomic"
	"unsafe"

	"shmkit/shm"
)

// A board is a shared provider of a program's own: a counter for each worker, in one
// segment. Each is written by its worker alone, and read by the owner.
type board struct{ segment *shm.Segment }

const (
	boardStride = 128
	boardSize   = 64 * boardStride
)

var boardKind = shm.KindOf("HITS")

func newBoard() (*board, error) {
	s, err := shm.Create(shm.Options{Name: "hits", Kind: boardKind, Size: boardSize, HandOff: shm.ReadWrite})
	return &board{s}, err
}

func (b *board) Close() error { return b.segment.Close() }

func (b *board) Donate(group string, rank, size int) ([]*os.File, []string, io.Closer, error) {
	f, err := b.segment.Reopen()
	return []*os.File{f}, []string{strconv.Itoa(rank)}, nil, err
}

// sum loads each counter once. They guard no other memory.
func (b *board) sum() (n uint64) {
	for rank := range boardSize / boardStride {
		n += counterAt(b.segment, rank).Load()
	}
	return n
}

type hits struct {
	segment *shm.Segment
	mine    *atomic.Uint64
}

func attachHits(files []*os.File, words []string) (*hits, error) {
	rank, err := strconv.Atoi(words[0])
	if err != nil {
		return nil, err
	}
	s, err := shm.Attach(files[0], shm.Expect{Name: "hits", Kind: boardKind, Access: shm.ReadWrite})
	if err != nil {
		return nil, err
	}
	return &hits{s, counterAt(s, rank)}, nil
}

func (h *hits) add()         { h.mine.Add(1) }
func (h *hits) Close() error { return h.segment.Close() }

func counterAt(s *shm.Segment, rank int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&s.Region()[rank*boardStride]))
}
