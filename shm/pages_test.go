//go:build linux && (amd64 || arm64)

package shm

import (
	"errors"
	"os"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What was asked for is there, or Info says why not and how far it got.
func TestHugePages(t *testing.T) {
	info := must(readMeminfo())(t)
	huge := int(info["Hugepagesize"])
	if huge == 0 {
		t.Skip("this kernel has no huge pages")
	}
	free := int(info["HugePages_Free"] - info["HugePages_Rsvd"])

	s := newTestSegment(t, Options{Size: 2*huge + 5, HugePages: HugePagesTry, Prefault: true, HandOff: ReadWrite})
	a := attachTo(t, s, Expect{Access: ReadWrite})
	i := s.Info()
	t.Logf("%d huge pages free: pages of %d, %d bytes huge, %q", free, i.PageBytes, i.HugeBytes, i.HugeNote)
	if free >= 3 && (i.PageBytes != huge || i.HugeBytes != i.Total || i.HugeNote != "" || i.Total%huge != 0) {
		t.Errorf("huge pages were free: %+v", i)
	}
	if free < 3 && (i.HugeNote == "" || i.PageBytes != os.Getpagesize()) {
		t.Errorf("no huge pages were free: %+v", i)
	}
	if j := a.Info(); j.PageBytes != i.PageBytes || !j.Sealed {
		t.Errorf("attached: %+v", j)
	}
	s.Region()[2*huge+4] = 7
	if len(a.Region()) != 2*huge+5 || a.Region()[2*huge+4] != 7 {
		t.Error("not shared")
	}

	small := newTestSegment(t, Options{Size: 100, HugePages: HugePagesTry})
	if i := small.Info(); i.HugeNote == "" || i.Total >= huge {
		t.Errorf("a small segment: %+v", i)
	}

	r, err := Create(Options{Name: "r", Size: huge, HugePages: HugePagesRequire})
	switch {
	case err == nil:
		if i := r.Info(); i.PageBytes != huge {
			t.Errorf("%+v", i)
		}
		r.Close()
	case !errors.Is(err, ErrExhausted) || !strings.Contains(err.Error(), "hugetlb"):
		t.Errorf("required: %v", err)
	}
	if free == 0 && err == nil {
		t.Error("got huge pages that were not there")
	}
	if _, err := CreateNamed(privateDir(t), Options{Name: "n", Size: huge, HugePages: HugePagesRequire}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("required in an ordinary directory: %v", err)
	}
	n := must(CreateNamed(privateDir(t), Options{Name: "n", Size: huge, HugePages: HugePagesTry}))(t)
	defer n.Close()
	if n.Info().HugeNote == "" {
		t.Error("no word about huge pages")
	}
}

// Prefaulting by hand, for kernels before 5.14, leaves other people's bytes alone.
func TestTouch(t *testing.T) {
	s := newTestSegment(t, Options{Size: 10 * PageSize, HandOff: ReadWrite})
	for i := range s.Region() {
		s.Region()[i] = byte(i)
	}
	for _, how := range []Access{ReadWrite, ReadOnly} {
		a := attachTo(t, s, Expect{Access: how})
		if n := smaps(a.mapping, "Rss:"); n != 0 {
			t.Skipf("%d bytes are mapped already: no telling what touch does", n)
		}
		touch(a.mapping, how)
		if n := smaps(a.mapping, "Rss:"); n != len(a.mapping) {
			t.Errorf("%v: %d bytes of %d are mapped", how, n, len(a.mapping))
		}
	}
	for i, c := range s.Region() {
		if c != byte(i) {
			t.Fatalf("byte %d changed", i)
		}
	}
}

// Prefault maps every page, for the owner and for those who attach.
func TestPrefault(t *testing.T) {
	if unix.Madvise(make([]byte, 2*os.Getpagesize()), 9999) == nil || unix.Madvise(nil, 9999) == nil {
		t.Skip("madvise takes any advice and follows none: an emulator")
	}
	s := newTestSegment(t, Options{Size: 50 * PageSize, Prefault: true, HandOff: ReadWrite})
	for name, a := range map[string]*Segment{
		"owner":      s,
		"read-only":  attachTo(t, s, Expect{Prefault: true}),
		"read-write": attachTo(t, s, Expect{Prefault: true, Access: ReadWrite}),
	} {
		if n := smaps(a.mapping, "Rss:"); n != len(a.mapping) || !a.Info().Prefaulted {
			t.Errorf("%s: %d bytes of %d are mapped", name, n, len(a.mapping))
		}
	}
}

// Memory comes from the nodes that were asked for.
func TestNUMANodes(t *testing.T) {
	if _, err := os.Stat("/sys/devices/system/node/node0"); err != nil {
		t.Skip("no NUMA in this kernel: ", err)
	}
	s, err := Create(Options{Size: 10 * PageSize, NUMANodes: []int{0}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	node, err := nodeOf(s.Region())
	if errors.Is(err, unix.ENOSYS) {
		t.Skip("no NUMA in this emulator: ", err)
	}
	if err != nil || node != 0 {
		t.Errorf("on node %d, %v", node, err)
	}
	for _, nodes := range [][]int{{-1}, {1000}, {1 << 20}, {0, -5}} {
		if _, err := Create(Options{Size: 1, NUMANodes: nodes}); !errors.Is(err, os.ErrInvalid) {
			t.Errorf("nodes %d: %v", nodes, err)
		}
	}
}

// nodeOf is the node that the first page of b is on.
func nodeOf(b []byte) (int, error) {
	const nodeAtAddress = 1<<0 | 1<<1 // MPOL_F_NODE | MPOL_F_ADDR
	var node int32
	_, _, errno := unix.Syscall6(unix.SYS_GET_MEMPOLICY, uintptr(unsafe.Pointer(&node)), 0, 0,
		uintptr(unsafe.Pointer(unsafe.SliceData(b))), nodeAtAddress, 0)
	if errno != 0 {
		return 0, os.NewSyscallError("get_mempolicy", errno)
	}
	return int(node), nil
}
