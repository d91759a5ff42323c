package spawn

import (
	"encoding/binary"
	"fmt"
)

// A message on the control socket is one SOCK_SEQPACKET record:
//
//	+0 u16 address   index of a resource in SHMKIT_FD, or addrSpawn
//	+2 u16 op        0 for resources; one of the op… below for addrSpawn
//	+4 payload       at most MaxMessage bytes
//
// little-endian, with at most MaxMessageFiles descriptors beside it (SCM_RIGHTS).
// The sender is known by the socket; nothing in the message says it.
const (
	frameHeader = 4

	addrSpawn = 0xffff // this package's own
	opFail    = 1      // payload: text for Exit.Message
	opReady   = 2      // no payload
	opLeave   = 3      // a guest goes; the server hangs up when it has taken all that the guest left
	opStop    = 4      // the server asks a guest to leave
	opExiting = 5      // the server's process ends right after a guest has left
	opFiles   = 6      // to a spare: no payload, files
	opAssign  = 7      // to a spare: its rank

	maxFail = 4 << 10
)

func putFrameHeader(addr, op uint16) (h [frameHeader]byte) {
	binary.LittleEndian.PutUint16(h[0:], addr)
	binary.LittleEndian.PutUint16(h[2:], op)
	return h
}

// parseFrame takes a record apart. resources is the number of valid addresses.
func parseFrame(b []byte, resources int) (addr, op uint16, payload []byte, err error) {
	if len(b) < frameHeader || len(b) > frameHeader+MaxMessage {
		return 0, 0, nil, fmt.Errorf("record of %d bytes", len(b))
	}
	addr, op = binary.LittleEndian.Uint16(b[0:]), binary.LittleEndian.Uint16(b[2:])
	payload = b[frameHeader:]
	switch {
	case addr == addrSpawn && op == opFail && len(payload) <= maxFail:
	case addr == addrSpawn && op == opReady && len(payload) == 0:
	case addr == addrSpawn && (op == opLeave || op == opStop || op == opExiting) && len(payload) == 0:
	case addr == addrSpawn && (op == opFiles || op == opAssign) && resources == 0:
	case int(addr) < resources && op == 0:
	default:
		return 0, 0, nil, fmt.Errorf("address %d, op %d, %d bytes", addr, op, len(payload))
	}
	return addr, op, payload, nil
}
