package seqlocktest

import (
	"bytes"
	"errors"
	"fmt"

	"shmkit/seqlock"
)

// Play publishes the versions after p's current one, as seed says, until n are
// done or more returns false. It is one half of a test between two sides.
func Play(v Variant, p Publisher, seed uint64, n int, more func() bool) error {
	var buf []byte
	for range n {
		want := p.Version() + 1
		buf = v.Payload(buf, seed, want)
		got, err := p.Publish(buf)
		if err != nil {
			return fmt.Errorf("publish version %d: %w", want, err)
		}
		if got != want {
			return fmt.Errorf("published version %d, want %d", got, want)
		}
		if !more() {
			return nil
		}
	}
	return nil
}

// Report is what a [Checker] has seen.
type Report struct {
	Reads     int    // that returned a version
	Versions  int    // different ones among them
	Contended int    // reads that gave up, which is not an error by itself
	Last      uint64 // version of the last read
}

// Checker verifies every byte a source delivers; it is the other half of [Play].
type Checker struct {
	Report
	variant   Variant
	source    Source
	seed      uint64
	got, want []byte
}

// NewChecker checks what s delivers against seed.
func NewChecker(v Variant, s Source, seed uint64) *Checker {
	return &Checker{variant: v, source: s, seed: seed, got: make([]byte, v.Max), want: make([]byte, v.Max)}
}

// Read reads once. It is an error if the payload is not byte for byte the one of
// its version, if versions go back, or if the read fails otherwise than by
// contention.
func (c *Checker) Read() error {
	got, version, err := c.source.Read(c.got)
	if errors.Is(err, seqlock.ErrContended) {
		c.Contended++
		return nil
	}
	if err != nil {
		return fmt.Errorf("read after version %d: %w", c.Last, err)
	}
	if version < c.Last {
		return fmt.Errorf("read version %d after version %d", version, c.Last)
	}
	if version != c.Last {
		c.Versions++
		c.want = c.variant.Payload(c.want, c.seed, version)
	}
	if !bytes.Equal(got, c.want) {
		return fmt.Errorf("read %d of version %d: %w", c.Reads, version, c.blame(got))
	}
	c.Reads, c.Last = c.Reads+1, version
	return nil
}

// ErrMixed is in the error chain of a read that returned parts of two versions.
var ErrMixed = errors.New("payload belongs to no single version")

func (c *Checker) blame(got []byte) error {
	if len(got) != len(c.want) {
		return fmt.Errorf("%w: %d bytes, want %d", ErrMixed, len(got), len(c.want))
	}
	for i := range got {
		if got[i] != c.want[i] {
			return fmt.Errorf("%w: from byte %d of %d on", ErrMixed, i, len(got))
		}
	}
	return nil
}

// Check reads n times.
func Check(v Variant, s Source, seed uint64, n int) (Report, error) {
	c := NewChecker(v, s, seed)
	for c.Reads+c.Contended < n {
		if err := c.Read(); err != nil {
			return c.Report, err
		}
	}
	return c.Report, nil
}
