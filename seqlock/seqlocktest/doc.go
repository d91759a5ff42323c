// Package seqlocktest checks that a latch keeps its promises.
//
// Every form of latch in shmkit/seqlock runs through the same cases, each with
// its explanation, on heap memory, on mapped memory and between two processes:
//
//	func TestConformance(t *testing.T) {
//		for _, v := range seqlocktest.Variants() {
//			seqlocktest.Test(t, v, seqlocktest.Heap, new(seqlocktest.Parker))
//		}
//	}
//
// A latch of one's own takes part by describing itself in a [Variant]. Payloads are
// a function of a seed and the version ([Variant.Payload]), so that both sides of a
// test verify every byte without talking to each other.
package seqlocktest
