package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"shmkit"
	"shmkit/logring"
	"shmkit/spawn"
)

// funcPipe writes records into a pipe that it inherited, each with a write of its own.
var funcPipe = shmkit.Func("bench-pipe", func(ctx context.Context, w *shmkit.Worker) error {
	job := shmkit.Config[ringJob](w).Load()
	files, _, ok := w.Resource("pipe")
	if !ok {
		return fmt.Errorf("no pipe")
	}
	record := template(job.Bytes)
	for i := range job.N {
		binary.LittleEndian.PutUint64(record, uint64(i))
		if _, err := files[0].Write(record); err != nil {
			return err
		}
	}
	return files[0].Close()
})

// pipeThroughput returns records per second from a worker to this process.
func pipeThroughput(b *testing.B, n, size int) float64 {
	r, w, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	node, err := shmkit.Start(context.Background(), shmkit.Options{
		Dir: b.TempDir(), Config: ringJob{Level: "info", N: n, Bytes: size},
		Sinks: []logring.Sink{nullSink{}}, Resources: map[string]spawn.Resource{"pipe": socketResource{w}},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer node.Close()
	group, err := node.Start(shmkit.Spec{Func: funcPipe, Workers: 1})
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, max(64<<10, size))
	var sum, got uint64
	have := 0
	var start time.Time
	for got < uint64(n) {
		k, err := io.ReadAtLeast(r, buf[have:], max(1, size-have))
		if err != nil {
			b.Fatal(err)
		}
		if start.IsZero() {
			start = time.Now() // as for the ring: the first records start the clock
		}
		have += k
		rest := buf[:have]
		for ; len(rest) >= size; rest = rest[size:] {
			number, wrong := look(rest[:size])
			if wrong {
				b.Fatalf("record %d holds something else", number)
			}
			sum += number
			got++
		}
		have = copy(buf, rest)
	}
	rate := float64(n) / time.Since(start).Seconds()
	if sum != uint64(n)*uint64(n-1)/2 {
		b.Fatalf("the records add up to %d", sum)
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	return rate
}
