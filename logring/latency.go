package logring

import (
	"math"
	"time"
)

// Latencies count how long records took, by doubling bounds: the first counts what
// took at most 50 µs, the next 100 µs, and so on; the last what took longer than
// 6.5 s.
type Latencies struct {
	Counts [latencyBuckets]uint64 `json:"counts"`
	Sum    time.Duration          `json:"sum_ns"`
}

const (
	latencyBuckets = 19
	firstLatency   = 50 * time.Microsecond
)

// LatencyBound returns the upper bound of bucket i.
func LatencyBound(i int) time.Duration {
	if i >= latencyBuckets-1 {
		return math.MaxInt64
	}
	return firstLatency << i
}

func (l *Latencies) add(d time.Duration, n uint64) {
	d = max(d, 0)
	i := 0
	for d > LatencyBound(i) {
		i++
	}
	l.Counts[i] += n
	l.Sum += d * time.Duration(n)
}

// Count returns the number of records.
func (l *Latencies) Count() (n uint64) {
	for _, c := range l.Counts {
		n += c
	}
	return n
}

// Quantile returns a bound that the share q (0 to 1) of the records did not exceed,
// the smallest that is known; 0 if there are none.
func (l *Latencies) Quantile(q float64) time.Duration {
	total := l.Count()
	if total == 0 {
		return 0
	}
	need := max(uint64(math.Ceil(q*float64(total))), 1)
	for i, c := range l.Counts {
		if need <= c {
			return LatencyBound(i)
		}
		need -= c
	}
	return math.MaxInt64
}
