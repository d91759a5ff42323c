// Package otelsink sends log records to an OpenTelemetry collector, or to whatever
// else speaks OTLP, through OpenTelemetry's own slog bridge and exporters.
//
//	sink, err := otelsink.Open(ctx, otelsink.Options{Endpoint: "http://localhost:4317", Service: "train"})
//	node, err := shmkit.Start(ctx, shmkit.Options{Sinks: []logring.Sink{sink}})
//
// The batches are those of the sink: a record counts as written once the receiver
// has accepted it, and what cannot be sent waits and is sent again, as far as the
// sink's queue goes (see [logring.SinkOptions]). A batch whose answer was lost is
// sent twice: OTLP has no way to tell.
//
// A record has the attributes group, worker, pid and, where they apply, stream,
// continued, truncated and source, before its own.
package otelsink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"shmkit/logring"
)

// Options for [Open].
type Options struct {
	// Endpoint is a URL: http for a plain connection, https for TLS. The port is
	// commonly 4317 for gRPC, 4318 for HTTP.
	Endpoint string

	// HTTP sends protobuf over HTTP, to the path /v1/logs unless Endpoint has
	// one; otherwise it is gRPC.
	HTTP bool

	// Headers go with every request, for a receiver that wants to know who asks.
	Headers map[string]string

	// Service is the attribute service.name of the resource, default the name of
	// the program. OTEL_RESOURCE_ATTRIBUTES adds to the resource.
	Service string

	// Timeout bounds one request, default 10 s.
	Timeout time.Duration
}

// Open returns the sink. It does not wait for the receiver to be there.
func Open(ctx context.Context, o Options) (logring.Sink, error) {
	u, err := url.Parse(o.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("otelsink: endpoint %q: write http://HOST:4317, or https://", o.Endpoint)
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	s := &sink{name: "otlp:" + u.Host, timeout: o.Timeout}
	if s.exporter, err = o.exporter(ctx, u, &s.answer); err != nil {
		return nil, fmt.Errorf("otelsink: %s: %w", o.Endpoint, err)
	}
	service := cmp.Or(o.Service, filepath.Base(os.Args[0]))
	res, err := resource.Merge(resource.NewSchemaless(attribute.String("service.name", service)), resource.Environment())
	if err != nil {
		return nil, fmt.Errorf("otelsink: OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	s.provider = sdklog.NewLoggerProvider(sdklog.WithProcessor(&s.kept), sdklog.WithResource(res), sdklog.WithAttributeCountLimit(-1))
	s.handler = logring.FromHandler(otelslog.NewHandler("shmkit/logring", otelslog.WithLoggerProvider(s.provider)))
	return s, nil
}

// exporter makes one that does not try again: the sink does.
func (o *Options) exporter(ctx context.Context, u *url.URL, a *answer) (sdklog.Exporter, error) {
	if o.HTTP {
		if u.Path == "" || u.Path == "/" {
			u = u.JoinPath("v1", "logs")
		}
		return otlploghttp.New(ctx, otlploghttp.WithEndpointURL(u.String()), otlploghttp.WithHeaders(o.Headers),
			otlploghttp.WithHTTPClient(&http.Client{Transport: a, Timeout: o.Timeout}), otlploghttp.WithRetry(otlploghttp.RetryConfig{}))
	}
	return otlploggrpc.New(ctx, otlploggrpc.WithEndpointURL(u.String()), otlploggrpc.WithHeaders(o.Headers),
		otlploggrpc.WithTimeout(o.Timeout), otlploggrpc.WithRetry(otlploggrpc.RetryConfig{}))
}

type sink struct {
	name     string
	handler  logring.Sink // makes OpenTelemetry's records, into kept
	kept     keeper
	provider *sdklog.LoggerProvider
	exporter sdklog.Exporter
	answer   answer
	timeout  time.Duration
}

func (s *sink) String() string { return s.name }
func (s *sink) Sync() error    { return nil } // an export is answered
func (s *sink) Patient()       {}

func (s *sink) Write(batch []logring.Record) error {
	s.kept.records = s.kept.records[:0]
	defer clear(s.kept.records)
	if err := s.handler.Write(batch); err != nil {
		return errors.Unwrap(err) // of all of them, since none is sent
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	s.answer.code.Store(0)
	if err := s.exporter.Export(ctx, s.kept.records); err != nil {
		return &logring.WriteError{Retry: !s.permanent(err), Err: fmt.Errorf("export: %w: does a receiver run there?", err)}
	}
	return nil
}

func (s *sink) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	return errors.Join(s.provider.Shutdown(ctx), s.exporter.Shutdown(ctx))
}

// permanent reports whether sending the same again is without hope, by the list in
// the OTLP specification ("Failures").
func (s *sink) permanent(err error) bool {
	switch s.answer.code.Load() {
	case 0: // gRPC, or no answer
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return false
	default:
		return true
	}
	switch status.Code(err) {
	case codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied,
		codes.Unauthenticated, codes.FailedPrecondition, codes.Unimplemented, codes.Internal:
		return true
	}
	return false
}

// An answer is a transport that notes the status of the last response, which the
// exporter's error has in words only.
type answer struct {
	code atomic.Int64 // stored by the goroutine of a request, loaded when that is over
}

func (a *answer) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		a.code.Store(int64(resp.StatusCode))
	}
	return resp, err
}

// keeper is a processor that keeps the records of one batch. OpenTelemetry's own
// batching would drop some silently when its queue is full.
type keeper struct{ records []sdklog.Record }

func (k *keeper) OnEmit(_ context.Context, r *sdklog.Record) error {
	k.records = append(k.records, r.Clone())
	return nil
}

func (*keeper) Enabled(context.Context, sdklog.EnabledParameters) bool { return true }
func (*keeper) Shutdown(context.Context) error                         { return nil }
func (*keeper) ForceFlush(context.Context) error                       { return nil }
