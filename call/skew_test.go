//go:build linux

package call_test

import (
	"context"
	"errors"
	"math"
	"os"
	"strings"
	"syscall"
	"testing"

	"shmkit/call"
)

type ratio struct {
	Half func(ctx context.Context, x float64) (float64, error)
}

// What has no JSON form fails the call, on the side where it is.
func TestValuesWithoutJSON(t *testing.T) {
	server := serve(t, call.Options{Name: "box"}, ratio{func(_ context.Context, x float64) (float64, error) { return math.Inf(1), nil }})
	api := bind[ratio](t, connect(t, server, 0))
	var e *call.Error
	if _, err := api.Half(t.Context(), math.NaN()); !errors.As(err, &e) || e.Sent || !strings.Contains(err.Error(), `call: "box".Half: argument 1: json: unsupported value: NaN`) {
		t.Error(err)
	}
	if _, err := api.Half(t.Context(), 1); !errors.As(err, &e) || !e.Sent || !strings.Contains(err.Error(), "result 1: json: unsupported value: +Inf") {
		t.Error(err)
	}
}

// An owner of another build is not believed: the call fails, and says what to do.
func TestSkewedOwner(t *testing.T) {
	for _, c := range []struct{ answer, says string }{
		{message(1, 7, 0, 0), "message of kind 7 from the owner: restart the worker with the owner's build"},
		{message(9, 3, 0, 0), "answer to call 9, which was not made: restart the worker with the owner's build"},
		{message(1, 3, 0, 0), "result: a value is cut short or left over: worker and owner are not the same program: restart the worker"},
		{message(1, 3, 0, 0, "1", "2"), "result: a value is cut short or left over"},
		{message(1, 3, 0, 0, "true"), "result: value 1: json: cannot unmarshal bool"},
		{message(1, 4, 0, 0) + "{", "the owner's error cannot be read"},
		{"short", "message of 5 bytes, at least 16"},
		{message(1, 3, 0, 0, strings.Repeat("1", 1024)), "message of more than 1024 bytes"},
	} {
		fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		owner := os.NewFile(uintptr(fds[0]), "owner")
		signature := signatureOf(t)
		conn, err := call.Attach([]*os.File{os.NewFile(uintptr(fds[1]), "worker")}, []string{"call=1", "name=box", "calls=4", "bytes=1024", "m=Half/" + signature})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			owner.Read(make([]byte, 2048))
			owner.Write([]byte(c.answer))
		}()
		_, err = bind[ratio](t, conn).Half(t.Context(), 1)
		var e *call.Error
		if !errors.As(err, &e) || !e.Sent || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v\nwant %q", err, c.says)
		}
		conn.Close()
		owner.Close()
	}
}

// signatureOf is the word for ratio's only function.
func signatureOf(t *testing.T) string {
	server := serve(t, call.Options{}, ratio{func(_ context.Context, x float64) (float64, error) { return x / 2, nil }})
	files, words, lease, err := server.Donate("here", 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	files[0].Close()
	lease.Close()
	_, signature, _ := strings.Cut(words[len(words)-1], "/")
	return signature
}
