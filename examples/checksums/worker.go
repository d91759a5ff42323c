package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"log/slog"
	"os"

	"go.uber.org/fx"

	"shmkit/adapters/fxkit"
)

// worker is the function of the worker processes, and what it is built from.
var worker = fxkit.Func("checksums", checksums,
	fxkit.Config[Config](),
	fxkit.Proxy[Files]("queue"),
	fxkit.ProvideSelector[newHash](func(c *Config) string { return c.Hash }, fxkit.Cases{
		"sha256": func() newHash { return sha256.New },
		"crc32":  func() newHash { return func() hash.Hash { return crc32.NewIEEE() } },
	}),
	fx.Provide(func() buffer { return make(buffer, 1<<16) }),
)

type (
	newHash func() hash.Hash
	buffer  []byte
)

func checksums(ctx context.Context, log *slog.Logger, files Files, hashes *fxkit.Selector[newHash], buf buffer) error {
	n := 0
	for {
		path, err := files.Next(ctx)
		if errors.Is(err, errNoMore) {
			log.Debug("no more files", "summed", n)
			return nil
		}
		if err != nil {
			return err
		}
		makeHash, err := hashes.Get(ctx) // the one that is configured now
		if err != nil {
			return err
		}
		sum, err := sumOf(path, makeHash(), buf)
		if err != nil {
			return err
		}
		if err := files.Done(ctx, path, sum); err != nil {
			return err
		}
		n++
	}
}

func sumOf(path string, h hash.Hash, buf buffer) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	// Without ReadFrom and WriteTo, which would go around the buffer.
	if _, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{f}, buf); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}
