package ringtest

import (
	"context"
	"encoding/binary"
	"fmt"

	"shmkit/ring"
)

// A Stream is an endless sequence of records that both sides of a ring can
// compute from one seed: record i has a tag, a length and bytes of its own. Most
// are small, some as large as Max allows, some empty.
type Stream struct {
	Seed uint64
	Max  int // largest payload, bytes
}

// mix is splitmix64's finalizer (Steele, Lea and Flood, 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Len returns the payload length of record i.
func (s Stream) Len(i uint64) int {
	h := mix(s.Seed ^ mix(i))
	switch n := int(h >> 8 & 0xffffff); h % 16 {
	case 0:
		return n % (s.Max + 1)
	case 1:
		return s.Max - n%min(9, s.Max+1)
	default:
		return n % min(129, s.Max+1)
	}
}

// Tag returns the tag of record i.
func (s Stream) Tag(i uint64) uint32 { return uint32(mix(s.Seed + 3*i + 1)) }

// Fill writes the payload of record i into b, which has its length.
func (s Stream) Fill(b []byte, i uint64) {
	x := mix(s.Seed ^ i<<20)
	for ; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, x)
		x = x*6364136223846793005 + 1442695040888963407
	}
	for j := range b {
		b[j] = byte(x >> (8 * j))
	}
}

// Verify returns an error unless r is record i, whole.
func (s Stream) Verify(r ring.Record, i uint64) error {
	if len(r.Payload) != s.Len(i) || r.Tag != s.Tag(i) {
		return fmt.Errorf("record %d has %d bytes and tag %#x, committed were %d and %#x",
			i, len(r.Payload), r.Tag, s.Len(i), s.Tag(i))
	}
	x := mix(s.Seed ^ i<<20)
	b := r.Payload
	for ; len(b) >= 8; b = b[8:] {
		if binary.LittleEndian.Uint64(b) != x {
			return fmt.Errorf("record %d of %d bytes is torn at byte %d", i, len(r.Payload), len(r.Payload)-len(b))
		}
		x = x*6364136223846793005 + 1442695040888963407
	}
	for j := range b {
		if b[j] != byte(x>>(8*j)) {
			return fmt.Errorf("record %d of %d bytes is torn at byte %d", i, len(r.Payload), len(r.Payload)-len(b)+j)
		}
	}
	return nil
}

// Produce writes records from to to-1 of the stream, by Reserve, and flushes at
// pseudo-random moments and at the end. committed, if not nil, is called after
// each Commit has returned.
func (s Stream) Produce(p Producer, from, to uint64, committed func(i uint64)) error {
	for i := from; i < to; i++ {
		n := s.Len(i)
		b, err := p.Reserve(n)
		if err != nil {
			return fmt.Errorf("record %d: %w", i, err)
		}
		s.Fill(b, i)
		p.Commit(n, s.Tag(i))
		if committed != nil {
			committed(i)
		}
		if mix(i)%8 == 0 {
			if err := p.Flush(); err != nil {
				return fmt.Errorf("flush after record %d: %w", i, err)
			}
		}
	}
	return p.Flush()
}

// Consume reads and verifies records from to to-1, in batches that it releases.
// read, if not nil, is called for each verified record, and after each Release
// with the number of the record that is next and released set.
func (s Stream) Consume(ctx context.Context, c Consumer, from, to uint64, read func(i uint64, released bool)) error {
	for i := from; i < to; {
		if err := c.Wait(ctx); err != nil {
			return fmt.Errorf("wait for record %d: %w", i, err)
		}
		for r := range c.Batch(int(min(1+mix(i)%100, to-i))) {
			if err := s.Verify(r, i); err != nil {
				return err
			}
			if read != nil {
				read(i, false)
			}
			i++
		}
		if err := c.Err(); err != nil {
			return fmt.Errorf("before record %d: %w", i, err)
		}
		c.Release()
		if read != nil {
			read(i, true)
		}
	}
	return nil
}
