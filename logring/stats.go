package logring

import (
	"maps"
	"time"
)

// Why a record was dropped. The first six happen in the worker, before the
// record is in the ring; the others in the collector, or at a sink.
const (
	DropFull        = "full"        // ring full, policy DropNew
	DropTimeout     = "timeout"     // ring full for MaxWait, policy Block
	DropTooLarge    = "toolarge"    // could not be cut to the size of a record
	DropClosed      = "closed"      // logged after Close
	DropOverwritten = "overwritten" // by newer ones, policy [OverwriteOldest]
	DropSampled     = "sampled"     // held back by a [Sample]
	DropLimited     = "limited"     // held back by a [Limit]

	DropCorrupt  = "corrupt"  // in a ring that broke the format, or behind that place
	DropShutdown = "shutdown" // still on the way when Close had to end
	DropError    = "error"    // the sink failed
	DropStalled  = "stalled"  // the sink made no progress and its queue was full
	DropTorn     = "torn"     // the sink failed inside this record; if it works again it completes the line
)

// Stats is one exact account of a collector:
//
//	Attempted = Delivered + Pending + the sum of Dropped
//
// at any time, for the total and for each worker. After Close Pending is 0.
type Stats struct {
	Attempted uint64            `json:"attempted"` // log calls that were enabled, captured lines, records of the node
	Delivered uint64            `json:"delivered"` // handed to the queues of all sinks
	Pending   uint64            `json:"pending"`   // in rings, or being merged
	Dropped   map[string]uint64 `json:"dropped"`   // by reason, never nil

	Lag time.Duration `json:"lag_ns"` // age of the oldest record that was collected and not yet delivered, 0: none

	Late        uint64 `json:"late"`        // delivered after a record with a later time of another worker
	Quarantined int    `json:"quarantined"` // rings that broke the format
	Doorbells   uint64 `json:"doorbells"`   // messages from workers
	Wakes       uint64 `json:"wakes"`       // times the collector announced sleep and came back

	Workers []WorkerStats `json:"workers"` // by group, then rank
	Sinks   []SinkStats   `json:"sinks"`   // in the order of the options
}

// WorkerStats is the account of one rank of one group, over all processes that
// held it, its captured lines included. The node itself is [NodeGroup],
// [NodeWorker].
type WorkerStats struct {
	Group     string            `json:"group"`
	Worker    int               `json:"worker"`
	PID       int               `json:"pid"`  // of the last process
	Live      bool              `json:"live"` // its ring is attached
	Attempted uint64            `json:"attempted"`
	Delivered uint64            `json:"delivered"`
	Pending   uint64            `json:"pending"`
	Dropped   map[string]uint64 `json:"dropped"`
	RingUsed  uint64            `json:"ring_used"` // bytes of records in its rings
	RingSize  uint64            `json:"ring_size"` // bytes that they hold, 0 if none is attached
}

// SinkStats is the account of one sink:
//
//	records delivered = Written + Filtered + Pending + the sum of Dropped
type SinkStats struct {
	Name      string            `json:"name"`
	Written   uint64            `json:"written"`
	Filtered  uint64            `json:"filtered"` // below the sink's level, or not let through by its filter
	Pending   uint64            `json:"pending"`  // in its queue, or in a Write
	Dropped   map[string]uint64 `json:"dropped"`  // by reason, never nil
	Errors    uint64            `json:"errors"`   // calls that failed
	LastError string            `json:"last_error,omitempty"`

	Lag     time.Duration `json:"lag_ns"`     // age of the oldest record in its queue or in a Write, 0: none
	Latency Latencies     `json:"latency"`    // from the log call to the return of Write: of a batch the oldest record's, for all of it
	Batches uint64        `json:"batches"`    // calls of Write, and those that only had records to filter
	Busy    time.Duration `json:"writing_ns"` // spent in Write, pauses before another try included
}

func (s *SinkStats) accounted() uint64 { return s.Written + s.Filtered + sum(s.Dropped) }

func sum(m map[string]uint64) (n uint64) {
	for _, v := range m {
		n += v
	}
	return n
}

// snapshot returns the account of the sink.
func (r *runner) snapshot() SinkStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	s.Dropped = maps.Clone(s.Dropped)
	s.Pending = r.accepted - s.accounted()
	if r.born > 0 {
		s.Lag = time.Duration(max(monotonic()-r.born, 0))
	} else if len(r.queue) > 0 && r.queue[0].b != nil && r.queue[0].b.born > 0 {
		s.Lag = time.Duration(max(monotonic()-r.queue[0].b.born, 0))
	}
	return s
}
