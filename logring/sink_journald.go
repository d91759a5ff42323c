package logring

// JournaldOptions for [Journald]. The zero value is usable.
type JournaldOptions struct {
	// Identifier is SYSLOG_IDENTIFIER, what journalctl -t asks for; default the name
	// of the program.
	Identifier string

	// Socket is journald's socket, default /run/systemd/journal/socket.
	Socket string
}

const journalSocket = "/run/systemd/journal/socket"
