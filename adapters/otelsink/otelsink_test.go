package otelsink_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"google.golang.org/grpc"

	"shmkit/adapters/otelsink"
	"shmkit/logring"
)

// start starts the OpenTelemetry Collector's receiver.
func start(t *testing.T, protocol, address string) (*consumertest.LogsSink, receiver.Logs) {
	t.Helper()
	f := otlpreceiver.NewFactory()
	cfg := f.CreateDefaultConfig()
	settings := map[string]any{"protocols": map[string]any{protocol: map[string]any{"endpoint": address}}}
	if err := confmap.NewFromStringMap(settings).Unmarshal(cfg); err != nil {
		t.Fatal(err)
	}
	got := new(consumertest.LogsSink)
	r, err := f.CreateLogs(t.Context(), receivertest.NewNopSettings(f.Type()), cfg, got)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Shutdown(context.Background()) })
	return got, r
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func collect(t *testing.T, o otelsink.Options, so logring.SinkOptions) (*logring.Collector, *slog.Logger) {
	t.Helper()
	s, err := otelsink.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	c, err := logring.NewCollector(logring.CollectorOptions{Level: slog.LevelDebug, Sinks: []logring.Sink{logring.With(s, so)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(t.Context()) })
	return c, slog.New(c.Handler())
}

// each calls f for every record, in the order of arrival.
func each(got *consumertest.LogsSink, f func(service string, r plog.LogRecord)) {
	for _, l := range got.AllLogs() {
		for _, rl := range l.ResourceLogs().All() {
			service, _ := rl.Resource().Attributes().Get("service.name")
			for _, sl := range rl.ScopeLogs().All() {
				for _, r := range sl.LogRecords().All() {
					f(service.Str(), r)
				}
			}
		}
	}
}

// The collector's own receiver understands what was logged, over gRPC and HTTP.
func TestReceiver(t *testing.T) {
	for _, protocol := range []string{"grpc", "http"} {
		address := freeAddress(t)
		got, _ := start(t, protocol, address)
		c, l := collect(t, otelsink.Options{Endpoint: "http://" + address, HTTP: protocol == "http", Service: "train"}, logring.SinkOptions{})
		const n = 3000
		before := time.Now()
		for i := range n {
			l.Info("message \x1b[31m\n", "i", i)
		}
		l.Error("bad", slog.Group("http", "status", 404), "f", 1.5, "ok", true, "group", "forged", "list", []int{1, 2})
		c.Line("job", 3, 77, "stderr", []byte("captured"), false)
		if err := c.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		i := 0
		each(got, func(service string, r plog.LogRecord) {
			a := r.Attributes().AsRaw()
			switch {
			case i < n:
				if a["i"] != int64(i) || r.Body().Str() != "message \x1b[31m\n" || r.SeverityNumber() != plog.SeverityNumberInfo || a["group"] != "node" || service != "train" {
					t.Fatalf("%s: record %d: %v %q", protocol, i, a, r.Body().Str())
				}
				if at := r.Timestamp().AsTime(); at.Before(before) || at.After(time.Now()) {
					t.Fatalf("%s: record %d: time %v", protocol, i, at)
				}
			case i == n:
				if fmt.Sprint(a["http"]) != "map[status:404]" || a["f"] != 1.5 || a["ok"] != true || a["attr.group"] != "forged" || r.SeverityNumber() != plog.SeverityNumberError {
					t.Errorf("%s: attributes %v", protocol, a)
				}
			default:
				if a["stream"] != "stderr" || a["worker"] != int64(3) || a["pid"] != int64(77) || r.Body().Str() != "captured" {
					t.Errorf("%s: a captured line: %v", protocol, a)
				}
			}
			i++
		})
		if i != n+2 {
			t.Errorf("%s: %d records", protocol, i)
		}
	}
}

// What is logged while no receiver is there arrives when one is.
func TestOutage(t *testing.T) {
	address := freeAddress(t)
	c, l := collect(t, otelsink.Options{Endpoint: "http://" + address, Timeout: time.Second}, logring.SinkOptions{})
	const n = 1000
	for i := range n {
		l.Info("x", "i", i)
	}
	for c.Stats().Sinks[0].Errors == 0 { // bounded by the test's deadline
		time.Sleep(time.Millisecond)
	}
	if s := c.Stats().Sinks[0]; s.Name != "otlp:"+address || !strings.Contains(s.LastError, "does a receiver run there?") {
		t.Errorf("%+v", s)
	}
	got, _ := start(t, "grpc", address)
	if err := c.Flush(t.Context()); err == nil {
		t.Error("Flush does not tell of the outage")
	}
	next := 0
	each(got, func(_ string, r plog.LogRecord) {
		if i, ok := r.Attributes().Get("i"); ok && i.Int() == int64(next) {
			next++
		}
	})
	if s := c.Stats().Sinks[0]; next != n || len(s.Dropped) != 0 {
		t.Errorf("%d records in order, %+v", next, s)
	}
}

func TestErrors(t *testing.T) {
	for _, endpoint := range []string{"", "localhost:4317", "otlp://x:1", "http://", "%zz"} {
		if _, err := otelsink.Open(t.Context(), otelsink.Options{Endpoint: endpoint}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", endpoint)) || !strings.Contains(err.Error(), "http://HOST:4317") {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
}

// A server that knows no OTLP, or refuses: the records are given up at once, counted.
func TestRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	go g.Serve(l)
	defer g.Stop()
	h := httptest.NewServer(http.NotFoundHandler())
	defer h.Close()
	for says, o := range map[string]otelsink.Options{
		"Unimplemented": {Endpoint: "http://" + l.Addr().String()},
		"404":           {Endpoint: h.URL, HTTP: true},
	} {
		c, log := collect(t, o, logring.SinkOptions{})
		log.Info("x")
		if err := c.Flush(t.Context()); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("Flush says %v, want %s", err, says)
		}
		if s := c.Stats().Sinks[0]; s.Dropped[logring.DropError] == 0 || s.Written != 0 {
			t.Errorf("%s: %+v", says, s)
		}
	}
}
