package spawn

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// A process that the server did not start joins a run through the socket "join"
// in the run's directory (SOCK_SEQPACKET). It sends one hello, a JSON object, and
// is answered by one welcome; then the files that the welcome counts come in
// records of one byte each with up to MaxMessageFiles descriptors beside it. From
// then on the connection is a control socket like any worker's.
type (
	hello struct {
		Version int    `json:"join"`
		Group   string `json:"group,omitempty"`
		Rank    int    `json:"rank"` // AnyRank: the lowest that is free
		Size    int    `json:"size,omitempty"`
	}
	welcome struct {
		Error    string `json:"error,omitempty"`
		Ending   bool   `json:"ending,omitempty"` // the error is ErrEnding
		Run      string `json:"run,omitempty"`
		Group    string `json:"group,omitempty"`
		Rank     int    `json:"rank"`
		Size     int    `json:"size,omitempty"`
		Plumbing string `json:"plumbing,omitempty"`
	}
)

const (
	joinVersion = 1
	joinName    = "join"
	maxHello    = 4 << 10
	maxWelcome  = maxPlumbing + 4<<10

	// GuestGroup is the group of a process that joins without naming one.
	GuestGroup = "guests"

	// AnyRank asks for the lowest rank of the group that nobody has.
	AnyRank = -1
)

// JoinOptions say which run a process joins, and as whom. A program that a server
// started by Spec.Cmd, or a descendant of it in its process group, is known by
// that: it gets the group, rank and size that it was started with, whatever it
// says here.
type JoinOptions struct {
	Run string // default: $SHMKIT_RUN
	Dir string // runtime directory; default: [RuntimeDir]

	Group string // default: [GuestGroup]; not the name of a group that the server started
	Rank  int    // 0 … Size−1, free; or AnyRank
	Size  int    // default, and at least: Rank+1

	// StopSignals end [Child.Context] as SIGTERM does: those by which a batch
	// system warns before the time is over, say.
	StopSignals []os.Signal
}

// JoinError says why a run could not be joined.
type JoinError struct {
	Run string
	Err error // why, and what to do
}

func (e *JoinError) Error() string { return fmt.Sprintf("spawn: join run %q: %v", e.Run, e.Err) }
func (e *JoinError) Unwrap() error { return e.Err }

// parseHello checks what a stranger says.
func parseHello(b []byte) (hello, error) {
	var h hello
	if err := json.Unmarshal(b, &h); err != nil {
		return h, errors.New("malformed request")
	}
	if h.Version != joinVersion {
		return h, fmt.Errorf("request of version %d, this node speaks %d: build both from the same version", h.Version, joinVersion)
	}
	if h.Group == "" {
		h.Group = GuestGroup
	}
	if err := checkName(h.Group); err != nil {
		return h, fmt.Errorf("group name %w", err)
	}
	if h.Size == 0 && h.Rank >= 0 {
		h.Size = h.Rank + 1
	}
	if h.Rank < AnyRank || h.Size < 0 || h.Size > MaxWorkers || h.Rank >= h.Size && h.Rank != AnyRank {
		return h, fmt.Errorf("rank %d of %d: want 0 ≤ rank < size ≤ %d", h.Rank, h.Size, MaxWorkers)
	}
	return h, nil
}
