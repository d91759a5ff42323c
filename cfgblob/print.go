package cfgblob

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"time"
)

// All printing of a Snapshot goes through shown: %v and its kin, slog and JSON.

// shown is the document as people may see it.
func (s Snapshot) shown() []byte { return s.Doc }

// String describes the version on one line: number, time, author, document.
func (s Snapshot) String() string {
	return fmt.Sprintf("version %d, %s, by %q: %s",
		s.Version, s.Time.Format(time.RFC3339Nano), s.Author, s.shown())
}

// Format prints String for every verb and flag.
func (s Snapshot) Format(f fmt.State, verb rune) { fmt.Fprint(f, s.String()) }

// LogValue is the Snapshot as an attribute of a log record.
func (s Snapshot) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Uint64("version", s.Version),
		slog.Time("time", s.Time),
		slog.String("author", s.Author),
		slog.String("doc", string(s.shown())),
	)
}

// MarshalJSON writes {"version":…,"time":…,"author":…,"doc":{…}}.
func (s Snapshot) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Version uint64          `json:"version"`
		Time    time.Time       `json:"time"`
		Author  string          `json:"author"`
		Doc     json.RawMessage `json:"doc"`
	}{s.Version, s.Time, s.Author, s.shown()})
}
