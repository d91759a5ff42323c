package shm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"unsafe"
)

// wakeAll as the n of Wake wakes everybody.
const wakeAll = 1<<31 - 1

// Wait parks the calling goroutine until somebody calls [Wake] on word, in any
// process that maps it, and returns nil. It returns nil at once when *word is
// not old. It may return nil without cause: call it in a loop around an atomic
// load of the word.
//
// Nothing is lost: the kernel compares *word with old after it has queued the
// waiter, so a peer that first stores and then wakes is always noticed, whatever
// happens in between. A Wake that does not change the word can be missed, and so
// can a word that goes back to old: use a word that counts.
//
// The word may lie in a mapping that is read-only here, in a sealed segment, in
// a named one, or on the heap. At most one thread of the process is parked, however
// many goroutines wait on however many words: it waits for up to 127 words at a
// time (futex_waitv, Linux 5.16). Further words, and all but one before that
// version, are looked at in turn, at most 4 ms apart for each 127.
//
// The error is ctx.Err() if ctx ends; os.ErrClosed if the word's segment is
// closed meanwhile; [ErrUnmapped] if there is no memory behind the word, because
// its segment was closed before or truncated. Wait never touches the word from
// user code, so it cannot fault; but once a segment is closed its addresses may
// be used for something else, so hold a [View] where Close may come first.
func Wait(ctx context.Context, word *uint32, old uint32) error {
	if err := checkWord("wait", word); err != nil {
		return err
	}
	return process.wait(ctx, word, old)
}

// Wake wakes up to n waiters on word and returns how many. A process with any
// number of goroutines in [Wait] on the word counts as one waiter, and wakes all
// of them. Store to the word first.
//
// Waking needs no right to write: it works through a read-only mapping as well,
// so a reader can disturb other waiters, though only by waking them for nothing.
func Wake(word *uint32, n int) (int, error) {
	if err := checkWord("wake", word); err != nil {
		return 0, err
	}
	if n < 0 {
		return 0, fail("wake", "", fmt.Errorf("%w: %d waiters", os.ErrInvalid, n), "pass how many to wake at most")
	}
	return futexWake(word, min(n, wakeAll))
}

func checkWord(op string, word *uint32) error {
	switch {
	case word == nil:
		return fail(op, "", fmt.Errorf("%w: nil word", os.ErrInvalid), "pass the address of a word")
	case uintptr(unsafe.Pointer(word))%4 != 0:
		return fail(op, "", fmt.Errorf("%w: word at %p is not aligned", os.ErrInvalid, word), "place it on a multiple of 4")
	}
	return nil
}

// ErrUnmapped is the cause when there is no memory behind a word.
var ErrUnmapped = errors.New("no memory behind the word")

// Futex is [Wait] and [Wake] as an object, for packages that take their way of
// waiting as an interface. Its Wake wakes everybody.
type Futex struct{}

// Wait is [Wait].
func (Futex) Wait(ctx context.Context, word *uint32, old uint32) error { return Wait(ctx, word, old) }

// Wake wakes all who wait on word.
func (Futex) Wake(word *uint32) error {
	_, err := Wake(word, wakeAll)
	return err
}
