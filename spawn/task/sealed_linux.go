package task

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_SEAL

// sealedFile puts bytes into a memory file that cannot be changed any more.
func sealedFile(b []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("shmkit.task", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "task")
	if _, err = f.Write(b); err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// readSealed reads such a file. Whoever sent it may have sent anything: a FIFO or a
// device would make us wait, a file that somebody still writes to would change under
// the reader. Only memory files have seals.
func readSealed(f *os.File, max int) ([]byte, error) {
	has, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	if err != nil || has&seals != seals {
		return nil, errors.New("the payload is not in a sealed memory file")
	}
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if fi.Size() > int64(max) {
		return nil, &SizeError{"payload", int(fi.Size()), max}
	}
	b := make([]byte, fi.Size())
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, fi.Size()), b); err != nil {
		return nil, err
	}
	return b, nil
}
