package sqlproxy

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"reflect"
	"time"
)

// A cursor is a result in the node that a worker has not read to its end. Only the
// session's goroutine uses it.
type cursor struct {
	db    *database
	rows  *sql.Rows
	ctx   context.Context         // the statement's
	stop  context.CancelCauseFunc // ends the statement
	done  context.CancelFunc      // gives back the timer of Policy.MaxTime
	lease *lease

	dest  []any
	rest  []byte // encoded, and not sent yet
	ended bool   // no more rows in this result set: the end follows rest
	count int64
	bytes int64

	buf []byte // what Scan appends to
}

// Scan takes a column's value from database/sql as the driver gave it, without a
// copy, straight into the page.
func (c *cursor) Scan(v any) error {
	b, ok := appendValue(c.buf, v)
	if !ok {
		return fmt.Errorf("a value of type %T cannot be sent to another process: convert it in the statement", v)
	}
	c.buf = b
	return nil
}

// slowRow is how old a page may become before it is sent as it is.
const slowRow = 2 * time.Millisecond

// page appends the next rows to b, as
//
//	u32 length of what follows, values of row after row
//
// and, when the result set ends in this page (end):
//
//	u8 0              no more results
//	u8 1, error
//	u8 2, columns     of the next result set
//
// The cursor is closed when end is true and there is no next result set.
func (c *cursor) page(b []byte) (_ []byte, end, closed bool) {
	start := len(b) + 4
	b = append(b, 0, 0, 0, 0)
	var err error
	if len(c.rest) > 0 {
		n := min(len(c.rest), pageSize)
		b = append(b, c.rest[:n]...)
		if c.rest = c.rest[n:]; len(c.rest) == 0 {
			c.rest = nil
		}
	}
	if c.rest == nil && !c.ended && len(b)-start < pageSize {
		c.buf = b
		err = c.fill(start)
		b, c.buf = c.buf, nil
		if n := len(b) - start; n > 2*pageSize {
			c.rest = append([]byte(nil), b[start+pageSize:]...)
			b = b[:start+pageSize]
		}
	}
	binary.LittleEndian.PutUint32(b[start-4:], uint32(len(b)-start))
	if err == nil && (!c.ended || c.rest != nil) {
		return b, false, false
	}
	if err == nil && c.rows.NextResultSet() {
		c.ended, c.dest = false, nil
		return c.appendColumns(append(b, 2)), true, false
	}
	if err == nil {
		err = c.rows.Err()
	}
	if closeErr := c.close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return appendError(append(b, 1), c.db.explain(c.ctx, err), false), true, true
	}
	return append(b, 0), true, true
}

// fill reads rows until the page is full or has waited long enough.
func (c *cursor) fill(start int) error {
	if c.dest == nil {
		cols, err := c.rows.Columns()
		if err != nil {
			return err
		}
		c.dest = make([]any, len(cols))
		for i := range c.dest {
			c.dest[i] = c
		}
	}
	p := &c.db.policy
	began := time.Now()
	for n := 1; ; n++ {
		if !c.rows.Next() {
			c.ended = true
			return c.rows.Err()
		}
		before := len(c.buf)
		if p.MaxRows > 0 && c.count >= p.MaxRows {
			return &Error{c.db.name, "read rows of", fmt.Errorf("%w: more than %d rows", ErrLimit, p.MaxRows), "ask for fewer, or raise Policy.MaxRows"}
		}
		if err := c.rows.Scan(c.dest...); err != nil {
			return err
		}
		c.count++
		if c.bytes += int64(len(c.buf) - before); c.bytes > p.MaxBytes {
			c.buf = c.buf[:before]
			return &Error{c.db.name, "read rows of", fmt.Errorf("%w: more than %d bytes", ErrLimit, p.MaxBytes), "ask for less, or raise Policy.MaxBytes"}
		}
		if len(c.buf)-start >= pageSize {
			return nil
		}
		if (n&(n-1) == 0 || n%64 == 0) && time.Since(began) > slowRow {
			return nil
		}
	}
}

func (c *cursor) close() error {
	err := c.rows.Close()
	c.stop(nil)
	c.done()
	return err
}

// Bits of a column's description.
const (
	colLength = 1 << iota
	colPrecision
	colNullableKnown
	colNullable
)

// appendColumns describes the current result set: for each column its name, the
// database's type, the code of the type to scan into, and what else is known.
func (c *cursor) appendColumns(b []byte) []byte {
	names, err := c.rows.Columns()
	if err != nil {
		return binary.AppendUvarint(b, 0)
	}
	types := c.columnTypes()
	b = binary.AppendUvarint(b, uint64(len(names)))
	for i, name := range names {
		b = appendBytes(b, name)
		if i >= len(types) {
			b = append(b, 0, 0, 0, 0, 0, 0)
			continue
		}
		t := types[i]
		b = appendBytes(b, t.DatabaseTypeName())
		b = append(b, scanCode(t.ScanType()))
		var bits byte
		length, hasLength := t.Length()
		prec, scale, hasPrec := t.DecimalSize()
		null, nullKnown := t.Nullable()
		for i, set := range [...]bool{hasLength, hasPrec, nullKnown, null} {
			if set {
				bits |= 1 << i
			}
		}
		b = append(b, bits)
		b = binary.AppendVarint(b, length)
		b = binary.AppendVarint(binary.AppendVarint(b, prec), scale)
	}
	return b
}

// columnTypes asks the driver, which may not be ready for the question: its panic is not
// that of a worker who did not ask.
func (c *cursor) columnTypes() (types []*sql.ColumnType) {
	defer func() {
		if recover() != nil {
			types = nil
		}
	}()
	types, _ = c.rows.ColumnTypes()
	return types
}

// column is the worker's copy of a description.
type column struct {
	name, dbType       string
	scan               reflect.Type
	bits               byte
	length, prec, scal int64
}

func (d *decoder) columns() []column {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	cols := make([]column, n)
	for i := range cols {
		if d.bad {
			return nil
		}
		c := &cols[i]
		c.name, c.dbType = d.string(), d.string()
		c.scan = scanType(d.u8())
		c.bits = d.u8()
		c.length, c.prec, c.scal = d.varint(), d.varint(), d.varint()
	}
	return cols
}

// scanTypes are the types that drivers name for a column. The index travels.
var scanTypes = []reflect.Type{
	reflect.TypeFor[any](),
	reflect.TypeFor[bool](), reflect.TypeFor[string](), reflect.TypeFor[[]byte](), reflect.TypeFor[time.Time](),
	reflect.TypeFor[int](), reflect.TypeFor[int8](), reflect.TypeFor[int16](), reflect.TypeFor[int32](), reflect.TypeFor[int64](),
	reflect.TypeFor[uint](), reflect.TypeFor[uint8](), reflect.TypeFor[uint16](), reflect.TypeFor[uint32](), reflect.TypeFor[uint64](),
	reflect.TypeFor[float32](), reflect.TypeFor[float64](), reflect.TypeFor[sql.RawBytes](),
	reflect.TypeFor[sql.NullBool](), reflect.TypeFor[sql.NullByte](), reflect.TypeFor[sql.NullFloat64](), reflect.TypeFor[sql.NullInt16](),
	reflect.TypeFor[sql.NullInt32](), reflect.TypeFor[sql.NullInt64](), reflect.TypeFor[sql.NullString](), reflect.TypeFor[sql.NullTime](),
}

var scanCodes = func() map[reflect.Type]byte {
	m := map[reflect.Type]byte{}
	for i, t := range scanTypes {
		m[t] = byte(i)
	}
	return m
}()

func scanCode(t reflect.Type) byte { return scanCodes[t] } // 0, any, for a type that is not in the list

func scanType(code byte) reflect.Type {
	if int(code) < len(scanTypes) {
		return scanTypes[code]
	}
	return scanTypes[0]
}
