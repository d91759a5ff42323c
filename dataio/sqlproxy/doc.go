// Package sqlproxy gives worker processes plain *sql.DB handles whose real
// connections are all in one process, the node, so that many processes use a database
// without being able to use it wrongly.
//
// In the node:
//
//	s, err := sqlproxy.NewServer(map[string]*sql.DB{"main": db}, nil)
//	files, words, lease, err := s.Donate("count", rank, size) // a spawn.Resource
//
// In a worker:
//
//	c, err := sqlproxy.Attach(files, words)
//	db := c.DB("main") // *sql.DB: every library over database/sql works unchanged
//
// What a caller can rely on:
//
//  1. All workers together never have more connections than the node's *sql.DB allows.
//     They wait in turn, and an error of one that waited too long names the holder.
//  2. A worker that dies, at any instruction, leaves nothing: its statements are
//     cancelled, its transactions rolled back, its connections closed.
//  3. A request is executed at most once. If the node dies after it was sent, the error
//     is [ErrOutcomeUnknown], never driver.ErrBadConn, which would make database/sql
//     send it again.
//  4. The end of a context in a worker ends the statement in the database.
//  5. Errors keep their text, and their identity: errors.Is finds the sentinels of
//     database/sql and context, errors.As the driver's own type where a [Codec] for it
//     is registered, and otherwise a [RemoteError] with the SQLSTATE or code.
//  6. Whatever a worker sends, the node does not panic and holds no more than one
//     request and one page of rows for each of its connections.
//
// # How
//
//	worker                                   node
//	*sql.DB ─ conn ──── session socket ───── session ─ lease ─ *sql.Conn ─ driver
//	        ─ conn ──── session socket ───── session ─ lease ┐
//	Client ──────────── line ─────────────── workerLease     └ waits at the gate
//
// Each driver.Conn of a worker has a socket of its own, so that no query waits behind
// another's rows, and the kernel keeps what is on its way within bounds. A request is
// one message and its answer one more: the result of an Exec, or the columns and the
// first page of rows of a query. Further pages are sent when they are asked for, one
// ahead of the reader. The line carries what must not wait: new sessions,
// cancellations, and the news that the other side is dead.
//
// A session has a real connection from its first statement until the worker's
// database/sql puts the driver.Conn back into its pool, which it tells by IsValid. So
// transactions, temporary tables and settings of a *sql.Conn work as they do
// directly, and an idle worker holds nothing. Prepared statements are kept as text and
// prepared again on whatever connection executes them.
//
// The node uses the *sql.DB like any program: what a driver can do, retries, resets and
// lifetimes of connections are database/sql's own there.
//
// Sockets, not rings in shared memory: a round trip over a socket is 9 µs here and over
// a ring 4 µs, but the node would need a thread parked for each ring, or to look at them
// in turn, whereas it waits for any number of sockets in the netpoller. Benchmarks:
// BenchmarkLatency in shmkit/adapters/sqlitedb, BenchmarkUnixSocket and
// BenchmarkParked in shmkit/ring.
//
// # Not carried
//
// sql.Out arguments, cursors as column values, and arguments of struct types without
// a driver.Valuer other than time.Time are refused. A column type that is none of
// the usual ones is told as any.
//
// Linux only. On other systems everything compiles, and returns an error that wraps
// [errors.ErrUnsupported].
package sqlproxy
