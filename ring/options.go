package ring

import (
	"context"
	"time"
)

// A Policy says what Reserve does when the ring is full.
type Policy int

const (
	// Block waits for the consumer, at most MaxWait if that is set.
	Block Policy = iota
	// DropNew refuses the record with ErrFull and counts it under DropFull.
	DropNew
	// OverwriteOldest makes room by giving up the oldest records, read or not. It
	// never waits. The consumer is told how many it has lost ([GapError]).
	// All producers of one ring overwrite, or none does.
	OverwriteOldest
)

// A Reason says why a record was dropped by its producer.
type Reason int

const (
	// DropFull: no space, policy DropNew.
	DropFull Reason = iota
	// DropTimeout: no space for MaxWait, policy Block.
	DropTimeout
	// DropTooLarge: larger than the ring's largest record.
	DropTooLarge
	// DropCorrupt: the ring is quarantined.
	DropCorrupt
	// DropCaller and the two after it are for callers of [Producer.Drop].
	DropCaller
	DropCaller2
	DropCaller3

	// NumReasons is the number of reasons.
	NumReasons
)

var reasons = [NumReasons]string{"full", "timeout", "too large", "corrupt", "caller", "caller 2", "caller 3"}

func (r Reason) String() string {
	if r < 0 || r >= NumReasons {
		return "unknown"
	}
	return reasons[r]
}

// A Waiter parks a side until the other changes a word, and wakes it: a futex
// that is shared between processes, as shmkit/shm's Futex. Another kind of bell
// does as well (a collector over many rings has one for all).
type Waiter interface {
	// Wait returns nil when the word was changed from old or Wake was called, or
	// for no reason at all; and the context's error when that ends first. It must
	// compare the word with old after it has become visible to Wake: that is what
	// excludes a lost wake.
	Wait(ctx context.Context, word *uint32, old uint32) error
	// Wake wakes whoever waits on the word.
	Wake(word *uint32) error
}

// ProducerOptions for [NewProducer]. The zero value is usable.
type ProducerOptions struct {
	Name   string // for errors
	Policy Policy
	// Waiter parks the producer while the ring is full, and wakes the consumer.
	// nil polls, with pauses that grow from 20 µs to 2 ms.
	Waiter Waiter
	// MaxWait bounds how long Reserve waits under Block. 0: for ever.
	MaxWait time.Duration
	// Spin is how long a wait polls before it parks. 0: by the number of CPUs (50 µs;
	// 5 µs on two; not at all on one). Negative: not at all.
	Spin time.Duration
}

// ConsumerOptions for [NewConsumer]. The zero value is usable.
type ConsumerOptions struct {
	Name   string // for errors
	Waiter Waiter // as in ProducerOptions
	Spin   time.Duration
}
