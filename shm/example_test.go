//go:build linux && (amd64 || arm64)

package shm_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"unsafe"

	"shmkit/shm"
)

// The owner makes a segment, and a worker attaches to it. Here both are in one
// process; in life the descriptor goes through exec.Cmd.ExtraFiles.
func Example() {
	owner, err := shm.Create(shm.Options{Name: "greeting", Kind: shm.KindOf("TEXT"), Size: 100})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer owner.Close()
	copy(owner.Region(), "hello")

	f, err := owner.Reopen()
	if err != nil {
		fmt.Println(err)
		return
	}
	worker, err := shm.Attach(f, shm.Expect{Kind: shm.KindOf("TEXT"), MinSize: 5})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer worker.Close()
	fmt.Printf("%s from %q\n", worker.Region()[:5], worker.Name())

	f, _ = owner.Reopen()
	_, err = shm.Attach(f, shm.Expect{Access: shm.ReadWrite})
	fmt.Println(err)
	// Output:
	// hello from "greeting"
	// shm: attach "greeting": permission denied: handed out read-only: attach with ReadOnly, and ask the owner to change the content
}

func ExampleCreate() {
	_, err := shm.Create(shm.Options{Name: "too large", Size: 1 << 45})
	var space *shm.SpaceError
	fmt.Println(errors.As(err, &space), errors.Is(err, shm.ErrExhausted), space.Need)
	// Output: true true 35184372092928
}

func ExampleAttach() {
	s, _ := shm.Create(shm.Options{Name: "wordcount.ring", Kind: shm.KindOf("RING"), Size: 100})
	defer s.Close()
	f, _ := s.Reopen()
	_, err := shm.Attach(f, shm.Expect{Kind: shm.KindOf("CONF")})
	fmt.Println(err)
	// Output: shm: attach "wordcount.ring": kind RING, want CONF: pass the right segment
}

func ExampleOpenOrCreateNamed() {
	dir, err := os.MkdirTemp("", "") // mode 0700
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	o := shm.Options{Name: "counter", Size: 8, HandOff: shm.ReadWrite}
	first, err := shm.OpenOrCreateNamed(dir, o)
	if err != nil {
		fmt.Println(err)
		return
	}
	second, err := shm.OpenOrCreateNamed(dir, o)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(first.Info().Owner, second.Info().Owner, first.Info().UUID == second.Info().UUID)
	second.Close()
	first.Close()
	_, err = os.Stat(filepath.Join(dir, "counter"))
	fmt.Println(errors.Is(err, os.ErrNotExist))
	// Output:
	// true false true
	// true
}

// If somebody truncates the file meanwhile, Access returns an ErrTruncated, where
// an access to Region would end the program.
func ExampleSegment_Access() {
	dir, err := os.MkdirTemp("", "") // mode 0700
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	s, err := shm.CreateNamed(dir, shm.Options{Name: "ring.0", Size: 100_000})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	sum := 0
	err = s.Access(func(region []byte) error {
		for _, b := range region {
			sum += int(b)
		}
		return nil
	})
	fmt.Println(sum, err)
	// Output: 0 <nil>
}

func ExampleSegment_View() {
	s, _ := shm.Create(shm.Options{Name: "frames", Size: 100})
	view, _ := s.View()
	fmt.Println(s.Close())
	view.Release()
	fmt.Println(s.Close())
	// Output:
	// shm: close "frames": in use by 1 views: release them, or wait with CloseWait
	// <nil>
}

func ExampleSegment_Grow() {
	s, _ := shm.Create(shm.Options{Name: "table", Size: 100})
	defer s.Close()
	f, _ := s.Reopen()
	reader, _ := shm.Attach(f, shm.Expect{})
	defer reader.Close()

	next, _ := s.Grow(10_000)
	defer next.Close()
	copy(next.Region(), s.Region()) // then hand it out, then:
	s.Supersede(next)

	state, _ := reader.State()
	fmt.Println(state, next.Info().Generation, next.Info().UUID == reader.Info().UUID)
	// Output: superseded 2 true
}

func ExampleWait() {
	s, _ := shm.Create(shm.Options{Name: "version", Size: 4})
	defer s.Close()
	word := (*uint32)(unsafe.Pointer(&s.Region()[0]))

	go func() {
		atomic.StoreUint32(word, 7) // first the word,
		shm.Wake(word, 1)           // then the wake
	}()
	for atomic.LoadUint32(word) == 0 {
		if err := shm.Wait(context.Background(), word, 0); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println(atomic.LoadUint32(word))
	// Output: 7
}

func ExampleUndumpable() {
	// In the owner, before the first worker is started:
	if err := shm.Undumpable(); err != nil {
		fmt.Println(err)
	}
}
