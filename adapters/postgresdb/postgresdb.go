// Package postgresdb opens PostgreSQL databases for records and results, through
// the pgx driver.
//
//	db, err := postgresdb.Open("postgres://user@host/db")
//	if err != nil {
//		return err // postgresdb: open host:5432/db as user: connection refused: is the server running …
//	}
//	defer db.Close()
//	sink, err := logring.SQL(db, "logs")
package postgresdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// ConnectTimeout bounds each attempt to connect, unless the DSN has connect_timeout.
const ConnectTimeout = 10 * time.Second

// Error names the database that could not be opened, without the password.
type Error struct {
	Database string
	Err      error
	Advice   string // what to do
}

func (e *Error) Unwrap() error { return e.Err }
func (e *Error) Error() string {
	return fmt.Sprintf("postgresdb: open %s: %s: %s", e.Database, strings.TrimSpace(e.Err.Error()), e.Advice)
}

// Open opens the database that a URL ("postgres://user@host:5432/db?sslmode=…") or a
// list of settings ("host=/run/postgresql dbname=db") names; what is left out comes
// from the PG… variables of the environment and ~/.pgpass, as with every PostgreSQL
// client. It connects once, so that a wrong name is an error at once. The caller
// closes the handle.
func Open(dsn string) (*sql.DB, error) {
	c, err := pgx.ParseConfig(dsn)
	if err != nil {
		var parse *pgconn.ParseConfigError
		if errors.As(err, &parse) && parse.Unwrap() != nil {
			err = parse.Unwrap() // its own text has the DSN in it
		}
		return nil, &Error{"database", err, "write postgres://USER@HOST/DATABASE"}
	}
	if c.ConnectTimeout == 0 || c.ConnectTimeout > ConnectTimeout {
		c.ConnectTimeout = ConnectTimeout
	}
	db := stdlib.OpenDB(*c)
	ctx, cancel := context.WithTimeout(context.Background(), 2*ConnectTimeout)
	defer cancel()
	if err := db.PingContext(ctx); err != nil {
		db.Close()
		return nil, &Error{describe(c), cause(err), advice(err)}
	}
	return db, nil
}

func describe(c *pgx.ConnConfig) string {
	return fmt.Sprintf("%s/%s as %s", net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))), c.Database, c.User)
}

// cause leaves out what pgx says of the connection: describe does.
func cause(err error) error {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return server
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op
	}
	return err
}

func advice(err error) string {
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return "is the server running, and is that its address?"
	}
	switch server.Code {
	case "3D000":
		return "create the database first"
	case "28P01", "28000":
		return "check user and password, and what the server's pg_hba.conf allows"
	}
	return "see the server's log"
}
