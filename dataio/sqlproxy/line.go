package sqlproxy

// The line is one SOCK_SEQPACKET socket between the node and a worker. Over it the
// worker asks for sessions and cancels requests; the node sends the sessions' sockets.
// Its end is how both learn of the other's death.
//
//	lineOpen     u32 request, u8 database
//	lineCancel   u32 session, u32 sequence number of the request
//	lineOpened   u32 request, u32 session, and a descriptor
//	lineRefused  u32 request, u32 0, error
const (
	lineOpen = 1 + iota
	lineCancel
	lineOpened
	lineRefused
)

// maxLine bounds a message.
const maxLine = 16 << 10

func appendLine(op byte, a, b uint32) []byte {
	return append([]byte{op}, byte(a), byte(a>>8), byte(a>>16), byte(a>>24), byte(b), byte(b>>8), byte(b>>16), byte(b>>24))
}
