package spawn

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestPlumbingRoundTrip(t *testing.T) {
	for _, p := range []plumbing{
		{},
		{cookie: 0xfedcba9876543210},
		{resources: []donation{{"config", 1, []string{}}, {"log", 2, []string{"v=1", "a/b-c_d.E"}}, {"none", 0, []string{"w"}}}},
	} {
		got, err := parsePlumbing(p.String())
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("%q: got %+v, %v; want %+v", p, got, err, p)
		}
	}
}

func TestPlumbingRefusesNonsense(t *testing.T) {
	for _, s := range []string{
		"", "1", "0;0", "2;0", "1;x", "1;-1", "1;0;", "1;0;a", "1;0;a,", "1;0;a,-1", "1;0;a,999", "1;0;,1",
		"1;0;a b,1", "1;0;a,1,", "1;0;a,1,w;", "1;0;a,1,\x00", "1;0;../x,1", "1;0;a,128;b,1",
		"1;0" + strings.Repeat(";a,0", maxResources+1), "1;0;a,0," + strings.Repeat("w", maxPlumbing),
	} {
		if p, err := parsePlumbing(s); err == nil {
			t.Errorf("%.40q was taken as %+v", s, p)
		}
	}
}

func FuzzParsePlumbing(f *testing.F) {
	f.Add("1;0;config,1;log,2,v=1,x")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePlumbing(s)
		if err != nil {
			return
		}
		if q, err := parsePlumbing(p.String()); err != nil || !reflect.DeepEqual(p, q) {
			t.Errorf("%q → %+v → %q → %+v, %v", s, p, p, q, err)
		}
	})
}

func TestNames(t *testing.T) {
	for _, s := range []string{"a", "A-1_b.c", "0", "_", strings.Repeat("x", 64)} {
		if err := checkName(s); err != nil {
			t.Errorf("%q refused: %v", s, err)
		}
	}
	for _, s := range []string{"", ".", "..", ".a", "-a", "a/b", "a b", "é", "a\n", "a\x00", strings.Repeat("x", 65)} {
		if checkName(s) == nil {
			t.Errorf("%q taken", s)
		}
		if c := cleanName(s); checkName(c) != nil {
			t.Errorf("cleanName(%q) = %q, which is refused", s, c)
		}
	}
}

func TestMergeEnv(t *testing.T) {
	got := mergeEnv(
		[]string{"A=1", "B=1", "SHMKIT_RANK=7", "SHMKIT_FD=x", "SHMKIT_OTHER=1", "nonsense", "E="},
		[]string{"B=2", "C=1"}, []string{"C=2=3", "A=4"})
	want := []string{"SHMKIT_OTHER=1", "E=", "B=2", "C=2=3", "A=4", "PYTHONUNBUFFERED=1"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, env := range [][]string{{"PYTHONUNBUFFERED="}, {"PYTHONUNBUFFERED=0"}} {
		if got := mergeEnv(env); !slices.Equal(got, env) {
			t.Errorf("got %q, want %q", got, env)
		}
	}
	for _, bad := range []string{"A", "=1", "A=\x00", "SHMKIT_RANK=1", "SHMKIT_FD=1"} {
		var se *SpecError
		if err := checkEnv("Spec.Env", []string{"OK=1", bad}); !errors.As(err, &se) || !strings.Contains(err.Error(), "Spec.Env") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestFrames(t *testing.T) {
	frame := func(addr, op uint16, n int) []byte {
		h := putFrameHeader(addr, op)
		return append(h[:], make([]byte, n)...)
	}
	for _, c := range []struct {
		b  []byte
		ok bool
	}{
		{nil, false}, {make([]byte, 3), false},
		{frame(0, 0, 0), true}, {frame(1, 0, MaxMessage), true}, {frame(1, 0, MaxMessage+1), false},
		{frame(2, 0, 0), false}, {frame(0, 1, 0), false}, {frame(0xfffe, 0, 0), false},
		{frame(addrSpawn, opFail, 5), true}, {frame(addrSpawn, opFail, maxFail+1), false},
		{frame(addrSpawn, opAssign, 3), false}, {frame(addrSpawn, opReady, 0), true}, {frame(addrSpawn, opReady, 1), false},
		{frame(addrSpawn, 0, 0), false}, {frame(addrSpawn, 9, 0), false},
		{frame(addrSpawn, opLeave, 0), true}, {frame(addrSpawn, opStop, 0), true},
		{frame(addrSpawn, opLeave, 1), false}, {frame(addrSpawn, 99, 0), false},
	} {
		_, _, payload, err := parseFrame(c.b, 2)
		if (err == nil) != c.ok || err == nil && len(payload) != len(c.b)-frameHeader {
			t.Errorf("%d bytes, header % x: %d bytes of payload, %v", len(c.b), c.b[:min(4, len(c.b))], len(payload), err)
		}
	}
}
