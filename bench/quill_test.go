package bench

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
)

// quillProgram names the program of quill's own hot-path benchmark with the clock of the
// time stamp counter, for whoever has built it: no distribution brings it. It logs two
// integers and a float; ours an integer, a string and a float.
const quillProgram = "SHMKIT_BENCH_QUILL"

var quillTable = regexp.MustCompile(`(?m)^ *\| +(\d+) +\|`)

// BenchmarkQuill compares an event with quill (C++), by the method of quill's own
// benchmark, which it runs in turns with ours.
//
// The bar: an event at most 1.5 times quill.
func BenchmarkQuill(b *testing.B) {
	pinPair(b)
	program := os.Getenv(quillProgram)
	if program == "" {
		b.Skip(quillProgram + " does not name quill's hot-path benchmark: nothing to compare with")
	}
	var ours, theirs []float64
	for b.Loop() {
		for range rounds {
			ours = append(ours, runHotPath(b, 0)[0])
			cmd := exec.Command(program)
			cmd.Dir = b.TempDir() // it writes its log there
			out, err := cmd.CombinedOutput()
			if err != nil {
				b.Fatalf("%s: %v\n%s", program, err, out)
			}
			m := quillTable.FindSubmatch(out) // the first table is of one thread, its first column p50
			if m == nil {
				b.Fatalf("%s printed no table of percentiles:\n%s", program, out)
			}
			p50, _ := strconv.ParseFloat(string(m[1]), 64)
			theirs = append(theirs, p50)
		}
	}
	reportPair(b, "ns", ours, theirs)
}
