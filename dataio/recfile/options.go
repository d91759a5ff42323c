package recfile

import (
	"math/bits"
	"time"
)

// Options for one file. The zero value is a file of lines.
type Options struct {
	// Path of the file. Default: the name it is served under.
	Path string

	Format Format

	// Header is the first record of each file, without its newline.
	Header []byte

	// Resume goes on behind the valid beginning that an earlier node has left in
	// PATH.partial, whatever the size of its records. What is behind that is kept
	// in PATH.cut-1, PATH.cut-2, …, and OnError is told. A file that begins with
	// another header is refused. Without Resume or Replace an unfinished file is an
	// error: nothing is overwritten unasked.
	Resume bool

	// Replace overwrites what is there: PATH when the new file is complete;
	// PATH.partial, and with MaxBytes the complete ones of an earlier run, at once.
	// Together with Resume an unfinished file is gone on with, and complete ones with
	// numbers are kept.
	Replace bool

	// MaxBytes begins a new file when the current one is at least as large. Complete
	// ones are called NAME.0001.EXT, NAME.0002.EXT, …. 0: one file.
	MaxBytes int64

	// Sync is how old a record may get before it is flushed to the disk. 0: when the
	// file is complete; negative: with each write, so that a record whose
	// [Client.Flush] returned survives the machine. A flush that fails once makes the
	// file unfinished for good: the kernel reports it once, and may have dropped
	// the data.
	Sync time.Duration

	// Patience is how long a write, or the change to the next file, is tried again
	// before the file is given up. Its workers wait meanwhile, once their rings are
	// full; those of other files do not. Default: 10 s. Negative: not at all.
	Patience time.Duration

	// MaxRecord is the largest record in bytes. Default: 64 KiB. RingSize is how many
	// bytes of this file's records a worker can be ahead of the node, rounded up to a
	// power of two: memory that is reserved for each worker. Default: 1 MiB, or
	// twice MaxRecord.
	MaxRecord, RingSize int

	// OnError is told about what failed and is tried again, what was given up, and
	// what Resume has cut off, from the file's own goroutine. It must not block.
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
