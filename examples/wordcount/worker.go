package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"shmkit"
	"shmkit/ring"
	"shmkit/shm"
)

// Config is what the workers share and the node may change while they run.
type Config struct {
	Level string `json:"level"` // of the workers' loggers
	Every int    `json:"every"` // files between two info records of a worker
}

var funcCount = shmkit.Func("count", countShare)

// countShare is a worker: it counts every Size-th file from its rank on.
func countShare(ctx context.Context, w *shmkit.Worker) error {
	cfg := shmkit.Config[Config](w)
	files, err := inputs(w)
	if err != nil {
		return err
	}
	out, closeOut, err := outputs(w)
	if err != nil {
		return err
	}
	defer closeOut()

	table := rows{db: w.DB("main")}
	var buf, enc []byte
	done := 0
	for i := w.Rank; i < len(files); i += w.Size {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var c Counts
		buf, err = readFile(files[i], buf)
		if err == nil {
			c = countBytes(buf)
			if err := table.add(ctx, files[i], c, w.Rank); err != nil {
				return err
			}
			w.Log.LogAttrs(ctx, slog.LevelDebug, "counted", slog.String("path", files[i]),
				slog.Uint64("lines", c.Lines), slog.Uint64("words", c.Words), slog.Uint64("bytes", c.Bytes))
		} else {
			w.Log.LogAttrs(ctx, slog.LevelError, "not counted", slog.String("path", files[i]), slog.Any("err", err))
		}
		enc = encodeResult(enc, c, err)
		if err := out.Write(uint32(i), enc); err != nil {
			return fmt.Errorf("result of %s: %w", files[i], err)
		}
		if done++; done%max(1, cfg.Load().Every) == 0 {
			w.Log.LogAttrs(ctx, slog.LevelInfo, "progress", slog.Int("files", done))
		}
	}
	return table.flush(ctx)
}

func inputs(w *shmkit.Worker) ([]string, error) {
	fs, _, ok := w.Resource("files")
	if !ok || len(fs) != 1 {
		return nil, errors.New("the node donated no list of files")
	}
	return openFileList(fs[0])
}

// outputs attaches to this worker's result ring. The node sleeps on its side of
// the control socket, so that is where the doorbell goes; a full ring is waited
// for in shared memory.
func outputs(w *shmkit.Worker) (*ring.Producer, func(), error) {
	fs, _, ok := w.Resource("results")
	if !ok || len(fs) != 1 {
		return nil, nil, errors.New("the node donated no ring for results")
	}
	name := fmt.Sprintf("%s.results.%d", w.Run, w.Rank)
	seg, err := shm.Attach(fs[0], shm.Expect{Name: name, Kind: kindResults, Access: shm.ReadWrite})
	if err != nil {
		return nil, nil, err
	}
	p, err := ring.NewProducer(seg.Region(), ring.ProducerOptions{Name: name, Waiter: doorbell{w}})
	if err != nil {
		seg.Close()
		return nil, nil, err
	}
	return p, func() { p.Close(); seg.Close() }, nil
}

// doorbell wakes the node by a message and waits for it by futex.
type doorbell struct{ w *shmkit.Worker }

func (d doorbell) Wake(*uint32) error { return d.w.Send("results", nil) }

func (d doorbell) Wait(ctx context.Context, word *uint32, old uint32) error {
	return shm.Wait(ctx, word, old)
}

// readFile reads a whole file into buf, which grows as needed.
func readFile(path string, buf []byte) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return buf[:0], err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return buf[:0], err
	}
	if !fi.Mode().IsRegular() {
		return buf[:0], fmt.Errorf("%s is no regular file any more", path)
	}
	b := bytes.NewBuffer(buf[:0])
	b.Grow(int(fi.Size()) + bytes.MinRead) // so that the end is seen without growing again
	_, err = b.ReadFrom(f)
	return b.Bytes(), err
}
