package spawn

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// machine makes processors: threads of a core are numbered far from each other, as
// they are in most machines.
func machine(nodes, cores, threads int) (cpus []processor) {
	id := 0
	for range threads {
		for n := range nodes {
			for c := range cores {
				cpus = append(cpus, processor{id: id, node: n, socket: n, core: c})
				id++
			}
		}
	}
	return cpus
}

// How places are dealt out on a machine of 2 nodes with 2 cores of 2 threads: node 0
// has the processors 0 1 4 5, its cores 0+4 and 1+5; node 1 has 2 3 6 7.
func TestPlacement(t *testing.T) {
	cpus := machine(2, 2, 2)
	for _, c := range []struct {
		p    Placement
		want string
	}{
		{Placement{Policy: PlaceCompact}, "0 4 1 5 2 6 3 7"},
		{Placement{Policy: PlaceCompact, Width: 2}, "0,4 1,5 2,6 3,7"},
		{Placement{Policy: PlaceCompact, Width: 3}, "0-1,4 2,5-6"},
		{Placement{Policy: PlaceCompact, Width: 8}, "0-7"},
		{Placement{Policy: PlaceScatter}, "0 2 1 3 4 6 5 7"},
		{Placement{Policy: PlaceScatter, Width: 2}, "0,4 2,6 1,5 3,7"},
		{Placement{Policy: PlaceCore}, "0,4 1,5 2,6 3,7"},
		{Placement{Policy: PlaceList, CPUs: []string{"7", "0-2,5", "1,1"}}, "7 0-2,5 1"},
	} {
		places, err := c.p.deal(cpus)
		if err != nil {
			t.Errorf("%+v: %v", c.p, err)
		}
		var got []string
		for _, p := range places {
			got = append(got, formatCPUs(p))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v: %v, want %s", c.p, got, c.want)
		}
	}
	// Of a mask nothing outside is ever used.
	some := cpus[3:6]
	for _, p := range []Placement{{Policy: PlaceCompact}, {Policy: PlaceScatter}, {Policy: PlaceCore}, {Policy: PlaceCompact, Width: 3}} {
		places, err := p.deal(some)
		if err != nil || len(places) == 0 {
			t.Errorf("%+v: %v, %v", p, places, err)
		}
		for _, place := range places {
			for _, c := range place {
				if c.id < 3 || c.id > 5 {
					t.Errorf("%+v uses %d", p, c.id)
				}
			}
		}
	}
}

func TestBadPlacement(t *testing.T) {
	cpus := machine(1, 2, 1)
	for want, p := range map[string]Placement{
		"Spec.Placement.Policy":                                   {Policy: 77},
		"Spec.Placement.Width":                                    {Policy: PlaceCompact, Width: -1},
		"belong together":                                         {Policy: PlaceList},
		"set both or neither":                                     {CPUs: []string{"0"}},
		"this process may use 2 (0-1): ask for fewer":             {Policy: PlaceCompact, Width: 3},
		"processor 2 is none of those this process may use (0-1)": {Policy: PlaceList, CPUs: []string{"0", "1-2"}},
		`rank 0: "x": "x" is no processor`:                        {Policy: PlaceList, CPUs: []string{"x"}},
		`"3-1" is no processor or range`:                          {Policy: PlaceList, CPUs: []string{"3-1"}},
		`"0-99999" is no processor or range`:                      {Policy: PlaceList, CPUs: []string{"0-99999"}},
		`"" is no processor`:                                      {Policy: PlaceList, CPUs: []string{""}},
	} {
		err := p.check()
		if err == nil {
			_, err = p.deal(cpus)
		}
		var se *SpecError
		if !errors.As(err, &se) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", p, err, want)
		}
	}
	if got := fmt.Sprint(parseCPUs("0-2,8\n")); got != "[0 1 2 8] <nil>" {
		t.Error(got)
	}
}
