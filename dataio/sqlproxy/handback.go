package sqlproxy

import (
	"runtime"
	"sync"
)

// A connection that database/sql puts back right after one statement need not be held
// until the worker says so: with flagLast the node gives the real one back as soon as
// the statement is done. That saves a message, and the others who wait for it do not
// wait for this worker to be scheduled. Whether it is so, database/sql does not tell
// its drivers; the stack does: (*DB).exec and (*DB).query are there for a statement of
// a *sql.DB, and not for one of a *sql.Conn, *sql.Tx or *sql.Stmt.
//
// It is a hint. Should these functions have other names in another version of Go, then
// connections go back by opRelease, as they do for all other statements.
func lastStatement() bool {
	var pcs [12]uintptr
	for _, pc := range pcs[:runtime.Callers(4, pcs[:])] {
		last, known := callers.Load(pc)
		if !known {
			last = false
			if f := runtime.FuncForPC(pc - 1); f != nil {
				last = f.Name() == "database/sql.(*DB).exec" || f.Name() == "database/sql.(*DB).query"
			}
			callers.Store(pc, last)
		}
		if last.(bool) {
			return true
		}
	}
	return false
}

// callers remembers return addresses: there are as many as places in the program that
// call database/sql.
var callers sync.Map // uintptr → bool
