package recfile

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"time"
)

// Format says how records are kept apart in the file.
type Format int

const (
	// Lines ends each record with a newline; records have none inside. A torn record
	// is the one without a newline at the end of the file.
	Lines Format = iota

	// Frames puts a u32 length and a u32 CRC-32C of the payload, little-endian, in
	// front of each record, which may hold any bytes. [Records] reads them.
	Frames
)

// Options for one file. The zero value is a file of lines.
type Options struct {
	// Path of the file. Default: the name it is served under.
	Path string

	Format Format

	// Header is the first record of each file, without its newline.
	Header []byte

	// Resume goes on behind the valid beginning that an earlier node has left in
	// PATH.partial. Otherwise that is an error: nothing is overwritten unasked.
	Resume bool

	// Replace overwrites what is there: PATH, when the new file is complete, and
	// PATH.partial, at once.
	Replace bool

	// MaxBytes begins a new file when the current one is at least as large. Complete
	// ones are called NAME.0001.EXT, NAME.0002.EXT, …. 0: one file.
	MaxBytes int64

	// Sync is how old a record may get before it is flushed to the disk. 0: when the
	// file is complete; negative: with each write.
	Sync time.Duration

	// Patience is how long a write is tried again before its records are given up.
	// Default: 10 s. Negative: not at all.
	Patience time.Duration

	// MaxRecord is the largest record in bytes. Default: 64 KiB. RingSize is how many
	// bytes a worker can be ahead of the node; it is shared by all files, and the
	// largest counts, rounded up to a power of two. Default: 1 MiB, or twice MaxRecord.
	MaxRecord, RingSize int

	// OnError is told about writes that failed, from the writer's goroutine.
	OnError func(error)
}

const (
	defaultPatience  = 10 * time.Second
	defaultMaxRecord = 64 << 10
	defaultRingSize  = 1 << 20
)

func (o Options) withDefaults(name string) Options {
	if o.Path == "" {
		o.Path = name
	}
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	if o.MaxRecord <= 0 {
		o.MaxRecord = defaultMaxRecord
	}
	if o.RingSize <= 0 {
		o.RingSize = defaultRingSize
	}
	o.RingSize = 1 << bits.Len(uint(max(o.RingSize, 2*o.MaxRecord)-1))
	return o
}

// Error names the file and says what to do.
type Error struct {
	File   string
	Op     string
	Err    error
	Advice string // may be empty
}

func (e *Error) Unwrap() error { return e.Err }
func (e *Error) Error() string {
	s := fmt.Sprintf("recfile: %s %s: %v", e.Op, strconv.Quote(e.File), e.Err)
	if e.Advice != "" {
		s += ": " + e.Advice
	}
	return s
}

var (
	// ErrTooLarge is the cause when a record is larger than Options.MaxRecord.
	ErrTooLarge = errors.New("record too large")

	// ErrNewline is the cause when a record of a file of lines has a newline inside.
	ErrNewline = errors.New("newline in a record")

	// ErrUnfinished is the cause when an earlier node has left a file that is not
	// complete.
	ErrUnfinished = errors.New("there is an unfinished one")
)
