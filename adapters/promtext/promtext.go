// Package promtext shows the account of a log collector to Prometheus.
//
//	registry := prometheus.NewRegistry()
//	registry.MustRegister(promtext.New(c))
//	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
//
// gives, among others,
//
//	logring_dropped_records_total{group="count",worker="3",reason="timeout"} 12
//	logring_sink_lag_seconds{sink="run.jsonl"} 0.0008
//
// Every scrape takes one [logring.Stats]: its figures are of one moment, and
//
//	attempted = delivered + pending + dropped
//
// holds among them for each worker. A worker that has ended keeps its figures, under
// its group and rank, so no counter ever goes back.
//
// What to watch: logring_sink_lag_seconds (a sink falls behind),
// rate(logring_dropped_records_total) and rate(logring_sink_dropped_records_total)
// (something is lost), logring_ring_used_bytes against logring_ring_size_bytes (a
// worker is about to wait), logring_quarantined_rings_total (a worker broke the
// format).
package promtext

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"shmkit/logring"
)

// A Source has the account that is shown: a [logring.Collector], or the node of
// package shmkit.
type Source interface{ Stats() logring.Stats }

// New returns a Prometheus collector of the account of src.
func New(src Source) prometheus.Collector { return &collector{src} }

type collector struct{ src Source }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("logring_"+name, help, labels, nil)
}

var (
	attempted   = desc("attempted_records_total", "Log calls that were enabled, captured lines, records of the node.", "group", "worker")
	delivered   = desc("delivered_records_total", "Records handed to the queues of all sinks.", "group", "worker")
	dropped     = desc("dropped_records_total", "Records dropped before the sinks, by reason.", "group", "worker", "reason")
	pending     = desc("pending_records", "Records in rings, or being merged.", "group", "worker")
	ringUsed    = desc("ring_used_bytes", "Bytes of records that lie in the worker's rings.", "group", "worker")
	ringSize    = desc("ring_size_bytes", "Bytes that the worker's rings hold.", "group", "worker")
	lag         = desc("lag_seconds", "Age of the oldest record that was collected and not delivered.")
	late        = desc("late_records_total", "Records delivered after one with a later time.")
	quarantined = desc("quarantined_rings_total", "Rings of workers that broke the format.")
	doorbells   = desc("doorbells_total", "Messages from workers.")
	wakes       = desc("wakes_total", "Times that the collector slept and came back.")

	sinkWritten  = desc("sink_written_records_total", "Records written.", "sink")
	sinkFiltered = desc("sink_filtered_records_total", "Records that the sink does not want.", "sink")
	sinkDropped  = desc("sink_dropped_records_total", "Records that the sink lost, by reason.", "sink", "reason")
	sinkPending  = desc("sink_pending_records", "Records in the sink's queue, or being written.", "sink")
	sinkErrors   = desc("sink_errors_total", "Calls of the sink that failed.", "sink")
	sinkLag      = desc("sink_lag_seconds", "Age of the oldest record that the sink has not written.", "sink")
	sinkBatches  = desc("sink_batches_total", "Batches written.", "sink")
	sinkBusy     = desc("sink_writing_seconds_total", "Time spent writing.", "sink")
	sinkLatency  = desc("sink_latency_seconds", "From the log call until the record was written.", "sink")

	all = []*prometheus.Desc{
		attempted, delivered, dropped, pending, ringUsed, ringSize, lag, late, quarantined, doorbells, wakes,
		sinkWritten, sinkFiltered, sinkDropped, sinkPending, sinkErrors, sinkLag, sinkBatches, sinkBusy, sinkLatency,
	}
)

func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range all {
		to <- d
	}
}

func (c *collector) Collect(to chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	s := c.src.Stats()
	gauge(lag, s.Lag.Seconds())
	counter(late, float64(s.Late))
	counter(quarantined, float64(s.Quarantined))
	counter(doorbells, float64(s.Doorbells))
	counter(wakes, float64(s.Wakes))
	for _, w := range s.Workers {
		rank := strconv.Itoa(w.Worker)
		counter(attempted, float64(w.Attempted), w.Group, rank)
		counter(delivered, float64(w.Delivered), w.Group, rank)
		gauge(pending, float64(w.Pending), w.Group, rank)
		for reason, n := range w.Dropped {
			counter(dropped, float64(n), w.Group, rank, reason)
		}
		if w.Live {
			gauge(ringUsed, float64(w.RingUsed), w.Group, rank)
			gauge(ringSize, float64(w.RingSize), w.Group, rank)
		}
	}
	names := map[string]int{}
	for _, k := range s.Sinks {
		name := k.Name
		if names[name]++; names[name] > 1 { // Prometheus takes each only once
			name += "#" + strconv.Itoa(names[name])
		}
		counter(sinkWritten, float64(k.Written), name)
		counter(sinkFiltered, float64(k.Filtered), name)
		gauge(sinkPending, float64(k.Pending), name)
		counter(sinkErrors, float64(k.Errors), name)
		counter(sinkBatches, float64(k.Batches), name)
		counter(sinkBusy, k.Busy.Seconds(), name)
		gauge(sinkLag, k.Lag.Seconds(), name)
		for reason, n := range k.Dropped {
			counter(sinkDropped, float64(n), name, reason)
		}
		to <- latency(&k.Latency, name)
	}
}

// latency makes a histogram, whose buckets count what does not exceed their bound.
func latency(l *logring.Latencies, sink string) prometheus.Metric {
	buckets := map[float64]uint64{}
	n := uint64(0)
	for i, c := range l.Counts {
		n += c
		if bound := logring.LatencyBound(i); bound < time.Hour { // the last one has none
			buckets[bound.Seconds()] = n
		}
	}
	return prometheus.MustNewConstHistogram(sinkLatency, n, l.Sum.Seconds(), buckets, sink)
}
