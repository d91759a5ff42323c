package recfile

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"iter"
)

// Format says how records are kept apart in the file.
type Format int

const (
	// Lines ends each record with a newline; records have none inside. A torn record
	// is the one without a newline at the end of the file. There is no checksum:
	// damage inside the file is not seen.
	Lines Format = iota

	// Frames puts a u32 length and a u32 checksum, little-endian, in front of each
	// record, which may hold any bytes. The checksum is the CRC-32C of the length's
	// four bytes and the payload: eight zeros, as a power failure may leave, are no
	// record. [Records] reads them.
	Frames
)

const frameHeader = 8

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// append adds a copy of a record to buf, or refuses it if it could not be told from
// its neighbours.
func (f Format) append(buf, rec []byte) ([]byte, error) {
	start := len(buf)
	if f == Frames {
		buf = binary.LittleEndian.AppendUint32(buf, uint32(len(rec)))
		buf = append(buf, 0, 0, 0, 0)
		buf = append(buf, rec...)
		frame := buf[start:]
		sum := crc32.Checksum(frame[:4], castagnoli)
		binary.LittleEndian.PutUint32(frame[4:], crc32.Update(sum, castagnoli, frame[frameHeader:]))
		return buf, nil
	}
	buf = append(buf, rec...)
	// The copy is checked: who made the record may still change the original.
	if bytes.IndexByte(buf[start:], '\n') >= 0 {
		return buf[:start], ErrNewline
	}
	return append(buf, '\n'), nil
}

// Records reads the records of a file of [Frames], the header first if there is one. A
// record is valid until the next one is read. The last error, if any, is [ErrTorn] or
// that of reading.
func Records(r io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		var rec bytes.Buffer
		in := bufio.NewReaderSize(r, readAhead)
		for {
			rec.Reset() // it grows with what is there, not with what a length says
			if _, err := readFrame(in, &rec); err == io.EOF {
				return
			} else if err != nil {
				yield(nil, err)
				return
			}
			if !yield(rec.Bytes(), nil) {
				return
			}
		}
	}
}

const readAhead = 1 << 20

// readFrame reads one frame, checks it, and copies its payload to w. The error is
// io.EOF where there is none, and ErrTorn where there is no whole one.
func readFrame(in *bufio.Reader, w io.Writer) (payload int64, err error) {
	torn := func(err error) error {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return ErrTorn
		}
		return err
	}
	var head [frameHeader]byte
	if _, err := io.ReadFull(in, head[:]); err == io.EOF {
		return 0, err
	} else if err != nil {
		return 0, torn(err)
	}
	n := int64(binary.LittleEndian.Uint32(head[:]))
	sum := crc32.Checksum(head[:4], castagnoli)
	for left := n; left > 0; {
		b, err := in.Peek(int(min(left, int64(in.Size()))))
		if err != nil {
			return 0, torn(err)
		}
		sum = crc32.Update(sum, castagnoli, b)
		if _, err := w.Write(b); err != nil {
			return 0, err
		}
		in.Discard(len(b))
		left -= int64(len(b))
	}
	if sum != binary.LittleEndian.Uint32(head[4:]) {
		return 0, ErrTorn
	}
	return n, nil
}

// validPrefix returns the length of the whole records that r begins with.
func (f Format) validPrefix(r io.Reader) (valid int64, err error) {
	in := bufio.NewReaderSize(r, readAhead)
	if f == Frames {
		for {
			n, err := readFrame(in, io.Discard)
			switch err {
			case nil:
				valid += frameHeader + n
			case io.EOF, ErrTorn: // behind damage nothing can be told apart
				return valid, nil
			default:
				return valid, err
			}
		}
	}
	var at int64
	for {
		line, err := in.ReadSlice('\n')
		at += int64(len(line))
		switch {
		case err == nil:
			valid = at
		case err == io.EOF:
			return valid, nil
		case err != bufio.ErrBufferFull:
			return valid, err
		}
	}
}
