package main

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// rows writes a worker's rows of the table files, many with one statement: each is a
// round trip to the node, which has the database.
type rows struct {
	db   *sql.DB
	args []any
}

const (
	rowsAtOnce = 200
	columns    = 5
)

func (r *rows) add(ctx context.Context, path string, c Counts, rank int) error {
	r.args = append(r.args, path, int64(c.Lines), int64(c.Words), int64(c.Bytes), rank)
	if len(r.args) < rowsAtOnce*columns {
		return nil
	}
	return r.flush(ctx)
}

func (r *rows) flush(ctx context.Context) error {
	n := len(r.args) / columns
	if n == 0 {
		return nil
	}
	values := strings.Repeat(", (?, ?, ?, ?, ?)", n)[2:]
	if _, err := r.db.ExecContext(ctx, "INSERT INTO files(path, lines, words, bytes, rank) VALUES "+values, r.args...); err != nil {
		return fmt.Errorf("%d rows from %v on: %w", n, r.args[0], err)
	}
	r.args = r.args[:0]
	return nil
}
