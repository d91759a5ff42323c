package logring

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// SyslogOptions for [Syslog]. The zero value is usable.
type SyslogOptions struct {
	Facility int    // 0 to 23, default 1 (user-level); 0 (kernel) cannot be chosen
	App      string // APP-NAME, default the name of the program
	Host     string // HOSTNAME, default that of the machine

	// Element is the SD-ID of the element that holds the attributes, default
	// shmkit@32473. The number is the one that IANA reserves for examples; with
	// one of your own, your names cannot be mistaken for others'.
	Element string

	// MaxSize is the size of the largest message in bytes, default 8192, which is
	// what rsyslog takes unless told otherwise. More is cut and marked.
	MaxSize int
}

const (
	syslogMaxSize = 8192
	syslogElement = "shmkit@32473"
	syslogPort    = "514"

	// syslogPatience bounds one write: a receiver that reads nothing is an error.
	syslogPatience = 10 * time.Second
)

// Syslog returns a sink that sends each record as an RFC 5424 message. The address is
//
//	unix:PATH        a local socket; "" is unix:/dev/log
//	udp:HOST:PORT    one datagram a message (RFC 5426)
//	tcp:HOST:PORT    with octet counting (RFC 6587, 3.4.1), as on a stream socket of unix:
//
// where PORT is 514 if it is left out. Levels below INFO are sent as debug, INFO as
// informational, from INFO+2 on as notice, then as warning, error, and from ERROR+4
// on as critical.
//
// The syslog protocols do not acknowledge: what was handed to the kernel counts as
// written. UDP loses silently. On a stream, what the receiver had not read when
// it went away is lost; from then on records are kept and sent when it is back.
func Syslog(address string, o SyslogOptions) (Sink, error) {
	s := &syslogSink{address: address, dial: func(network, place string) (net.Conn, error) {
		return net.DialTimeout(network, place, syslogPatience)
	}}
	err := s.parse(address)
	if err == nil {
		s.format, err = o.format()
	}
	if err == nil {
		err = s.connect()
	}
	if err != nil {
		return nil, fmt.Errorf("logring: syslog %s: %w", cmp.Or(address, "unix:/dev/log"), err)
	}
	return s, nil
}

func (o *SyslogOptions) format() (*syslogFormat, error) {
	if o.Facility == 0 {
		o.Facility = 1
	}
	if o.Facility < 0 || o.Facility > 23 {
		return nil, fmt.Errorf("facility %d: choose 1 to 23", o.Facility)
	}
	if o.MaxSize == 0 {
		o.MaxSize = syslogMaxSize
	}
	if o.MaxSize < 480 { // what every receiver must take (RFC 5424, 6.1)
		return nil, fmt.Errorf("MaxSize %d: choose 480 or more", o.MaxSize)
	}
	host, _ := os.Hostname()
	f := &syslogFormat{
		facility: o.Facility, max: o.MaxSize,
		host:    syslogName(cmp.Or(o.Host, host), 255),
		app:     syslogName(cmp.Or(o.App, filepath.Base(os.Args[0])), 48),
		element: cmp.Or(o.Element, syslogElement),
	}
	if len(f.element) > 32 || syslogName(f.element, 32) != f.element || strings.ContainsAny(f.element, `=]"`) {
		return nil, fmt.Errorf("element %q: use NAME@NUMBER, at most 32 characters", f.element)
	}
	return f, nil
}

// syslogName makes s a field of the header.
func syslogName(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f {
			return '_'
		}
		return r
	}, s)
	if s == "" {
		return "-"
	}
	return s[:min(len(s), most)]
}

type syslogSink struct {
	address  string
	networks []string // to try in turn
	place    string
	format   *syslogFormat
	dial     func(network, place string) (net.Conn, error)

	conn   net.Conn // nil: none now
	stream bool
	buf    []byte
	ends   []int
	msg    []byte
}

func (s *syslogSink) String() string { return "syslog:" + s.address }
func (s *syslogSink) Sync() error    { return nil }
func (s *syslogSink) Patient()       {}

func (s *syslogSink) Close() error { return s.hangUp() }

// parse takes the address apart.
func (s *syslogSink) parse(address string) error {
	network, place, _ := strings.Cut(cmp.Or(address, "unix:/dev/log"), ":")
	place = strings.TrimPrefix(place, "//")
	switch {
	case network == "unix" && place != "":
		s.networks, s.place = []string{"unixgram", "unix"}, place
	case (network == "udp" || network == "tcp") && place != "":
		if _, _, err := net.SplitHostPort(place); err != nil {
			place = net.JoinHostPort(strings.Trim(place, "[]"), syslogPort)
		}
		s.networks, s.place = []string{network}, place
	default:
		return errors.New("unknown address: use unix:PATH, udp:HOST:PORT or tcp:HOST:PORT")
	}
	return nil
}

// connect makes sure that there is a connection.
func (s *syslogSink) connect() error {
	if s.conn != nil && s.stream && hungUp(s.conn) {
		s.hangUp()
	}
	if s.conn != nil {
		return nil
	}
	var err error
	for _, network := range s.networks {
		var c net.Conn
		if c, err = s.dial(network, s.place); err == nil {
			s.conn, s.stream = c, network == "unix" || network == "tcp"
			return nil
		}
		if !errors.Is(err, syscall.EPROTOTYPE) {
			break
		}
	}
	return fmt.Errorf("%w: is the syslog server running, and is that its address?", err)
}

func (s *syslogSink) hangUp() error {
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	s.conn = nil
	return err
}

func (s *syslogSink) Write(batch []Record) error {
	if err := s.connect(); err != nil {
		return &WriteError{Retry: true, Err: err}
	}
	s.conn.SetWriteDeadline(time.Now().Add(syslogPatience))
	if s.stream {
		return s.writeStream(batch)
	}
	for i := range batch {
		s.msg = s.format.append(s.msg[:0], &batch[i])
		if _, err := s.conn.Write(s.msg); err != nil {
			if errors.Is(err, syscall.EMSGSIZE) {
				return &WriteError{Written: i, Lost: 1, Retry: true, Err: fmt.Errorf("%w: choose a MaxSize below %d", err, len(s.msg))}
			}
			s.hangUp()
			return &WriteError{Written: i, Retry: true, Err: err}
		}
	}
	return nil
}

// writeStream writes messages with their length in front. After a write that came
// out short the connection ends, and with it the message that was cut: it is sent
// again, whole, on the next one.
func (s *syslogSink) writeStream(batch []Record) error {
	s.buf, s.ends = s.buf[:0], s.ends[:0]
	for i := range batch {
		s.msg = s.format.append(s.msg[:0], &batch[i])
		s.buf = strconv.AppendInt(s.buf, int64(len(s.msg)), 10)
		s.buf = append(append(s.buf, ' '), s.msg...)
		s.ends = append(s.ends, len(s.buf))
	}
	n, err := writeAll(s.conn, s.buf)
	if cap(s.buf) > 4<<20 {
		s.buf = nil
	}
	if err == nil {
		return nil
	}
	s.hangUp()
	return &WriteError{Written: sort.SearchInts(s.ends, n+1), Retry: true, Err: err}
}
