package logring

import (
	"context"
	"database/sql"
	"fmt"
	"hash/maphash"
)

// A connection that breaks while a commit is under way leaves it open whether the
// transaction took place. PostgreSQL remembers, and can be asked by its number.

// An unsure is such a transaction.
type unsure struct {
	id    int64
	batch uint64 // fingerprint of what was in it
}

// hasTxidStatus finds out whether the database can be asked.
func (s *sqlSink) hasTxidStatus() bool {
	var status sql.NullString
	err := s.db.QueryRow(`SELECT txid_status(txid_current())`).Scan(&status)
	return err == nil && status.String == "in progress"
}

// settle finds out what came of the last commit, if that is open and the same
// batch is offered again: it is done if it was committed. When it is
// another batch, the collector has given up the one before.
func (s *sqlSink) settle(ctx context.Context, batch []Record) (done bool, err error) {
	u := s.unsure
	if u == nil || fingerprint(batch) != u.batch {
		s.unsure = nil
		return false, nil
	}
	var status sql.NullString
	if err := s.db.QueryRowContext(ctx, `SELECT txid_status($1)`, u.id).Scan(&status); err != nil {
		return false, s.failed(err, true)
	}
	switch status.String {
	case "committed":
		s.unsure = nil
		return true, nil
	case "aborted":
		s.unsure = nil
		return false, nil
	case "in progress": // its session has not noticed yet
		return false, s.failed(fmt.Errorf("transaction %d is not over", u.id), true)
	}
	s.unsure = nil
	return false, s.failed(fmt.Errorf("transaction %d is forgotten", u.id), false)
}

var fingerprintSeed = maphash.MakeSeed()

// fingerprint tells batches apart.
func fingerprint(batch []Record) uint64 {
	var h maphash.Hash
	h.SetSeed(fingerprintSeed)
	for i := range batch {
		r := &batch[i]
		maphash.WriteComparable(&h, r.Time.UnixNano())
		h.WriteString(r.Message)
		h.Write(r.attrs)
	}
	return h.Sum64()
}
