package cfgblob

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// A stateFile is what a successor needs to go on: the version that was about to
// be published and the changes made while the store ran. What comes from sources is
// read again. It is replaced by rename(2), so that it is always whole; it is not
// synced, since it outlives its process, and no reader outlives the machine.
type stateFile struct {
	Format  int            `json:"format"` // 1
	Version uint64         `json:"version"`
	Time    time.Time      `json:"time"`
	Author  string         `json:"author"`
	Changes []stateChanges `json:"changes,omitempty"`
}

type stateChanges struct {
	For string `json:"for,omitempty"` // the audience
	patchFile
}

const stateFormat = 1

// save writes the state as of a version, before it is published: a version that
// anybody has seen is in the file. A canary is not kept.
func (s *Store) save(snap Snapshot, st stack) error {
	if s.o.StateFile == "" {
		return nil
	}
	f := stateFile{Format: stateFormat, Version: snap.Version, Time: snap.Time, Author: snap.Author}
	for _, r := range st.runtime {
		f.Changes = append(f.Changes, stateChanges{r.audience.String(), toFile(r.changes)})
	}
	text, err := json.MarshalIndent(f, "", "\t")
	if err == nil {
		err = replaceFile(s.o.StateFile, append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("cfgblob: %q: state file: %w", s.o.Name, err)
	}
	return nil
}

// replaceFile puts a new file, readable to its owner only, in the place of path.
func replaceFile(path string, text []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// resume takes over what a predecessor left.
func (s *Store) resume() error {
	text, err := os.ReadFile(s.o.StateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var f stateFile
	if err == nil {
		err = json.Unmarshal(text, &f)
	}
	if err == nil && f.Format != stateFormat {
		err = fmt.Errorf("format %d, this build reads %d", f.Format, stateFormat)
	}
	for _, c := range f.Changes {
		if err != nil {
			break
		}
		var a Audience
		var p patch
		if a, err = ParseAudience(c.For); err == nil {
			if p, err = c.patch(); err == nil {
				s.stack = s.stack.withChanges(a, p)
			}
		}
	}
	if err != nil {
		// Nothing of the file is quoted: it holds secrets.
		return fmt.Errorf("cfgblob: %q: state file %s: %w: remove it to begin anew", s.o.Name, s.o.StateFile, bareError{err})
	}
	s.version = max(s.version, f.Version)
	return nil
}
