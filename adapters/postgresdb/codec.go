package postgresdb

import (
	"encoding/json"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"

	"shmkit/dataio/sqlproxy"
)

// Importing this package lets *pgconn.PgError travel from the node to its workers, so
// that errors.As finds it there, with all its fields.
func init() { sqlproxy.RegisterCodec("postgres", codec{}) }

type codec struct{}

func (codec) Encode(err error) ([]byte, bool) {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return nil, false
	}
	b, err := json.Marshal(e)
	return b, err == nil
}

func (codec) Decode(data []byte) (error, bool) {
	e := new(pgconn.PgError)
	return e, json.Unmarshal(data, e) == nil
}
