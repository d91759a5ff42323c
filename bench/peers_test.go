package bench

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cloudwego/shmipc-go"

	"shmkit"
	"shmkit/logring"
	"shmkit/spawn"
)

// boostSPSC, readerWriterQueue and spdlogFile build the C++ parties.
func boostSPSC(b *testing.B) string {
	return cxxPeer(b, "boost_spsc", "boost/lockfree/spsc_queue.hpp", "libboost-dev")
}

func readerWriterQueue(b *testing.B) string {
	return cxxPeer(b, "rwqueue", "readerwriterqueue/readerwriterqueue.h", "libreaderwriterqueue-dev")
}

func spdlogFile(b *testing.B) string {
	return cxxPeer(b, "spdlog_file", "spdlog/async.h", "libspdlog-dev",
		"-DSPDLOG_COMPILED_LIB", "-DSPDLOG_FMT_EXTERNAL", "-lspdlog", "-lfmt")
}

// cxxPeer builds cpp/NAME.cpp and returns the program, or "" with a plain message where
// g++ or the header are missing.
func cxxPeer(b *testing.B, name, header, pkg string, flags ...string) string {
	b.Helper()
	cxx, err := exec.LookPath("g++")
	if err != nil {
		b.Logf("without %s: g++ is not installed (Debian packages g++ and %s)", name, pkg)
		return ""
	}
	if _, err := os.Stat(filepath.Join("/usr/include", header)); err != nil {
		b.Logf("without %s: its headers are not installed (Debian package %s)", name, pkg)
		return ""
	}
	exe := filepath.Join(b.TempDir(), name)
	args := append([]string{"-O3", "-march=native", "-pthread", "-o", exe, "cpp/" + name + ".cpp"}, flags...)
	if out, err := exec.Command(cxx, args...).CombinedOutput(); err != nil {
		b.Fatalf("%s.cpp: %v\n%s", name, err, out)
	}
	return exe
}

// runPeer runs a program that prints one figure.
func runPeer(b *testing.B, exe, what string, n int, more ...string) float64 {
	b.Helper()
	out, err := exec.Command(exe, append([]string{what, strconv.Itoa(n)}, more...)...).Output()
	if err != nil {
		b.Fatalf("%s %s: %v", filepath.Base(exe), what, err)
	}
	figure, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	if err != nil {
		b.Fatalf("%s %s printed %q", filepath.Base(exe), what, out)
	}
	return figure
}

// parkedRing returns the nanoseconds of n round trips to a worker that parks for
// each, with a rest of the given length between them.
func parkedRing(b *testing.B, n int, rest time.Duration) []float64 {
	ns := make([]float64, n)
	withRingWorker(b, ringJob{Level: "info", Mode: "echo-parked", N: n, Bytes: 8}, 64<<10, 64, func(e *ends) {
		ctx := context.Background()
		payload := make([]byte, 8)
		for i := range ns {
			pause(rest)
			start := time.Now()
			if err := e.out.Write(uint32(i), payload); err != nil {
				b.Fatal(err)
			}
			if _, err := take(ctx, e.in, false); err != nil {
				b.Fatal(err)
			}
			e.in.Release()
			ns[i] = float64(time.Since(start))
		}
	})
	return ns
}

// A socket worker accepts one connection on a Unix socket that it inherited and
// answers on it: 8-byte messages as they are, or as a shmipc server.
var funcSocket = shmkit.Func("bench-socket", func(ctx context.Context, w *shmkit.Worker) error {
	job := shmkit.Config[ringJob](w).Load()
	files, _, ok := w.Resource("socket")
	if !ok {
		return fmt.Errorf("no socket")
	}
	l, err := net.FileListener(files[0])
	files[0].Close()
	if err != nil {
		return err
	}
	defer l.Close()
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	if strings.HasPrefix(job.Mode, "shmipc") {
		return shmipcEcho(conn, job)
	}
	buf := make([]byte, job.Bytes)
	for range job.N {
		if _, err := io.ReadFull(conn, buf); err != nil {
			return err
		}
		if _, err := conn.Write(buf); err != nil {
			return err
		}
	}
	return nil
})

// socketResource hands a listening socket to a worker.
type socketResource struct{ file *os.File }

func (s socketResource) Donate(string, int, int) ([]*os.File, []string, io.Closer, error) {
	return []*os.File{s.file}, nil, nil, nil
}

// withSocketWorker runs f with the path of a Unix socket behind which a worker
// does job.
func withSocketWorker(tb testing.TB, job ringJob, f func(path string)) {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	file, err := l.File()
	if err != nil {
		tb.Fatal(err)
	}
	node, err := shmkit.Start(context.Background(), shmkit.Options{
		Name: fmt.Sprintf("bench-%d", os.Getpid()), Dir: tb.TempDir(), Config: job,
		Sinks:     []logring.Sink{logring.JSON(io.Discard)},
		Resources: map[string]spawn.Resource{"socket": socketResource{file}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	defer node.Close()
	group, err := node.Start(shmkit.Spec{Func: funcSocket, Workers: 1})
	if err != nil {
		tb.Fatal(err)
	}
	f(path)
	if err := group.Wait(); err != nil {
		tb.Fatal(err)
	}
}

func parkedSocket(b *testing.B, n int, rest time.Duration) []float64 {
	ns := make([]float64, n)
	withSocketWorker(b, ringJob{Level: "info", Mode: "socket", N: n, Bytes: 8}, func(path string) {
		c, err := net.Dial("unix", path)
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		buf := make([]byte, 8)
		for i := range ns {
			pause(rest)
			start := time.Now()
			if _, err := c.Write(buf); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(c, buf); err != nil {
				b.Fatal(err)
			}
			ns[i] = float64(time.Since(start))
		}
	})
	return ns
}

// tuneShmipc leaves shmipc-go at its defaults, or gives it what suits it best here:
// buffers that hold each payload in one piece.
func tuneShmipc(c *shmipc.Config, tuned bool) {
	c.MemMapType = shmipc.MemMapTypeMemFd
	c.LogOutput = io.Discard
	if !tuned {
		return
	}
	c.ShareMemoryBufferCap = 128 << 20
	c.BufferSliceSizes = []*shmipc.SizePercentPair{{Size: 64<<10 + 4096, Percent: 50}, {Size: 1<<20 + 4096, Percent: 50}}
}

// shmipcRoundTrips returns the nanoseconds of n round trips to a worker.
func shmipcRoundTrips(b *testing.B, n, bytes int, tuned bool) []float64 {
	ns := make([]float64, n)
	mode := "shmipc"
	if tuned {
		mode = "shmipc-tuned"
	}
	withSocketWorker(b, ringJob{Level: "info", Mode: mode, N: n, Bytes: bytes}, func(path string) {
		conf := shmipc.DefaultSessionManagerConfig()
		conf.Network, conf.Address, conf.SessionNum = "unix", path, 1
		conf.ShareMemoryPathPrefix = filepath.Join(b.TempDir(), "shm")
		tuneShmipc(conf.Config, tuned)
		m, err := shmipc.NewSessionManager(conf)
		if err != nil {
			b.Fatal(err)
		}
		defer m.Close()
		s, err := m.GetStream()
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		payload := make([]byte, bytes)
		for i := range ns {
			start := time.Now()
			if _, err := s.BufferWriter().WriteBytes(payload); err != nil {
				b.Fatal(err)
			}
			if err := s.Flush(false); err != nil {
				b.Fatal(err)
			}
			p, err := s.BufferReader().ReadBytes(bytes)
			if err != nil || len(p) != bytes {
				b.Fatalf("answer of %d bytes: %v", len(p), err)
			}
			s.BufferReader().ReleasePreviousRead()
			ns[i] = float64(time.Since(start))
		}
	})
	return ns
}

func shmipcEcho(conn net.Conn, job *ringJob) error {
	conf := shmipc.DefaultConfig()
	tuneShmipc(conf, job.Mode == "shmipc-tuned")
	s, err := shmipc.Server(conn, conf)
	if err != nil {
		return err
	}
	defer s.Close()
	stream, err := s.AcceptStream()
	if err != nil {
		return err
	}
	defer stream.Close()
	for range job.N {
		p, err := stream.BufferReader().ReadBytes(job.Bytes)
		if err != nil {
			return err
		}
		if _, err := stream.BufferWriter().WriteBytes(p); err != nil {
			return err
		}
		stream.BufferReader().ReleasePreviousRead()
		if err := stream.Flush(false); err != nil {
			return err
		}
	}
	stream.BufferReader().ReadBytes(1) // fails when the client has its last answer and closes
	return nil
}

func pause(d time.Duration) {
	if d > 0 {
		time.Sleep(d)
	}
}
