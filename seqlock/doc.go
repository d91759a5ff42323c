// Package seqlock hands the latest version of a value from one writer to any
// number of readers, in one process or in many, over a piece of shared memory. The
// value is always whole, and nobody ever waits for anybody.
//
// A value of fixed size, such as a set of limits, is a [Latch]:
//
//	type Limits struct{ Rate, Burst int64 }
//
//	size, _ := seqlock.LatchSize[Limits](seqlock.DefaultSlots)
//	view := make([]byte, size)        // or a mapping that other processes share
//
//	owner, err := seqlock.NewLatch[Limits](view, seqlock.DefaultSlots)
//	owner.Store(&Limits{Rate: 100, Burst: 20})
//
//	worker, err := seqlock.OpenLatch[Limits](view)     // elsewhere, perhaps read-only
//	var now Limits
//	version, err := worker.Load(&now)
//
// A document of varying length, such as a configuration, goes through a [Writer]
// and a [Reader] on a view that [Format] has prepared.
//
// # Guarantees
//
//  1. A read returns one version, byte for byte, or an error; never a mix of two.
//  2. Version numbers start at 1, grow by exactly 1, and never go back for a reader.
//  3. A writer that is killed or stopped at any instruction leaves the last version
//     readable, without delay. Its successor goes on with the next number.
//  4. A reader writes nothing: it works on a read-only mapping, and the number and
//     the behaviour of readers make no difference to the writer.
//  5. No system call and no allocation in Publish, Store, Read and Load (a Read into
//     too small a buffer allocates a larger one; a writer that wakes pays for that).
//  6. Whatever another process writes into the view, a read stays inside it and
//     returns a value or a typed error. Geometry is read once, when the view is
//     opened, and bounded by the length of the view.
//
// What it does not give: history (a slow reader skips versions), and two writers
// (the second one is noticed sooner or later and told [ErrSecondWriter]).
//
// # How
//
// The view holds a header and N slots. All integers have the byte order of the
// machine, since a mapping does not leave it.
//
//	  0 ┌───────────────────────────────┐
//	    │ u64 published version         │ 0 = nothing yet
//	  8 │ u32 payload size, u32 slots N │
//	 16 │ u32 form, u32 0, u64 schema   │
//	128 ├───────────────────────────────┤
//	    │ slot 0                        │ versions N, 2N, …
//	    ├───────────────────────────────┤ each slot rounded up to 128 bytes
//	    │ slot 1                        │ versions 1, N+1, …
//	    ├───────────────────────────────┤
//	    │ …                             │
//	    └───────────────────────────────┘
//
// A slot of the bytes form is a u64 length and the payload; one of the typed form
// is the value as it lies in Go memory.
//
//	write   fill slot (pub+1) mod N, then publish pub+1
//	read    p = pub; copy slot p mod N; accept if pub − p ≤ N−2
//
// A reader is disturbed only by a writer that gets through N−1 versions during one
// copy. It then tries again, a bounded number of times, and gives up with
// [ErrContended]. [SlotsFor] says how many slots make that rare.
//
// [OddEven] is the classic form with one copy, for where memory is tight; its
// documentation says what that costs.
//
// # Waiting
//
// Readers poll a version for the price of one load. To sleep until it changes they
// bring a [Waiter], for instance the futex of shmkit/shm, and the writer is told to
// wake through the same ([Writer.WakeWith]).
//
// The layout and the API are kept compatible within a major version of this module.
package seqlock
