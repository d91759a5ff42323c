package spawn

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

type piece struct {
	text      string
	continued bool
}

// splitAll feeds in to a splitter in writes of at most step bytes.
func splitAll(in []byte, step int) []piece {
	var out []piece
	s := splitter{emit: func(line []byte, continued bool) {
		out = append(out, piece{string(line), continued})
	}}
	for c := range slices.Chunk(in, step) {
		s.write(c)
		if len(s.pending) > MaxLine+1 {
			panic("splitter holds too much")
		}
	}
	s.flush()
	return out
}

// splitModel is the same, said simply, with everything at hand.
func splitModel(in []byte) []piece {
	var out []piece
	add := func(line []byte) {
		for i := 0; ; i++ {
			n := min(len(line), MaxLine)
			out = append(out, piece{string(line[:n]), i > 0})
			if line = line[n:]; len(line) == 0 {
				return
			}
		}
	}
	for len(in) > 0 {
		line, rest, ended := bytes.Cut(in, []byte("\n"))
		if ended {
			line = bytes.TrimSuffix(line, []byte("\r"))
		}
		add(line)
		in = rest
	}
	return out
}

// Lines come out whole, whatever the size of the reads, up to MaxLine bytes; longer
// ones in pieces; at most one "\r" is taken off before a newline.
func TestLines(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, in := range []string{
		"", "\n", "\r\n", "\r\r\n", "\r", "a", "a\n", "a\nb", "a\r\nb\r", "\n\n", "a\x00b\n",
		x(MaxLine-1) + "\n", x(MaxLine) + "\n", x(MaxLine) + "\r\n", x(MaxLine), x(MaxLine) + "\r",
		x(MaxLine+1) + "\n", x(MaxLine+1) + "\r\n", x(MaxLine + 1), x(MaxLine+2) + "\n", x(MaxLine) + "\r\r\n",
		x(2*MaxLine) + "\n", x(2*MaxLine) + "\r\n", x(2*MaxLine+1) + "\nb\n", x(3*MaxLine) + "\r\r\n" + x(MaxLine) + "\nc",
	} {
		want := splitModel([]byte(in))
		for _, step := range []int{1 << 30, MaxLine, MaxLine + 1, MaxLine - 1, 4096, 3} {
			if got := splitAll([]byte(in), step); !slices.Equal(got, want) {
				t.Errorf("input of %d bytes %.10q…, reads of %d: got %s, want %s", len(in), in, step, sketch(got), sketch(want))
			}
		}
	}
}

// The model itself, against the words of OutputFunc. (That the comparison can fail
// was shown by emitting at MaxLine+1 instead of MaxLine+2 pending bytes: the
// "\r\n" cases fail.)
func TestLinesModel(t *testing.T) {
	x := strings.Repeat("x", MaxLine)
	got := splitModel([]byte(x + "\r\n" + x + "y\nz"))
	want := []piece{{x, false}, {x, false}, {"y", true}, {"z", false}}
	if !slices.Equal(got, want) {
		t.Errorf("got %s, want %s", sketch(got), sketch(want))
	}
}

func sketch(ps []piece) string {
	var b strings.Builder
	for _, p := range ps {
		fmt.Fprintf(&b, "{%d %.4q %v}", len(p.text), p.text, p.continued)
	}
	return b.String()
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("a\r\nb\n\nc"), uint16(0), uint16(2))
	f.Add([]byte("a\n"), uint16(65535), uint16(1000))
	f.Fuzz(func(t *testing.T, tail []byte, long, step uint16) {
		in := append(bytes.Repeat([]byte("y"), int(long)), tail...)
		in = append(in, in...)
		if got, want := splitAll(in, int(step)+1), splitModel(in); !slices.Equal(got, want) {
			t.Errorf("got %s, want %s", sketch(got), sketch(want))
		}
	})
}

func TestTail(t *testing.T) {
	var tl tail
	if got := tl.last(); got != nil {
		t.Errorf("an empty tail gave %q", got)
	}
	for i := range 3*tailLines + 1 {
		tl.add(fmt.Appendf(nil, "%d %s", i, strings.Repeat("z", 2*tailBytes)), false)
		tl.add([]byte("continued"), true)
	}
	got := tl.last()
	if len(got) != tailLines || !strings.HasPrefix(got[0], "41 ") || !strings.HasPrefix(got[tailLines-1], "60 ") || len(got[0]) != tailBytes {
		t.Errorf("%d lines, first %.5q, last %.5q of %d bytes", len(got), got[0], got[len(got)-1], len(got[0]))
	}
}
