package sqlproxy

import "os"

// A RawWorker speaks to the node as no honest worker does.
type RawWorker struct{ line *line }

// AttachRaw takes ownership of the line.
func AttachRaw(f *os.File) (*RawWorker, error) {
	l, err := lineOver(f)
	return &RawWorker{l}, err
}

// Open returns the socket of a new session.
func (w *RawWorker) Open() (*os.File, error) {
	if err := w.line.send(append(appendLine(lineOpen, 1, 0)[:5], 0), nil); err != nil {
		return nil, err
	}
	_, f, err := w.line.receive()
	return f, err
}

// Line sends any bytes on the line.
func (w *RawWorker) Line(b []byte) error { return w.line.send(b, nil) }

// Gone waits until the node has hung up.
func (w *RawWorker) Gone() {
	for {
		if _, f, err := w.line.receive(); err != nil {
			return
		} else if f != nil {
			f.Close()
		}
	}
}

func (w *RawWorker) Close() error { return w.line.Close() }

// Requests are well-formed requests, one of each kind and some of their order.
func Requests() [][]byte {
	var all [][]byte
	add := func(op, flags uint8, id uint32, payload []byte) {
		var f frameWriter
		f.begin(op, flags, id)
		f.buf = append(f.buf, payload...)
		n := len(f.buf) - headerSize
		f.buf[0], f.buf[1], f.buf[2] = byte(n), byte(n>>8), byte(n>>16)
		all = append(all, f.buf)
	}
	statement := func(q string, args ...any) []byte {
		b, err := appendArgs(appendBytes(nil, q), args)
		if err != nil {
			panic(err)
		}
		return b
	}
	add(opBegin, 0, 0, []byte{0, 0})
	add(opExec, 0, 0, statement("note x", int64(1), "two", []byte("three"), 4.5, nil, true, []string{"a", "b"}))
	add(opQuery, flagLast, 0, statement("rows 3000", int64(1)))
	add(opQuery, flagPrepared, 0, statement("echo ?", "x"))
	add(opFetch, 0, 2, nil)
	add(opFetch, 0, 1, nil)
	add(opCloseRows, 0, 1, nil)
	add(opPrepare, 0, 0, appendBytes(nil, "echo ?"))
	add(opCommit, 0, 0, nil)
	add(opRollback, 0, 0, nil)
	add(opPing, 0, 0, nil)
	add(opExec, flagLast, 0, statement("panic"))
	add(opQuery, 0, 0, statement("sets"))
	add(opRelease, 0, 0, nil)
	return all
}
