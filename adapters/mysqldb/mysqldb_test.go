package mysqldb_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"testing"

	"github.com/go-sql-driver/mysql"

	_ "shmkit/adapters/mysqldb"
	"shmkit/dataio/sqlproxy"
)

// failing is a connector whose database answers everything with one error.
type failing struct{ err error }

func (f failing) Connect(context.Context) (driver.Conn, error) { return f, nil }
func (f failing) Driver() driver.Driver                        { return nil }
func (f failing) Prepare(string) (driver.Stmt, error)          { return nil, f.err }
func (f failing) Begin() (driver.Tx, error)                    { return nil, f.err }
func (f failing) Close() error                                 { return nil }

// A worker finds the driver's own error, however the driver has wrapped it.
func TestErrorsKeepTheirType(t *testing.T) {
	orig := &mysql.MySQLError{Number: 1062, SQLState: [5]byte{'2', '3', '0', '0', '0'}, Message: "Duplicate entry 'a' for key 'PRIMARY'"}
	for _, err := range []error{orig, fmt.Errorf("insert: %w", orig)} {
		db := sql.OpenDB(failing{err})
		s, newErr := sqlproxy.NewServer(map[string]*sql.DB{"main": db}, nil)
		if newErr != nil {
			t.Fatal(newErr)
		}
		files, words, lease, donateErr := s.Donate("w", 0, 1)
		if donateErr != nil {
			t.Fatal(donateErr)
		}
		c, attachErr := sqlproxy.Attach(files, words)
		if attachErr != nil {
			t.Fatal(attachErr)
		}
		_, got := c.DB("main").Exec("INSERT INTO t VALUES('a')")
		var found *mysql.MySQLError
		if got == nil || got.Error() != err.Error() || !errors.As(got, &found) || *found != *orig {
			t.Errorf("%v came as %v", err, got)
		}
		c.Close()
		lease.Close()
		s.Close()
		db.Close()
	}
}
