package cfgblob

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"time"
)

// All printing of a Snapshot goes through shown: %v and its kin, slog and JSON.

// shown is the document as people may see it, without its secrets.
func (s *Snapshot) shown() []byte {
	if len(s.secrets.match) == 0 {
		return s.Doc
	}
	root, err := s.root()
	if err != nil {
		return []byte(`{}`) // not parsed, so nobody knows what is secret in it
	}
	doc, err := canonical(s.secrets.shown(nil, root).(map[string]any))
	if err != nil {
		return []byte(`{}`)
	}
	return doc
}

// Shown returns the value at path as JSON, as people may see it: what is secret
// is [Redacted]. "" is the whole document. Below a secret there is nothing to be
// seen, not even what is there: whatever the path, the value is Redacted.
func (s Snapshot) Shown(path string) ([]byte, error) {
	if path == "" {
		return s.shown(), nil
	}
	elems, err := splitPath(path)
	if err != nil {
		return nil, err
	}
	v, err := any(Redacted), error(nil)
	if !s.secrets.coverBelow(elems) {
		if v, err = s.look(path); err != nil {
			return nil, err
		}
		v = s.secrets.shown(elems, v)
	}
	return canonicalValue(v)
}

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
