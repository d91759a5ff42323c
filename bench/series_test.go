package bench

import (
	"slices"
	"testing"
)

// rounds is how often each party of a comparison has its turn.
const rounds = 7

// median of durations or rates, and their spread in percent of it.
func median(xs []float64) (mid, spread float64) {
	s := slices.Sorted(slices.Values(xs))
	mid = s[len(s)/2]
	return mid, 100 * (s[len(s)-1] - s[0]) / mid
}

// figure reports the median of what the turns gave, and how far they lie apart, which the
// report makes the spread of this unit.
func figure(b *testing.B, unit string, xs []float64) {
	b.Helper()
	b.ReportMetric(0, "ns/op")
	mid, spread := median(xs)
	b.ReportMetric(mid, unit)
	if len(xs) > 1 && mid != 0 {
		b.ReportMetric(spread, unit+":spread-%")
	}
}

// over divides the figures of parties that took turns, turn by turn: what the machine did
// otherwise, as between one turn and the next, meets both.
func over(a, b []float64) []float64 {
	ratios := make([]float64, min(len(a), len(b)))
	for i := range ratios {
		ratios[i] = a[i] / b[i]
	}
	return ratios
}

// minus is the difference, turn by turn.
func minus(a, b []float64) []float64 {
	d := make([]float64, min(len(a), len(b)))
	for i := range d {
		d[i] = a[i] - b[i]
	}
	return d
}

// times scales figures.
func times(xs []float64, by float64) []float64 {
	scaled := make([]float64, len(xs))
	for i, x := range xs {
		scaled[i] = x * by
	}
	return scaled
}

// reportPair reports two parties that took turns and how many times ours theirs is.
func reportPair(b *testing.B, unit string, ours, theirs []float64) {
	b.Helper()
	figure(b, "shmkit-"+unit, ours)
	figure(b, "peer-"+unit, theirs)
	figure(b, "peer/shmkit", over(theirs, ours))
}

// reportParties reports each party and how many times ours each of the others is.
func reportParties(b *testing.B, unit, ours string, all map[string][]float64) {
	b.Helper()
	for name, xs := range all {
		figure(b, name+"-"+unit, xs)
		if name != ours {
			figure(b, name+"/"+ours, over(xs, all[ours]))
		}
	}
}

// A median hides nothing that the spread does not tell, and a ratio is of turns.
func TestFigures(t *testing.T) {
	if mid, spread := median([]float64{3, 1, 2}); mid != 2 || spread != 100 {
		t.Errorf("median %v, spread %v %%", mid, spread)
	}
	if r := over([]float64{2, 9}, []float64{1, 3, 5}); !slices.Equal(r, []float64{2, 3}) {
		t.Errorf("ratios %v", r)
	}
}
