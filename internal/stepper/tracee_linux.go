package stepper

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// envImage tells the helper the byte length of the image; its presence means
	// that this process is a traced one.
	envImage = "SHMKIT_STEP_IMAGE"

	imageFD  = 3 // first of the extra files
	reportFD = 4

	// The marks are signals a thread sends to itself. The tracer sees them before
	// any handler and drops them, so they need no registers, no breakpoint
	// instruction and no difference between architectures.
	markBegin = unix.SIGUSR1
	markEnd   = unix.SIGUSR2

	// Report area: u64 length of the JSON text, u64 address of a known function
	// (to name the code a program counter lies in), then the text.
	reportLen    = 0
	reportAnchor = 8
	reportText   = 16
	reportSize   = 1 << 20
)

// The main goroutine starts on the main thread, the one that is traced. Locked
// in an init it stays there.
func init() {
	if os.Getenv(envImage) != "" {
		runtime.LockOSThread()
	}
}

// Tracee is the helper's end: the process that is stepped.
type Tracee struct {
	// Image is the memory shared with the test, page-aligned, between two
	// inaccessible pages; where its length is no multiple of the page size the
	// rest of the last page follows it. Valid until the process ends.
	Image []byte

	report   []byte
	pid, tid uintptr
}

// Attach maps what the test handed over. It exits the process when there is
// nothing to attach to: a helper cannot do anything else.
func Attach() *Tracee {
	n, err := strconv.Atoi(os.Getenv(envImage))
	if err != nil {
		die("this helper only runs under a stepper: %v", err)
	}
	image, err := mapGuarded(imageFD, n)
	if err != nil {
		die("map the image: %v", err)
	}
	report, err := unix.Mmap(reportFD, 0, reportSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		die("map the report: %v", err)
	}
	// A fault outside the image is to be a panic that the helper can report.
	debug.SetPanicOnFault(true)
	binary.NativeEndian.PutUint64(report[reportAnchor:], uint64(anchor()))
	return &Tracee{Image: image, report: report, pid: uintptr(unix.Getpid()), tid: uintptr(unix.Gettid())}
}

// Begin marks the start of a stepped operation. It returns when the test goes on.
func (t *Tracee) Begin() { t.mark(markBegin) }

// End marks the end of a stepped operation.
func (t *Tracee) End() { t.mark(markEnd) }

func (t *Tracee) mark(sig syscall.Signal) {
	syscall.RawSyscall(unix.SYS_TGKILL, t.pid, t.tid, uintptr(sig))
}

// Report leaves v (as JSON) for [Process.Report]. The last report wins; the test
// may read it when the process stands at its next Begin or has ended.
func (t *Tracee) Report(v any) {
	text, err := json.Marshal(v)
	if err != nil || len(text) > reportSize-reportText {
		die("report of %d bytes: %v", len(text), err)
	}
	copy(t.report[reportText:], text)
	binary.NativeEndian.PutUint64(t.report[reportLen:], uint64(len(text)))
}

// mapGuarded maps n bytes of fd with an inaccessible page on either side.
func mapGuarded(fd, n int) ([]byte, error) {
	page := os.Getpagesize()
	room := (n + page - 1) / page * page
	hole, err := unix.MmapPtr(-1, 0, nil, uintptr(room+2*page), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, err
	}
	at, err := unix.MmapPtr(fd, 0, unsafe.Add(hole, page), uintptr(room),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_FIXED)
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(at), n), nil
}

// anchor is the address of the same function in both processes. They run one
// binary, so the difference is how far a position-independent one was moved.
func anchor() uintptr { return reflect.ValueOf(Attach).Pointer() }

func die(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "stepper: "+format+"\n", args...)
	os.Exit(2)
}
