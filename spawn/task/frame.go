package task

import (
	"encoding/binary"
	"fmt"
	"os"
)

// A message is
//
//	+0  u8  kind
//	+1  u8  1: the payload is in the file that comes with the message
//	+2  u16 0
//	+4  u64 number of the task, little-endian
//	+12 payload: JSON, or the text of an error
//
// Numbers are the server's, and mean nothing to another worker.
const (
	header = 12

	kindTask   = 1 // to the worker
	kindCancel = 2 // to the worker
	kindReady  = 3 // to the server, once
	kindResult = 4
	kindError  = 5
	kindPanic  = 6 // payload: text, NUL, stack

	inline  = 32 << 10 // larger payloads go into a file
	maxText = 16 << 10 // of an error
)

// pack makes a message. The file is to be closed by the caller after sending.
func pack(kind byte, id uint64, payload []byte) (msg []byte, file *os.File, err error) {
	msg = make([]byte, header, header+min(len(payload), inline))
	msg[0] = kind
	binary.LittleEndian.PutUint64(msg[4:], id)
	if len(payload) <= inline {
		return append(msg, payload...), nil, nil
	}
	msg[1] = 1
	file, err = sealedFile(payload)
	return msg, file, err
}

// unpack takes a message apart, and closes its files. max bounds the payload.
func unpack(msg []byte, files []*os.File, max int) (kind byte, id uint64, payload []byte, err error) {
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	if len(msg) < header || msg[1] > 1 || len(files) != int(msg[1]) {
		return 0, 0, nil, fmt.Errorf("%w of %d bytes and %d files", errMalformed, len(msg), len(files))
	}
	kind, id, payload = msg[0], binary.LittleEndian.Uint64(msg[4:]), msg[header:]
	if msg[1] == 1 {
		payload, err = readSealed(files[0], max)
	} else if len(payload) > max {
		err = &SizeError{"payload", len(payload), max}
	}
	return kind, id, payload, err
}
