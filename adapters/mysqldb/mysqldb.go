// Package mysqldb lets errors of MySQL and MariaDB keep their type on the way from the
// node to its workers: import it for its side effect in a program that serves such a
// database through shmkit/dataio/sqlproxy.
//
//	import _ "shmkit/adapters/mysqldb"
//
// Then errors.As finds *mysql.MySQLError in a worker, with its number and SQLSTATE.
package mysqldb

import (
	"encoding/binary"
	"errors"

	"github.com/go-sql-driver/mysql"

	"shmkit/dataio/sqlproxy"
)

func init() { sqlproxy.RegisterCodec("mysql", codec{}) }

type codec struct{}

func (codec) Encode(err error) ([]byte, bool) {
	var e *mysql.MySQLError
	if !errors.As(err, &e) {
		return nil, false
	}
	b := binary.LittleEndian.AppendUint16(nil, e.Number)
	return append(append(b, e.SQLState[:]...), e.Message...), true
}

func (codec) Decode(data []byte) (error, bool) {
	e := &mysql.MySQLError{}
	fixed := 2 + len(e.SQLState)
	if len(data) < fixed {
		return nil, false
	}
	e.Number = binary.LittleEndian.Uint16(data)
	copy(e.SQLState[:], data[2:])
	e.Message = string(data[fixed:])
	return e, true
}
