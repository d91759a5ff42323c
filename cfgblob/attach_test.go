package cfgblob

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"shmkit/shm"
)

func TestDonation(t *testing.T) {
	s := newStore(t, StoreOptions{Name: "my job/config=ü"}, `{}`)
	files, words, lease, err := s.Donate("group", 3, 8)
	if err != nil || len(files) != 1 || lease == nil {
		t.Fatalf("%v, %v, %v", files, lease, err)
	}
	defer lease.Close()
	for _, w := range words {
		if !regexp.MustCompile(`^[A-Za-z0-9._/=-]+$`).MatchString(w) {
			t.Errorf("word %q does not fit an environment", w)
		}
	}
	r, err := Attach(files, words)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.Name() != "my-job/config--" {
		t.Errorf("name %q", r.Name())
	}
}

func TestAttachErrors(t *testing.T) {
	s := newStore(t, StoreOptions{Name: "job"}, `{}`)
	donated := func() []*os.File {
		files, _, _, err := s.Donate("g", 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	segment := func(o shm.Options) []*os.File {
		o.Name, o.HandOff, o.Size = "job", shm.ReadOnly, 1<<16
		seg, err := shm.Create(o)
		if err != nil {
			t.Fatal(err)
		}
		defer seg.Close()
		f, err := seg.Reopen()
		if err != nil {
			t.Fatal(err)
		}
		return []*os.File{f}
	}
	ordinary, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	good := []string{wordFormat, "name=job"}
	for name, c := range map[string]struct {
		files []*os.File
		words []string
		want  string
	}{
		"no words":      {donated(), nil, `attach "config": words []`},
		"other format":  {donated(), []string{"cfgblob=2", "name=job"}, `attach "job": words ["cfgblob=2" "name=job"], this build needs "cfgblob=1": restart the worker`},
		"no file":       {nil, good, `attach "job": 0 files, want 1`},
		"nil file":      {[]*os.File{nil}, good, `attach "job": 1 files`},
		"two files":     {append(donated(), donated()...), good, `attach "job": 2 files, want 1`},
		"no segment":    {[]*os.File{ordinary}, good, `attach "job": `},
		"other kind":    {segment(shm.Options{Kind: shm.KindOf("RING"), Schema: segmentSchema}), good, `attach "job": `},
		"other schema":  {segment(shm.Options{Kind: segmentKind, Schema: segmentSchema + 1}), good, `attach "job": `},
		"empty segment": {segment(shm.Options{Kind: segmentKind, Schema: segmentSchema}), good, `"job": `},
	} {
		r, err := Attach(c.files, c.words)
		if err == nil {
			r.Close()
		}
		if err == nil || !strings.HasPrefix(err.Error(), "cfgblob: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s:\n got %v\nwant %s", name, err, c.want)
		}
		for _, f := range c.files {
			if f != nil && f.Close() == nil {
				t.Errorf("%s: a file is left open", name)
			}
		}
	}
}
