package recfile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"shmkit/dataio/recfile"
)

// inFolder is a folder for an example's files.
func inFolder(do func(dir string) error) {
	dir, err := os.MkdirTemp("", "recfile-example-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = do(dir)
	}
	if err != nil {
		fmt.Println(err)
	}
}

// connect stands in for spawn, which starts a worker with what Donate gives, carries its
// doorbell, and closes the lease when it is dead.
func connect(s *recfile.Server) (c *recfile.Client, dead func() error, err error) {
	files, words, lease, err := s.Donate("count", 0, 1)
	if err != nil {
		return nil, nil, err
	}
	bell := func() error {
		lease.(interface{ Message([]byte, []*os.File) }).Message(nil, nil)
		return nil
	}
	c, err = recfile.Attach(files, words, bell)
	return c, lease.Close, err
}

// The node serves a file, a worker appends to it. It appears when it is complete.
func Example() {
	inFolder(func(dir string) error {
		path := filepath.Join(dir, "results.csv")
		s, err := recfile.NewServer(map[string]recfile.Options{"results.csv": {Path: path, Header: []byte("path,lines")}})
		if err != nil {
			return err
		}
		w, dead, err := connect(s)
		if err != nil {
			return err
		}
		err = w.File("results.csv").Append([]byte("a.go,42"))
		fmt.Fprintf(w.File("results.csv"), "%s,%d\n", "b.go", 7)
		fmt.Println(err, w.File("results.cvs").Append(nil))

		err = errors.Join(w.Close(), dead(), s.Close())
		fmt.Printf("%+v\n", s.Stats("results.csv"))
		b, readErr := os.ReadFile(path)
		fmt.Print(string(b))
		return errors.Join(err, readErr)
	})
	// Output:
	// <nil> recfile: append to "results.cvs": unknown file: the node has: results.csv
	// {Attempted:2 Written:2 Refused:0 Lost:0 Cut:0}
	// path,lines
	// a.go,42
	// b.go,7
}

// A large record is built in shared memory, and not copied there.
func ExampleFile_Reserve() {
	inFolder(func(dir string) error {
		path := filepath.Join(dir, "blocks")
		s, err := recfile.NewServer(map[string]recfile.Options{"blocks": {Path: path, Format: recfile.Frames, MaxRecord: 1 << 20}})
		if err != nil {
			return err
		}
		w, dead, err := connect(s)
		if err != nil {
			return err
		}
		f := w.File("blocks")
		buf, err := f.Reserve(1 << 20) // the most that it may become
		if err != nil {
			return err
		}
		n := copy(buf, "a block")
		err = errors.Join(f.Commit(n), f.Flush(context.Background()))
		fmt.Println(s.Stats("blocks").Written, err)
		return errors.Join(w.Close(), dead(), s.Close())
	})
	// Output: 1 <nil>
}

// A worker that has other things to do than to wait for a slow disk.
func ExampleFile_AppendContext() {
	inFolder(func(dir string) error {
		s, err := recfile.NewServer(map[string]recfile.Options{"r": {Path: filepath.Join(dir, "r")}})
		if err != nil {
			return err
		}
		w, dead, err := connect(s)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := w.File("r").AppendContext(ctx, []byte("in time")); errors.Is(err, context.DeadlineExceeded) {
			fmt.Println("not appended")
		}
		fmt.Println(w.Flush(ctx), s.Stats("r").Written)
		return errors.Join(w.Close(), dead(), s.Close())
	})
	// Output: <nil> 1
}

// A run that failed leaves its file unfinished; the next one goes on with it. What was
// no whole record is kept beside it.
func ExampleServer_Abandon() {
	inFolder(func(dir string) error {
		path := filepath.Join(dir, "r")
		run := func(end func(*recfile.Server) error, rec string) error {
			s, err := recfile.NewServer(map[string]recfile.Options{"r": {Path: path, Resume: true}})
			if err != nil {
				return err
			}
			w, dead, err := connect(s)
			if err != nil {
				return err
			}
			fmt.Println("bytes cut off:", s.Stats("r").Cut)
			return errors.Join(w.File("r").Append([]byte(rec)), w.Close(), dead(), end(s))
		}
		if err := run((*recfile.Server).Abandon, "first"); err != nil {
			return err
		}
		f, err := os.OpenFile(path+".partial", os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteString("tor") // as a killed node may leave it
		err = errors.Join(err, f.Close(), run((*recfile.Server).Close, "second"))
		b, readErr := os.ReadFile(path)
		cut, cutErr := os.ReadFile(path + ".cut-1")
		fmt.Printf("%q, and beside it %q\n", b, cut)
		return errors.Join(err, readErr, cutErr)
	})
	// Output:
	// bytes cut off: 0
	// bytes cut off: 3
	// "first\nsecond\n", and beside it "tor"
}

// Reading a file of frames.
func ExampleRecords() {
	file := bytes.NewReader([]byte{
		2, 0, 0, 0, 0x59, 0x72, 0x5a, 0x88, 'h', 'i',
		0, 0, 0, 0, 0xc7, 0x4b, 0x67, 0x48,
		9, 0, 0, 0, // torn
	})
	for rec, err := range recfile.Records(file) {
		fmt.Printf("%q %v\n", rec, err)
	}
	// Output:
	// "hi" <nil>
	// "" <nil>
	// "" torn record
}
