//go:build linux

package postgresdb_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"shmkit/internal/pgtest"
	"shmkit/logring"
)

// A cutter is a connection that breaks at a commit, before the server has it or
// after the server has done it.
type cutter struct {
	net.Conn
	done *atomic.Bool // whether the server gets it
	cut  *atomic.Int64
}

func (c cutter) Write(b []byte) (int, error) {
	if !bytes.Contains(b, []byte("commit\x00")) || c.cut.Add(-1) < 0 {
		return c.Conn.Write(b)
	}
	defer c.Conn.Close()
	if c.done.Load() {
		c.Conn.Write(b)
		c.Conn.Read(make([]byte, 100)) // the answer that the client does not get
	}
	return len(b), errors.New("connection reset")
}

// A commit whose answer is lost, whether it took place or not: the batch is in the
// table once, nothing is counted as dropped. Shown to fail by not believing the
// server that it took place.
func TestUnansweredCommit(t *testing.T) {
	s := pgtest.Start(t)
	for _, done := range []bool{false, true} {
		cfg, err := pgx.ParseConfig(s.DSN())
		if err != nil {
			t.Fatal(err)
		}
		var reached atomic.Bool
		var cut atomic.Int64
		reached.Store(done)
		cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			return cutter{c, &reached, &cut}, err
		}
		db := stdlib.OpenDB(*cfg)
		defer db.Close()
		if _, err := db.Exec(`DROP TABLE IF EXISTS logs`); err != nil {
			t.Fatal(err)
		}
		c, l := collect(t, db, logring.SinkOptions{})
		for i := range 3 {
			cut.Store(2) // and once more when it is offered again
			if i == 2 {
				cut.Store(0)
			}
			l.Info("x", "i", i)
			c.Flush(t.Context())
		}
		var rows, different int
		if err := db.QueryRow(`SELECT count(*), count(DISTINCT attrs) FROM logs WHERE msg = 'x'`).Scan(&rows, &different); err != nil {
			t.Fatal(err)
		}
		st := c.Stats().Sinks[0]
		if rows != 3 || different != 3 || len(st.Dropped) != 0 || st.Errors < 2 {
			t.Errorf("reached %v: %d rows, %d different, %+v", done, rows, different, st)
		}
	}
}
