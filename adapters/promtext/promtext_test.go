package promtext_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"shmkit/adapters/promtext"
	"shmkit/logring"
)

// broken is a sink that never works.
type broken struct{}

func (broken) Write([]logring.Record) error { return errors.New("no") }
func (broken) Sync() error                  { return nil }
func (broken) Close() error                 { return nil }

// The figures are those of the account, the text is what Prometheus reads, and its
// linter has nothing to say.
func Test(t *testing.T) {
	c, err := logring.NewCollector(logring.CollectorOptions{Sinks: []logring.Sink{
		logring.With(logring.JSON(io.Discard), logring.SinkOptions{Name: "file"}),
		logring.With(logring.JSON(io.Discard), logring.SinkOptions{Name: "file", Level: slog.LevelError}),
		logring.With(broken{}, logring.SinkOptions{Name: `with "quotes"`}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	for range 3 {
		c.Line("job", 4, 100, "stdout", []byte("x"), false)
	}
	c.Flush(t.Context()) // one of the sinks fails
	c.Flush(t.Context()) // and a record says so: now it is counted, too
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(promtext.New(c)); err != nil {
		t.Fatal(err)
	}
	problems, err := testutil.GatherAndLint(registry)
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := c.Stats()
	want := fmt.Sprintf(`
# HELP logring_delivered_records_total Records handed to the queues of all sinks.
# TYPE logring_delivered_records_total counter
logring_delivered_records_total{group="job",worker="4"} 3
logring_delivered_records_total{group="node",worker="-1"} %d
# HELP logring_sink_dropped_records_total Records that the sink lost, by reason.
# TYPE logring_sink_dropped_records_total counter
logring_sink_dropped_records_total{reason="error",sink="with \"quotes\""} %d
# HELP logring_sink_filtered_records_total Records that the sink does not want.
# TYPE logring_sink_filtered_records_total counter
logring_sink_filtered_records_total{sink="file"} 0
logring_sink_filtered_records_total{sink="file#2"} %d
logring_sink_filtered_records_total{sink="with \"quotes\""} 0
`, s.Workers[1].Delivered, s.Sinks[2].Dropped["error"], s.Sinks[1].Filtered)
	err = testutil.GatherAndCompare(registry, strings.NewReader(want),
		"logring_delivered_records_total", "logring_sink_dropped_records_total", "logring_sink_filtered_records_total")
	if err != nil {
		t.Error(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "logring_sink_latency_seconds" {
			continue
		}
		h := f.Metric[0].Histogram
		if h.GetSampleCount() != s.Sinks[0].Latency.Count() || h.GetSampleCount() < 3 || h.GetSampleSum() <= 0 {
			t.Errorf("latency: %v, %+v", h, s.Sinks[0].Latency)
		}
		return
	}
	t.Error("no latency")
}
