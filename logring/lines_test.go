package logring

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

// messages returns what the sinks would get, one string a record.
func (p *pipe) messages(t testing.TB) (all []string) {
	t.Helper()
	for i := range p.got {
		all = append(all, p.record(t, i).Message)
	}
	return all
}

func equal(t testing.TB, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got  %.300q\nwant %.300q", got, want)
	}
}

// However a text is cut into writes, its lines come out the same.
func TestLineWriterPieces(t *testing.T) {
	text := "one\n\ntwo\r\nthree ü€😀\n" + strings.Repeat("x", 3000) + "\nlast without end"
	want := []string{"one", "", "two", "three ü€😀", strings.Repeat("x", 3000), "last without end"}
	for seed := range 200 {
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		p := &pipe{}
		w := NewLineWriter(newHandler(p, nil), LineOptions{})
		for rest := text; rest != ""; {
			n := 1 + r.IntN(min(len(rest), 1+r.IntN(2000)))
			if got, err := io.WriteString(w, rest[:n]); got != n || err != nil {
				t.Fatalf("Write: %d, %v; want %d", got, err, n)
			}
			rest = rest[n:]
		}
		w.Close()
		w.Close()
		equal(t, p.messages(t), want)
	}
}

// A line of 10 MB is many records, none larger than possible, whose texts together
// are the line; characters stay whole, memory does not grow with the line.
func TestLineWriterLong(t *testing.T) {
	p := &pipe{max: 4096}
	h := newHandler(p, nil).WithAttrs([]slog.Attr{slog.String("job", "count")})
	w := NewLineWriter(h, LineOptions{Level: slog.LevelWarn})
	line := strings.Repeat("日本語", 10<<20/9)
	for rest := line; rest != ""; {
		n := min(len(rest), 1000)
		io.WriteString(w, rest[:n])
		rest = rest[n:]
		if cap(w.part) > 2*maxLine {
			t.Fatalf("%d bytes are kept for a line", cap(w.part))
		}
	}
	io.WriteString(w, "\nshort\n")
	var got strings.Builder
	for i := range p.got {
		r := p.record(t, i)
		if r.Truncated > 0 || strings.ContainsRune(r.Message, '\uFFFD') || r.NumAttrs() != 1 || r.Level != slog.LevelWarn {
			t.Fatalf("record %d: %d bytes cut, %d attributes, %v, %.20q", i, r.Truncated, r.NumAttrs(), r.Level, r.Message)
		}
		if i < len(p.got)-1 {
			got.WriteString(r.Message)
		}
		if want := i < len(p.got)-2; r.Continued != want {
			t.Fatalf("record %d of %d: continued %v, want %v", i, len(p.got), r.Continued, want)
		}
	}
	if got.String() != line {
		t.Errorf("the records' %d bytes are not the line's %d", got.Len(), len(line))
	}
	// The same in one write.
	q := &pipe{max: 4096}
	w = NewLineWriter(newHandler(q, nil).WithAttrs([]slog.Attr{slog.String("job", "count")}), LineOptions{Level: slog.LevelWarn})
	io.WriteString(w, line+"\nshort\n")
	equal(t, q.messages(t), p.messages(t))
}

func TestLineWriterLevel(t *testing.T) {
	p := &pipe{least: slog.LevelWarn}
	w := NewLineWriter(newHandler(p, nil), LineOptions{Parse: func(line []byte) (slog.Level, []byte) {
		if rest, ok := bytes.CutPrefix(line, []byte("ERROR: ")); ok {
			return slog.LevelError, rest
		}
		return slog.LevelInfo, line
	}})
	io.WriteString(w, "fine\nERROR: not fine\nfine again\n")
	equal(t, p.messages(t), []string{"not fine"})
	if r := p.record(t, 0); r.Level != slog.LevelError {
		t.Errorf("level %v, want ERROR", r.Level)
	}
}

// Any handler takes lines.
func TestLineWriterForeignHandler(t *testing.T) {
	var out bytes.Buffer
	w := NewLineWriter(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}), LineOptions{})
	w.max = 4
	io.WriteString(w, "abcdef\n")
	w.Close()
	if want := "level=INFO msg=abcd continued=true\nlevel=INFO msg=ef\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestLineWriterClosed(t *testing.T) {
	w := NewLineWriter(newHandler(&pipe{}, nil), LineOptions{})
	w.Close()
	if _, err := w.Write([]byte("x\n")); !errors.Is(err, os.ErrClosed) || !strings.Contains(err.Error(), "line writer") {
		t.Errorf("Write after Close: %v", err)
	}
}

func TestNilHandlers(t *testing.T) {
	for name, f := range map[string]func(){
		"NewLineWriter":  func() { NewLineWriter(nil, LineOptions{}) },
		"CaptureDefault": func() { CaptureDefault(nil, 0) },
	} {
		func() {
			defer func() {
				if p, _ := recover().(string); !strings.Contains(p, name) || !strings.Contains(p, "handler is nil: give") {
					t.Errorf("%s(nil): panic %q: want one that names the function and the cure", name, p)
				}
			}()
			f()
		}()
	}
}

// A *log.Logger, package log and slog's default through the ring, with the position
// of the call; afterwards everything is as it was.
func TestCaptureDefault(t *testing.T) {
	before, out, flags := slog.Default(), log.Writer(), log.Flags()
	k := &keeper{}
	c := newCollector(t, CollectorOptions{Sinks: []Sink{k}})
	w, _ := onHeap(t, c, "g", 0)
	h := w.Handler(&HandlerOptions{AddSource: true})

	restore := CaptureDefault(h, slog.LevelWarn)
	log.Print("old\nstyle")
	slog.Info("new style")
	slog.NewLogLogger(h, slog.LevelError).Print("handed over")
	restore()
	restore()
	if slog.Default() != before || log.Writer() != out || log.Flags() != flags {
		t.Error("restore left something changed")
	}
	flushAll(t, c)
	recs := k.all()
	if len(recs) != 3 {
		t.Fatalf("%d records, want 3", len(recs))
	}
	for i, want := range []struct {
		level slog.Level
		msg   string
	}{{slog.LevelWarn, "old\nstyle"}, {slog.LevelInfo, "new style"}, {slog.LevelError, "handed over"}} {
		r := recs[i]
		src, _ := r.Source()
		if r.Level != want.level || r.Message != want.msg || !strings.HasSuffix(src.File, "lines_test.go") {
			t.Errorf("record %d: %v %q from %s; want %v %q from this file", i, r.Level, r.Message, src.File, want.level, want.msg)
		}
	}
}

// A worker that captures a program's output says which stream a line is of.
func TestLineWriterStream(t *testing.T) {
	k := &keeper{}
	c := newCollector(t, CollectorOptions{Sinks: []Sink{k}})
	w, _ := onHeap(t, c, "g", 0)
	for _, stream := range []string{"stdout", "stderr", ""} {
		l := NewLineWriter(w.Handler(nil), LineOptions{Stream: stream})
		fmt.Fprintln(l, "from", stream)
		l.Close()
	}
	flushAll(t, c)
	for i, want := range []string{"stdout", "stderr", ""} {
		if recs := k.all(); len(recs) != 3 || recs[i].Stream != want {
			t.Fatalf("record %d is of stream %q, want %q", i, recs[i].Stream, want)
		}
	}
}
