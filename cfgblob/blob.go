package cfgblob

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
)

// The record of one version: a fixed header and the document. The offsets are
// a public format, described in the package comment.
const (
	blobMagic  = 0x42474643 // "CFGB" read as a little-endian u32
	blobFormat = 1          // readers refuse any other

	offMagic     = 0
	offFormat    = 4   // u16
	offHeader    = 6   // u16, where the document starts
	offHash      = 8   // u64, xxhash64 of everything from offVersion on
	offVersion   = 16  // u64
	offTime      = 24  // i64, ns since 1970 UTC
	offSchema    = 32  // u64
	offLength    = 40  // u64, bytes of document
	offFlags     = 48  // u64, 0
	offAuthorLen = 56  // u16; 6 bytes 0 follow
	offAuthor    = 64  // UTF-8, zero-padded
	headerSize   = 128 // and then, if the header is longer:
	offSecretLen = 128 // u32
	offSecrets   = 132 // patterns of secret paths, one a line

	maxHeader = 1<<16 - 8

	maxAuthor = headerSize - offAuthor
)

// appendBlob appends the record of s to b.
func appendBlob(b []byte, s *Snapshot) []byte {
	start := len(b)
	b = append(b, make([]byte, headerSize)...)
	b = appendSecretTable(b, s.secrets.text)
	header := len(b) - start
	b = append(b, s.Doc...)
	r := b[start:]
	le := binary.LittleEndian
	le.PutUint32(r[offMagic:], blobMagic)
	le.PutUint16(r[offFormat:], blobFormat)
	le.PutUint16(r[offHeader:], uint16(header))
	le.PutUint64(r[offVersion:], s.Version)
	le.PutUint64(r[offTime:], uint64(s.Time.UnixNano()))
	le.PutUint64(r[offSchema:], s.Schema)
	le.PutUint64(r[offLength:], uint64(len(s.Doc)))
	le.PutUint16(r[offAuthorLen:], uint16(len(s.Author)))
	copy(r[offAuthor:headerSize], s.Author)
	le.PutUint64(r[offHash:], xxhash.Sum64(r[offVersion:]))
	return b
}

// parseBlob reads a record. r is a private copy of bytes from another process
// and may hold anything; the result keeps r's tail as its Doc.
//
// The checksum vouches for the bytes as their writer meant them, not for the
// writer: lengths are bounded here, and the document is parsed with bounds.
func parseBlob(name string, r []byte) (*Snapshot, error) {
	bad := func(format string, args ...any) (*Snapshot, error) {
		return nil, &CorruptError{name, fmt.Sprintf(format, args...)}
	}
	if len(r) < headerSize {
		return bad("record of %d bytes, a header alone has %d", len(r), headerSize)
	}
	le := binary.LittleEndian
	if m := le.Uint32(r[offMagic:]); m != blobMagic {
		return bad("magic %#x, want %#x: not a configuration", m, uint32(blobMagic))
	}
	if f := le.Uint16(r[offFormat:]); f != blobFormat {
		return bad("record format %d, this build reads %d: restart the worker with the owner's build", f, blobFormat)
	}
	start, length := uint64(le.Uint16(r[offHeader:])), le.Uint64(r[offLength:])
	if start < headerSize || start > uint64(len(r)) || length != uint64(len(r))-start {
		return bad("header of %d and document of %d bytes in a record of %d", start, length, len(r))
	}
	if got, want := xxhash.Sum64(r[offVersion:]), le.Uint64(r[offHash:]); got != want {
		return bad("checksum %#x, want %#x", got, want)
	}
	if le.Uint64(r[offVersion:]) == 0 {
		return bad("version 0, the first is 1")
	}
	n := le.Uint16(r[offAuthorLen:])
	if n > maxAuthor {
		return bad("author of %d bytes, at most %d fit", n, maxAuthor)
	}
	author := string(r[offAuthor : offAuthor+int(n)])
	if !utf8.ValidString(author) {
		return bad("author is not valid UTF-8")
	}
	hidden, err := parseSecretTable(r[headerSize:start])
	if err != nil {
		return bad("%v", err)
	}
	doc := r[start:]
	return &Snapshot{
		Version: le.Uint64(r[offVersion:]),
		Time:    time.Unix(0, int64(le.Uint64(r[offTime:]))),
		Author:  author,
		Doc:     doc[:len(doc):len(doc)],
		Schema:  le.Uint64(r[offSchema:]),
		tree:    &lazyTree{doc: doc},
		secrets: hidden,
	}, nil
}

// cleanAuthor makes a name fit the header: valid UTF-8, at most maxAuthor
// bytes, cut between characters.
func cleanAuthor(s string) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	for len(s) > maxAuthor {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

// appendSecretTable appends the part of the header that says which paths are
// secret, so that a reader knows what not to print: nothing if there are none,
// and up to a multiple of 8 bytes otherwise.
func appendSecretTable(b []byte, list []string) []byte {
	if len(list) == 0 {
		return b
	}
	text := strings.Join(list, "\n")
	b = binary.LittleEndian.AppendUint32(b, uint32(len(text)))
	b = append(b, text...)
	return append(b, make([]byte, -len(b)&7)...)
}

// secretTableSize is how many bytes appendSecretTable appends.
func secretTableSize(list []string) int { return len(appendSecretTable(nil, list)) }

func parseSecretTable(b []byte) (secrets, error) {
	if len(b) == 0 {
		return secrets{}, nil
	}
	const words = offSecrets - offSecretLen
	if len(b) < words {
		return secrets{}, fmt.Errorf("header of %d bytes", headerSize+len(b))
	}
	n := binary.LittleEndian.Uint32(b)
	if n == 0 {
		return secrets{}, nil
	}
	if uint64(n) > uint64(len(b)-words) {
		return secrets{}, fmt.Errorf("%d bytes of secret paths in a header of %d", n, headerSize+len(b))
	}
	s, err := newSecrets(strings.Split(string(b[words:words+int(n)]), "\n"))
	if err != nil {
		return s, fmt.Errorf("secret paths: %w", err)
	}
	return s, nil
}
