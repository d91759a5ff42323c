package ring_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"shmkit/ring"
	"shmkit/ring/ringtest"
)

// A compact image is what matters of a view: a geometry, the words of both
// pages, and the data. It spares the fuzzer eight kilobytes of zeros.
//
//	1 byte geometry · 256..384+8 of page 0 and its head · the same of page 1 … · data
var compactRanges = [][2]int{
	{0, 8}, {128, 152}, {256, 360}, // consumer: head, asleep, delivered
	{4096, 4108}, {4224, 4248}, {4352, 4456}, {4480, 4584}, // producer: tail, mode, asleep, committed, oldest
}

var geometries = [][2]int{{64, 56}, {256, 120}, {256, 248}, {1024, 100}}

// expand makes a view of a compact image. What the image lacks is zero.
func expand(t testing.TB, image []byte) (view []byte, maxRecord int, done func()) {
	t.Helper()
	g := geometries[0]
	if len(image) > 0 {
		g, image = geometries[int(image[0])%len(geometries)], image[1:]
	}
	size, err := ring.Size(g[0], g[1])
	if err != nil {
		t.Fatal(err)
	}
	view, done = fenced(t, size)
	clear(view)
	for _, r := range compactRanges {
		image = image[copy(view[r[0]:r[1]], image):]
	}
	copy(view[8192:], image)
	return view, g[1], done
}

// compact is the inverse of expand.
func compact(geometry int, view []byte) []byte {
	image := []byte{byte(geometry)}
	for _, r := range compactRanges {
		image = append(image, view[r[0]:r[1]]...)
	}
	return append(image, view[8192:]...)
}

// validImage runs both ends for a while and leaves them in the middle.
func validImage(t testing.TB, seed uint64) []byte {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 0))
	g := rnd.IntN(len(geometries))
	size, _ := ring.Size(geometries[g][0], geometries[g][1])
	view := make([]byte, size)
	policy := []ring.Policy{ring.DropNew, ring.OverwriteOldest}[rnd.IntN(2)]
	p, err := ring.NewProducer(view, ring.ProducerOptions{Policy: policy})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c, err := ring.NewConsumer(view, ring.ConsumerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := ringtest.Stream{Seed: seed, Max: geometries[g][1]}
	for i := range uint64(rnd.IntN(60)) {
		if b, err := p.Reserve(s.Len(i)); err == nil {
			s.Fill(b, i)
			p.Commit(len(b), s.Tag(i))
		}
		if rnd.IntN(2) == 0 {
			c.Next()
		}
		if rnd.IntN(3) == 0 {
			c.Release()
		}
		if rnd.IntN(3) == 0 {
			p.Flush()
		}
	}
	return compact(g, view)
}

// checkImage attaches both ends to an image that may be anything, and uses them.
// Nothing may panic, hang or reach outside (fenced would fault), errors are typed,
// and a quarantine is one event: the same error for ever.
func checkImage(t testing.TB, image []byte) {
	t.Helper()
	view, _, done := expand(t, image)
	checkConsumer(t, view)
	done()
	for _, policy := range []ring.Policy{ring.Block, ring.DropNew, ring.OverwriteOldest} {
		view, maxRecord, done := expand(t, image)
		checkProducer(t, view, maxRecord, policy)
		done()
	}
}

func checkConsumer(t testing.TB, view []byte) {
	t.Helper()
	c, err := ring.NewConsumer(view, ring.ConsumerOptions{Name: "image"})
	if err != nil {
		var bad *ring.CorruptError
		if !errors.As(err, &bad) {
			t.Fatalf("attach: %v is no CorruptError", err)
		}
		return
	}
	defer c.Close()
	for range 3 {
		records, gaps := 0, 0
		for {
			r, ok, err := c.Next()
			if checkQuarantine(t, c, err) {
				return
			}
			if gap := (*ring.GapError)(nil); errors.As(err, &gap) {
				if gaps++; gaps > 3 {
					t.Fatal("a gap without end in a ring at rest")
				}
				continue
			}
			if !ok {
				break
			}
			if records++; records > len(view)/8 {
				t.Fatal("more records than fit")
			}
			sum := byte(0)
			for _, b := range r.Payload { // read each byte
				sum += b
			}
			_ = sum
			inView := uintptr(unsafe.Pointer(unsafe.SliceData(r.Payload))) - uintptr(unsafe.Pointer(unsafe.SliceData(view)))
			if inView < uintptr(len(view)) && (inView < 8192 || inView+uintptr(cap(r.Payload)) > uintptr(len(view))) {
				t.Fatalf("a payload reaches from %d to %d of %d bytes", inView, inView+uintptr(cap(r.Payload)), len(view))
			}
		}
		st := c.Stats()
		if st.Committed != st.Delivered+st.Lost+st.Pending {
			t.Fatalf("counts: %+v", st)
		}
		c.Release()
		if c.Sleep() {
			c.Awake()
		}
	}
}

// checkQuarantine reports whether err is a quarantine, and checks that it stays.
func checkQuarantine(t testing.TB, c *ring.Consumer, err error) bool {
	t.Helper()
	var bad, again *ring.CorruptError
	if !errors.As(err, &bad) {
		return false
	}
	if bad.Error() == "" || bad.Word == "" || bad.Ring != "image" {
		t.Fatalf("%#v", bad)
	}
	for range 3 {
		if _, ok, err := c.Next(); ok || !errors.As(err, &again) || again != bad {
			t.Fatalf("after a quarantine Next returned %v, %v", ok, err)
		}
		c.Release()
		if c.Sleep() {
			t.Fatal("a quarantined consumer fell asleep")
		}
		c.Pending()
		c.Stats()
	}
	return true
}

func checkProducer(t testing.TB, view []byte, maxRecord int, policy ring.Policy) {
	t.Helper()
	p, err := ring.NewProducer(view, ring.ProducerOptions{Name: "image", Policy: policy, Spin: -1, MaxWait: 1})
	if err != nil {
		var bad *ring.CorruptError
		if !errors.As(err, &bad) && !errors.Is(err, ring.ErrPolicy) {
			t.Fatalf("attach: %v is no CorruptError", err)
		}
		return
	}
	defer p.Close()
	for i := range 12 {
		n := i * maxRecord / 11
		b, err := p.Reserve(n)
		if bad := (*ring.CorruptError)(nil); errors.As(err, &bad) {
			if _, again := p.Reserve(0); again != err {
				t.Fatalf("after a quarantine Reserve returned %v", again)
			}
			return
		}
		if err != nil {
			if errors.Is(err, ring.ErrFull) || errors.Is(err, os.ErrDeadlineExceeded) {
				continue
			}
			t.Fatal(err)
		}
		for j := range b {
			b[j] = 0xff
		}
		p.Commit(n, 1)
		if err := p.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	p.Stats()
}

// FuzzImage attaches to arbitrary images.
func FuzzImage(f *testing.F) {
	needSeeds(f)
	for seed := range uint64(8) {
		f.Add(validImage(f, seed))
	}
	f.Fuzz(func(t *testing.T, image []byte) { checkImage(t, image) })
}

// FuzzLive changes the image under two attached ends: the program says what
// happens in which order. A hostile peer does that at any moment.
func FuzzLive(f *testing.F) {
	needSeeds(f)
	f.Fuzz(func(t *testing.T, program []byte) { runLive(t, program) })
}

func runLive(t testing.TB, program []byte) {
	if len(program) < 2 {
		return
	}
	g := geometries[int(program[0])%len(geometries)]
	size, _ := ring.Size(g[0], g[1])
	view, done := fenced(t, size)
	defer done()
	clear(view)
	policy := []ring.Policy{ring.DropNew, ring.OverwriteOldest}[program[1]%2]
	p, err := ring.NewProducer(view, ring.ProducerOptions{Name: "image", Policy: policy})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c, err := ring.NewConsumer(view, ring.ConsumerOptions{Name: "image"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var fault error
	for program = program[2:]; len(program) >= 4; program = program[4:] {
		x, y := program[1], binary.LittleEndian.Uint16(program[2:])
		switch program[0] % 6 {
		case 0:
			p.Write(uint32(y), make([]byte, int(x)%(g[1]+1)))
		case 1:
			p.Reserve(int(y) % (g[1] + 1))
			p.Commit(int(x), 1)
		case 2:
			r, ok, err := c.Next()
			for i := range r.Payload {
				x += r.Payload[i]
			}
			if fault != nil && (ok || err != fault) {
				t.Fatalf("after %v Next returned %v, %v", fault, ok, err)
			}
			if bad := (*ring.CorruptError)(nil); errors.As(err, &bad) {
				fault = err
			}
		case 3:
			c.Release()
		case 4:
			for range c.Batch(int(x)) {
			}
			c.Pending()
			c.Stats()
		case 5: // a word of the rings changes
			r := compactRanges[int(x)%len(compactRanges)]
			off := r[0] + int(y)%(r[1]-r[0])
			if x >= 128 {
				off = 8192 + int(y)%(size-8192)
			}
			view[off] ^= program[0] | 1
		}
	}
}

// needSeeds fails a fuzz test whose seeds have been lost: it would go on to
// succeed, having tried nothing.
func needSeeds(f *testing.F) {
	f.Helper()
	files, _ := filepath.Glob(filepath.Join("testdata", "fuzz", f.Name(), "*"))
	if len(files) == 0 {
		f.Fatalf("no seeds in testdata/fuzz/%s", f.Name())
	}
}

// TestMutatedImages tries valid images with a few bytes or words changed: 10⁶ of
// them under SHMKIT_STRESS. That they are dangerous is shown by a reader that
// trusts what it finds: it must fail on some of them.
func TestMutatedImages(t *testing.T) {
	n := 10_000
	if os.Getenv("SHMKIT_STRESS") != "" {
		n = 1_000_000
	} else if testing.Short() {
		n = 1_000
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	var valid [][]byte
	for i := range uint64(64) {
		valid = append(valid, validImage(t, i))
	}
	trusting, words := 0, []uint64{0, 8, 1 << 31, 1<<32 - 1, 1 << 32, 1 << 63, 1<<64 - 8, 1<<64 - 1}
	for range n {
		image := append([]byte{}, valid[rnd.IntN(len(valid))]...)
		for range 1 + rnd.IntN(3) {
			off := 1 + rnd.IntN(len(image)-8)
			switch rnd.IntN(3) {
			case 0:
				image[off] ^= byte(1 + rnd.IntN(255))
			case 1:
				binary.LittleEndian.PutUint64(image[off:], words[rnd.IntN(len(words))])
			case 2:
				off = 1 + (off-1)&^7
				x := binary.LittleEndian.Uint64(image[off:])
				binary.LittleEndian.PutUint64(image[off:], x+uint64(rnd.IntN(65)-32)*8)
			}
		}
		checkImage(t, image)
		if trustingReader(image) != nil {
			trusting++
		}
	}
	if trusting == 0 {
		t.Error("a reader without checks comes through all of them: they are no test")
	}
	t.Logf("%d images; a reader without checks fails on %d", n, trusting)
}

// trustingReader believes head, tail and lengths.
func trustingReader(image []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	g := geometries[int(image[0])%len(geometries)]
	image = image[1:]
	size, _ := ring.Size(g[0], g[1])
	view := make([]byte, size)
	for _, r := range compactRanges {
		image = image[copy(view[r[0]:r[1]], image):]
	}
	copy(view[8192:], image)
	head, tail := binary.LittleEndian.Uint64(view), binary.LittleEndian.Uint64(view[4096:])
	for i := 0; head != tail; i++ {
		if i > size {
			return errors.New("hangs")
		}
		off := 8192 + head%uint64(g[0])
		n := uint64(binary.LittleEndian.Uint32(view[off:]))
		_ = view[off+8 : off+8+n]
		head += (n + 15) &^ 7
	}
	return nil
}
