package cfgblob

import (
	"fmt"
	"os"
	"strings"

	"shmkit/shm"
)

// A Reader is a worker's side of a configuration. It maps the segment
// read-only, and the segment is sealed: nothing in this process can change a
// byte of it. Any number of goroutines may use a Reader.
type Reader struct {
	*feed
	link link // to the owner, once connected
}

// Attach opens what [Store.Donate] gave to this worker, and takes ownership of
// the files, also in the case of an error. There must be a good version
// already.
//
// What is there is checked before it is used: seals, kind and format of the
// segment, the bounds of everything, and the checksum of each version, once.
// From then on the worker depends on nobody: if the owner dies, at whatever
// instruction, the last good version stays readable.
func Attach(files []*os.File, words []string) (*Reader, error) {
	name, err := checkDonation(files, words)
	if err != nil {
		for _, f := range files {
			if f != nil {
				f.Close()
			}
		}
		return nil, err
	}
	segment, err := attachSegment(name, files[0])
	if err != nil {
		return nil, err
	}
	f, err := newFeed(name, segment, nil)
	if err != nil {
		segment.Close()
		return nil, err
	}
	return &Reader{feed: f}, nil
}

func attachSegment(name string, f *os.File) (*shm.Segment, error) {
	segment, err := shm.Attach(f, shm.Expect{
		Name: name, Kind: segmentKind, Schema: segmentSchema, Access: shm.ReadOnly,
	})
	if err != nil {
		return nil, fmt.Errorf("cfgblob: attach %q: %w", name, err)
	}
	return segment, nil
}

func checkDonation(files []*os.File, words []string) (name string, err error) {
	name = "config"
	known := false
	for _, w := range words {
		if v, ok := strings.CutPrefix(w, "name="); ok {
			name = v
		}
		known = known || w == wordFormat
	}
	switch {
	case !known:
		return name, fmt.Errorf("cfgblob: attach %q: words %q, this build needs %q: restart the worker with the owner's build", name, words, wordFormat)
	case len(files) != 1 || files[0] == nil:
		return name, fmt.Errorf("cfgblob: attach %q: %d files, want 1: pass on what Donate returned", name, len(files))
	}
	return name, nil
}

// Close ends all watches of this Reader. Snapshot, Get and every [Live] bound to
// it stay at the last version they saw. The memory is given back when the last
// of those Lives is garbage. Later calls do nothing. It returns nil.
func (r *Reader) Close() error {
	r.feed.close()
	r.link.close()
	return nil
}
