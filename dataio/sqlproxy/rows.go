package sqlproxy

import (
	"context"
	"database/sql/driver"
	"io"
	"reflect"
	"slices"
)

// rows is the worker's end of a cursor: one page that is being read, and at most one
// that is on its way.
type rows struct {
	c    *conn
	ctx  context.Context // of the query
	id   uint32
	cols []column

	buf  []byte // the page; it is the rows' own
	d    decoder
	full bool // the page was a full one: the next is asked for before it is needed

	asked uint32 // the request for the page that is on its way
	got   *page  // arrived, and not begun

	ended  bool     // the result set ends with this page
	err    error    // what follows the last row, nil for io.EOF
	more   []column // of the next result set
	hasSet bool     // there is one
	closed bool     // in the node
}

// page is a page that arrived while another request waited for its answer.
type page struct {
	h header
	b []byte
}

var (
	_ driver.RowsNextResultSet              = (*rows)(nil)
	_ driver.RowsColumnTypeScanType         = (*rows)(nil)
	_ driver.RowsColumnTypeDatabaseTypeName = (*rows)(nil)
	_ driver.RowsColumnTypeLength           = (*rows)(nil)
	_ driver.RowsColumnTypeNullable         = (*rows)(nil)
	_ driver.RowsColumnTypePrecisionScale   = (*rows)(nil)
)

// setPage takes a page behind what is left of the one before.
func (r *rows) setPage(flags uint8, d decoder) {
	data := d.take(int(d.u32()))
	r.full = len(data) >= pageSize
	if left := len(r.d.b); left < len(r.buf) { // what is left is the end of buf
		r.buf = r.buf[:copy(r.buf, r.d.b)]
	}
	r.buf = append(r.buf, data...)
	r.d = decoder{b: r.buf}
	if flags&flagEnd != 0 {
		r.ended = true
		switch d.u8() {
		case 0:
			r.closed = true
		case 1:
			r.closed, r.err = true, d.remoteError(r.c.db)
		case 2:
			r.hasSet, r.more = true, d.columns()
		}
	}
	if d.bad {
		r.ended, r.closed, r.err = true, true, errMalformed
	}
}

// ask sends for the next page.
func (r *rows) ask() error {
	r.c.begin(opFetch, 0, r.id)
	return r.c.write()
}

// load makes the next page the current one, and asks for the one after it.
func (r *rows) load() error {
	const op = "read rows of"
	c := r.c
	var h header
	var d decoder
	if slices.Contains(c.ahead, r) {
		end := c.watch(r.ctx, r.asked)
		for slices.Contains(c.ahead, r) {
			if err := c.readAhead(op); err != nil {
				end()
				return err
			}
		}
		end()
	}
	if r.got != nil {
		h, d = r.got.h, decoder{b: r.got.b}
		if r.got = nil; h.op == opError {
			r.ended, r.closed = true, true
			return c.remote(r.ctx, d)
		}
	} else {
		if err := r.ask(); err != nil {
			return err
		}
		var err error
		if h, d, err = c.answer(r.ctx, op, c.seq); err != nil {
			r.ended, r.closed = true, true
			return err
		}
	}
	r.setPage(h.flags, d)
	if r.full && !r.ended {
		if err := r.ask(); err != nil {
			return err
		}
		r.asked = c.seq
		c.ahead = append(c.ahead, r)
	}
	return nil
}

// Next decodes the next row. Values of type []byte are valid until the next call.
func (r *rows) Next(dest []driver.Value) error {
	for {
		if len(r.d.b) == 0 {
			if !r.ended {
				if err := r.load(); err != nil {
					return err
				}
				continue
			}
			if r.err != nil {
				return r.err
			}
			return io.EOF
		}
		left := r.d.b
		for i := range dest {
			dest[i] = r.d.value(true)
		}
		if !r.d.bad {
			return nil
		}
		// The row is larger than a page: read on behind what is there of it.
		r.d = decoder{b: left}
		if r.ended {
			r.err = errMalformed
			return r.err
		}
		if err := r.load(); err != nil {
			return err
		}
	}
}

func (r *rows) Close() error {
	if r.closed || r.c.broken {
		return nil
	}
	r.closed, r.got = true, nil
	r.c.begin(opCloseRows, 0, r.id)
	return r.c.write()
}

func (r *rows) Columns() []string {
	s := make([]string, len(r.cols))
	for i := range s {
		s[i] = r.cols[i].name
	}
	return s
}

func (r *rows) HasNextResultSet() bool { return r.hasSet }

func (r *rows) NextResultSet() error {
	for !r.ended { // what was not read of this one
		r.d.b = nil
		if err := r.load(); err != nil {
			return err
		}
	}
	if !r.hasSet {
		if r.err != nil {
			return r.err
		}
		return io.EOF
	}
	r.cols, r.more = r.more, nil
	r.hasSet, r.ended, r.d.b = false, false, nil
	return nil
}

func (r *rows) ColumnTypeScanType(i int) reflect.Type { return r.cols[i].scan }

func (r *rows) ColumnTypeDatabaseTypeName(i int) string { return r.cols[i].dbType }

func (r *rows) ColumnTypeLength(i int) (length int64, ok bool) {
	c := &r.cols[i]
	return c.length, c.bits&colLength != 0
}

func (r *rows) ColumnTypeNullable(i int) (nullable, ok bool) {
	c := &r.cols[i]
	return c.bits&colNullable != 0, c.bits&colNullableKnown != 0
}

func (r *rows) ColumnTypePrecisionScale(i int) (precision, scale int64, ok bool) {
	c := &r.cols[i]
	return c.prec, c.scal, c.bits&colPrecision != 0
}
