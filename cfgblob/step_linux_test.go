//go:build linux && (amd64 || arm64)

package cfgblob

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"unsafe"

	"shmkit/internal/proctest"
	"shmkit/internal/stepper"
	"shmkit/seqlock"
)

const (
	stepRoom  = headerSize + 64
	stepSlots = 4
)

func stepDoc(version uint64) string { return fmt.Sprintf(`{"n":%d,"tail":"%[1]d"}`, version) }

// A store publishes into the image that is looked at: a whole Set is stepped, from
// the parsing of its path to the waking of sleepers.
var stepSet = proctest.Helper("step a Set", func(args []string) {
	tracee := stepper.Attach()
	s, err := NewStore(StoreOptions{}, []byte(stepDoc(1)))
	must(err)
	must(seqlock.Format(tracee.Image, stepRoom, stepSlots))
	latch, err := seqlock.OpenWriter(tracee.Image)
	must(err)
	s.general.latch = latch
	must(s.write(s.general, s.general.snap, s.general.tree))
	var rounds uint64
	fmt.Sscan(args[0], &rounds)
	for n := uint64(2); n < 2+rounds; n++ {
		edit := func(doc map[string]any) error { doc["n"], doc["tail"] = n, fmt.Sprint(n); return nil }
		tracee.Begin()
		_, err = s.Update("stepped", 0, edit)
		tracee.End()
		must(err)
	}
	tracee.Report("done")
})

// auditImage reads an image as a process that attaches now, and lets a successor
// of its publisher go on from there.
func auditImage(image []byte) (version uint64, err error) {
	words := make([]uint64, (len(image)+7)/8)
	view := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), len(image))
	copy(view, image)
	r, err := seqlock.OpenReader(view)
	if err != nil {
		return 0, err
	}
	rec, err := (&mapping{latch: r}).first("image")
	if err != nil {
		return 0, err
	}
	version = rec.snap.Version
	if got := string(rec.snap.Doc); got != stepDoc(version) {
		return version, fmt.Errorf("version %d is %s", version, got)
	}
	w, err := seqlock.OpenWriter(view)
	if err != nil {
		return version, err
	}
	if _, err = w.Publish(appendBlob(nil, &Snapshot{Version: version + 1, Time: rec.snap.Time, Doc: []byte(stepDoc(version + 1))})); err != nil {
		return version, err
	}
	next := (&mapping{latch: r}).read("image", rec)
	if next == nil || next.err != nil || next.snap.Version != version+1 {
		return version, fmt.Errorf("a successor's version %d: %+v", version+1, next)
	}
	return version, nil
}

// A publisher may die, or be stopped, at any instruction of a Set:
//
//  1. readers get the last good version, whole, at the first attempt;
//  2. that is the old version before the publishing store and the new one after it;
//  3. a successor goes on from there.
//
// Shown to trip: with the latch's version stored before its slot is filled, the
// audit finds a mixture.
func TestPublisherStepped(t *testing.T) {
	rounds := uint64(1)
	if os.Getenv("SHMKIT_STRESS") != "" {
		rounds = 2*stepSlots + 2
	}
	size, err := seqlock.Size(stepRoom, stepSlots)
	if err != nil {
		t.Fatal(err)
	}
	p := stepper.Start(t, stepSet, make([]byte, size), fmt.Sprint(rounds))
	last, steps := uint64(1), 0
	for p.Next() {
		version, looks := last, 0
		seen := map[uint64]int{}
		var before []byte
		for step := range p.Steps() {
			steps++
			if !bytes.Equal(p.Image(), before) { // an unchanged image has its verdict
				before = append(before[:0], p.Image()...)
				looks++
				now, err := auditImage(before)
				if err != nil || now < version || now > last+1 {
					t.Fatalf("after version %d, step %d, at %s: version %d, %v", last, step, p.Where(), now, err)
				}
				version = now
			}
			seen[version]++
		}
		if err := p.Err(); err != nil {
			t.Fatal(err)
		}
		if version != last+1 || seen[last] < 1000 || seen[last+1] < 10 || looks < 10 {
			t.Fatalf("version %d: readable after it is %d; steps at each: %v, %d looks", last+1, version, seen, looks)
		}
		last++
	}
	var end string
	if err := p.Report(&end); err != nil || p.Err() != nil || end != "done" || last != 1+rounds {
		t.Fatalf("publisher ended with %q, %v, %v, after version %d", end, err, p.Err(), last)
	}
	t.Logf("%d instructions, %d publications", steps, rounds)
}
