//go:build !amd64 || race

package seqlock

// copyOut copies len(dst) bytes of a slot to private memory.
func copyOut(dst []byte, src []uint64) { copyWords(dst, src) }
