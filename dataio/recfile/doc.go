// Package recfile lets many worker processes append whole records to one file, through
// one writer: the node.
//
// In the node:
//
//	s, err := recfile.NewServer(map[string]recfile.Options{"results.csv": {Header: []byte("path,lines")}})
//	files, words, lease, err := s.Donate("count", rank, size) // a spawn.Resource
//	…
//	err = s.Close() // results.csv is complete, and appears under its name
//
// In a worker:
//
//	c, err := recfile.Attach(files, words, bell)
//	err = c.File("results.csv").Append([]byte("a.go,42"))
//
// What a caller can rely on:
//
//  1. A record is in the file once and in one piece, or not at all. No two are mixed.
//  2. The records of one worker come in the order in which they were appended.
//  3. A record whose Append returned is written, also when its worker is killed right
//     after it.
//  4. The header is there once, in each file.
//  5. The file appears under its name when it is complete, flushed to the disk. Until
//     then it is called NAME.partial.
//  6. What a killed node left is a valid beginning and at most one torn record, which
//     Options.Resume finds and cuts off.
//  7. attempted = written + refused(reason), for each file, exactly ([Server.Stats]).
//
// # How
//
//	worker                                     node
//	File.Append ── ring in shared memory ───── writer ── write(2) ── results.csv.partial
//	     (×N)      one for each worker           │ one goroutine for all rings
//
// A record is built in the ring ([File.Reserve]) or copied into it ([File.Append]). The
// node copies it once, into the buffer of the next write: a worker can change what is
// in its ring at any time, and must not change what was checked. All that came
// meanwhile is one write. The space in the ring is given back after the write, so what
// a ring still holds is not yet written, and [File.Flush] waits for that.
//
// A file that cannot be written keeps its workers waiting while it is tried again, with
// the file cut back to its last whole record, until Options.Patience is over. Then its
// records are counted as lost, OnError is told, and Close says so.
//
// Linux only. On other systems everything compiles, and returns an error that wraps
// [errors.ErrUnsupported].
package recfile
