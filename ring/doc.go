// Package ring is a queue of records between two processes: one writes, one
// reads, over any memory that both can see. A record costs no system call, no
// allocation and no lock, and what was committed survives the death of either
// process at any instruction.
//
//	size, err := ring.Size(1<<20, 64<<10)          // 1 MiB, records up to 64 KiB
//	view := make([]byte, size)                     // or shared memory, zeroed
//
//	p, err := ring.NewProducer(view, ring.ProducerOptions{Name: "orders"})
//	c, err := ring.NewConsumer(view, ring.ConsumerOptions{Name: "orders"})
//
//	buf, err := p.Reserve(5)                       // ring memory: nothing is copied
//	copy(buf, "hello")
//	p.Commit(5, 1)                                 // now it exists
//	p.Flush()                                      // now a sleeping reader knows
//
//	for r := range c.Batch(100) {
//		fmt.Println(r.Tag, string(r.Payload))      // 1 hello; ring memory, too
//	}
//	c.Release()                                    // the space is the producer's again
//
// Most callers want [Producer.Write] on one side, and on the other a loop of
// [Consumer.Wait], [Consumer.Batch] and [Consumer.Release].
//
// # Guarantees
//
//  1. Records come out once, in order, untorn, with the tag and the bytes they
//     went in with.
//  2. A record exists when [Producer.Commit] returns, and not before. A producer
//     killed at any instruction leaves exactly its committed records (at most one
//     more, whose Commit was under way); a new one goes on behind them.
//  3. What was not released comes again for a new consumer: at least once. What was
//     released does not.
//  4. Both sides are zero-copy and allocate nothing while they do not wait.
//  5. No system call while the peer is awake; at most one wake for each time that it
//     falls asleep; no wake is lost.
//  6. Neither side waits for a lock, or for anything but records or space: a peer
//     that is stopped or dead blocks nothing else.
//  7. Attempted = delivered + lost + pending + dropped(reason), exactly, whatever
//     died in between ([Stats]).
//  8. Whatever the peer writes into the memory, there is no panic, no hang and no
//     access outside the ring: each position and length is loaded once and bounded
//     by private knowledge. A violation is a [*CorruptError]; the end that found it
//     is quarantined, other rings are not concerned.
//
// One case per guarantee is in [shmkit/ring/ringtest].
//
// # Layout
//
// The view is a public format, little-endian. Each word has one writer: page 0
// the consumer, page 1 the producer. The geometry follows from the length of the
// view alone.
//
//	        page 0, consumer's         page 1, producer's         data
//	       ┌──────────────────────────┬──────────────────────────┬───────────────────┬──────────┐
//	+0     │ u64 head                 │ u64 tail, u32 mode       │ capacity 2^n      │ overhang │
//	+128   │ u32 asleep, u64 wakeAt,  │ u32 asleep, u64 wakeAt,  │                   │          │
//	+144   │ u64 claim                │ u64 claim                │ records, 8-aligned│          │
//	+192   │ 64 bytes for the owner   │                          │                   │          │
//	+256   │ note: delivered          │ note: committed          │                   │          │
//	+384   │ u64 wakes                │ note: oldest             │                   │          │
//	+512   │                          │ u64 blocked, wakes,      │                   │          │
//	       │                          │ u64 dropped[8]           │                   │          │
//	       └──────────────────────────┴──────────────────────────┴───────────────────┴──────────┘
//	record: u32 payload length, u32 tag, payload, up to 7 bytes to the next multiple of 8
//	note:   u64 version, 4 × (u64 position, u64 records, u64 lost); slot version%4 holds
//
// head and tail are positions: bytes since the ring was made, 64 bits, never
// turned back. A position's place in the data is its low n bits. A record that
// starts in front of the end of the data runs on into the overhang, so each one is
// contiguous:
//
//	         released        committed         reserved   free
//	data: ───────────────┼────────────────┼────────────┼──────────┆ overhang
//	                    head             tail                     ┆
//
// A record exists when the tail is behind it (tail-commit). What a producer that
// died has half written lies behind the tail and is as if it had never been.
//
// # Waiting
//
// A side that finds nothing looks a few more times, politely, and then parks: the
// consumer on the low half of the tail, the producer on the low half of the head. It
// announces that in its asleep word, odd, with the position that will end the wait
// in wakeAt; then it looks once more, and parks by a call that compares the word
// with what it saw (a futex, see [Waiter]). The other side stores its position and
// then looks at asleep. A store-load barrier on both sides excludes that each misses
// the other's store. If the position moves between the last look and the parking,
// the comparison fails, and there is no parking. It would take a move by exactly 4
// GiB to deceive it; the capacity is at most 2.
//
// The barrier is paid by [Producer.Flush] and [Consumer.Release], not by Commit and
// Next. So write a burst, then flush; read a batch, then release.
//
// # Speed
//
// Two things matter more than all others, and the benchmarks of this package show
// both. The tail is published by a plain release store, not by an XCHG, which on
// amd64 waits until the cache line is there. And the consumer is polite: a reader
// that looks again as soon as it has read one record takes the line of the tail from
// the producer for each record; leaving it alone for a microsecond lets a batch
// grow. [Consumer.Wait] does so; poll with [Consumer.Next] to see each record as
// early as possible instead.
//
// Cached positions of the peer are from rigtorp's SPSCQueue, reserve and commit
// from agrona's ring buffers, tail-commit and the checks of the peer from gVisor's
// flipcall and pipe packages.
package ring
