package sqlproxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A frame is what travels on a session's socket, in both directions:
//
//	+0  u32 length of the payload
//	+4  u8  op, u8 flags, u16 0
//	+8  u32 id of a result, or 0
//	+12 payload
//
// little-endian. The worker sends one request at a time and the node answers each
// with one frame, in order; opRelease and opCloseRows are not answered. So the node
// needs no more than one goroutine for a session, and never holds more than one
// request and one answer for it.
const headerSize = 12

// What a worker asks for.
const (
	opExec      = 1 + iota // query, arguments → opResult
	opQuery                // query, arguments → opRows
	opPrepare              // query → opOK
	opFetch                // id: the next page → opPage
	opCloseRows            // id; no answer
	opBegin                // u8 isolation, u8 read-only → opOK
	opCommit               // → opOK
	opRollback             // → opOK
	opPing                 // → opOK
	opRelease              // database/sql has put the connection back; no answer
)

// What the node answers.
const (
	opOK     = 64 + iota
	opResult // last id, rows affected, each a value or an error
	opRows   // columns, then a page
	opPage   // rows
	opError  // an error
)

// Flags.
const (
	flagPrepared = 1 << iota // opExec, opQuery: through a prepared statement
	flagLast                 // opExec, opQuery: database/sql puts the connection back right after it
	flagEnd                  // opRows, opPage: the result set ends here; see page
)

const (
	// pageSize is how many bytes of rows one answer carries, or the first row if
	// that is larger by itself: rows are a stream that is cut anywhere.
	pageSize = 32 << 10

	// maxRequest bounds what one request can make the node hold.
	maxRequest = 64 << 20

	// maxAnswer bounds an answer: a page and the description of the next result.
	maxAnswer = 64 << 20
)

var errMalformed = errors.New("malformed message")

type header struct {
	length uint32
	op     uint8
	flags  uint8
	id     uint32
}

// A frameWriter builds one frame in a buffer that is used again.
type frameWriter struct{ buf []byte }

// keep is the largest buffer that is held between two messages.
const keep = 128 << 10

func (f *frameWriter) begin(op, flags uint8, id uint32) {
	if cap(f.buf) > keep {
		f.buf = nil
	}
	f.buf = append(f.buf[:0], 0, 0, 0, 0, op, flags, 0, 0)
	f.buf = binary.LittleEndian.AppendUint32(f.buf, id)
}

func (f *frameWriter) send(w io.Writer) error {
	n := len(f.buf) - headerSize
	if n > maxAnswer {
		return fmt.Errorf("message of %d bytes: at most %d", n, maxAnswer)
	}
	binary.LittleEndian.PutUint32(f.buf, uint32(n))
	_, err := w.Write(f.buf)
	return err
}

// A frameReader takes frames off a stream. Its buffer grows with the bytes that
// have really come, not with what a header promises.
type frameReader struct {
	r   io.Reader
	buf []byte
	pos int // parsed up to here
	end int // filled up to here
	max uint32
}

// next returns the next frame. The payload is valid until the next call.
func (f *frameReader) next() (h header, payload []byte, err error) {
	if cap(f.buf) > keep && f.end-f.pos <= keep {
		f.buf = append(make([]byte, 0, keep), f.buf[f.pos:f.end]...)[:keep]
		f.pos, f.end = 0, f.end-f.pos
	}
	if err := f.fill(headerSize); err != nil {
		return h, nil, err
	}
	b := f.buf[f.pos:]
	h = header{binary.LittleEndian.Uint32(b), b[4], b[5], binary.LittleEndian.Uint32(b[8:])}
	if b[6] != 0 || b[7] != 0 || h.length > f.max {
		return h, nil, fmt.Errorf("%w: op %d of %d bytes", errMalformed, h.op, h.length)
	}
	f.pos += headerSize
	if err := f.fill(int(h.length)); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return h, nil, err
	}
	payload = f.buf[f.pos : f.pos+int(h.length) : f.pos+int(h.length)]
	f.pos += int(h.length)
	return h, payload, nil
}

// fill makes n bytes available at pos.
func (f *frameReader) fill(n int) error {
	for f.end-f.pos < n {
		if f.pos > 0 {
			f.end = copy(f.buf, f.buf[f.pos:f.end])
			f.pos = 0
		}
		if f.end == len(f.buf) {
			f.buf = append(f.buf, make([]byte, max(4<<10, len(f.buf)))...)
		}
		got, err := f.r.Read(f.buf[f.end:])
		f.end += got
		if err != nil && f.end-f.pos < n {
			if err == io.EOF && f.end > f.pos {
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// A decoder takes fields out of bytes that may be hostile. After the first field
// that is not there it only returns zeros, and ok is false.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.bad, d.b = true, nil
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) u8() uint8 {
	if v := d.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if v := d.take(4); v != nil {
		return binary.LittleEndian.Uint32(v)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if v := d.take(8); v != nil {
		return binary.LittleEndian.Uint64(v)
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

// bytes returns a field with its length in front. It aliases the input.
func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	return d.take(int(n))
}

func (d *decoder) string() string { return string(d.bytes()) }

func appendBytes[T string | []byte](b []byte, v T) []byte {
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

func appendUint64(b []byte, v uint64) []byte { return binary.LittleEndian.AppendUint64(b, v) }
