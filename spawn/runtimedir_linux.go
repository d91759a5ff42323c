package spawn

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// A runtimeDir is a directory that holds one directory per run.
type runtimeDir struct {
	path string
	// chosen by RuntimeDir's rules and not by somebody's word: nobody else's, so
	// the last run may remove it.
	chosen bool
}

// RuntimeDir returns the directory that servers use when Options.Dir is empty. It
// need not exist yet. The first of:
//
//	$SHMKIT_DIR
//	$XDG_RUNTIME_DIR/shmkit  when $XDG_RUNTIME_DIR is a directory of this user
//	/run/user/UID/shmkit     when /run/user/UID is one
//	/dev/shm/shmkit-UID      when /dev/shm can be written
//	$TMPDIR/shmkit-UID
//
// A process finds the runs of another only in the same directory: workers are
// told theirs by SHMKIT_DIR.
func RuntimeDir() (string, error) {
	d, err := defaultRuntimeDir()
	return d.path, err
}

func defaultRuntimeDir() (runtimeDir, error) {
	if dir := os.Getenv(envDir); dir != "" {
		return givenRuntimeDir(dir)
	}
	uid := strconv.Itoa(os.Geteuid())
	for _, base := range []string{os.Getenv("XDG_RUNTIME_DIR"), "/run/user/" + uid} {
		if filepath.IsAbs(base) && ownDir(base) {
			return runtimeDir{filepath.Join(base, "shmkit"), true}, nil
		}
	}
	for _, base := range []string{"/dev/shm", os.TempDir()} {
		if fi, err := os.Stat(base); err == nil && fi.IsDir() && unix.Faccessat(unix.AT_FDCWD, base, unix.W_OK|unix.X_OK, unix.AT_EACCESS) == nil {
			return runtimeDir{filepath.Join(base, "shmkit-"+uid), true}, nil
		}
	}
	return runtimeDir{}, &DirError{os.TempDir(), errors.New("cannot be written, nor can /dev/shm: set SHMKIT_DIR to a directory of yours on this machine")}
}

func givenRuntimeDir(dir string) (runtimeDir, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return runtimeDir{}, &DirError{dir, err}
	}
	return runtimeDir{abs, false}, nil
}

func ownDir(path string) bool {
	fi, err := os.Lstat(path)
	return err == nil && fi.IsDir() && owner(fi) == os.Geteuid()
}

func owner(fi fs.FileInfo) int {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}

// madeMode is the mode of a runtime directory that was made here. The sticky bit
// does nothing to a directory that only its owner can write to: it tells the last
// run, which may be another process's, that nobody else wants the directory.
const madeMode = 0o700 | fs.ModeSticky

// ensure makes the directory when it is missing, and refuses one that is not
// safe.
func (d runtimeDir) ensure() error {
	// The parent's file system is the directory's as long as that is missing.
	typ, err := statfsType(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		typ, err = statfsType(filepath.Dir(d.path))
	}
	if err != nil {
		return &DirError{d.path, err}
	}
	if name := sharedFS(typ); name != "" {
		return &DirError{d.path, fmt.Errorf("is on %s, where file locks do not hold between machines: set SHMKIT_DIR to a directory on this machine (tmpfs or a local disk)", name)}
	}
	switch err := os.Mkdir(d.path, madeMode); {
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrExist):
		return &DirError{d.path, errors.Unwrap(err)}
	}
	fi, err := os.Lstat(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return errVanished
	} else if err != nil {
		return &DirError{d.path, errors.Unwrap(err)}
	}
	if err := checkOwnDir(fi); err != nil {
		return &DirError{d.path, err}
	}
	return d.narrow(fi)
}

// drop removes the directory if it was made here and no run is left in it. A server
// that is just starting there makes it again.
func (d runtimeDir) drop() {
	if fi, err := os.Lstat(d.path); err == nil && (d.chosen || fi.Mode() == fs.ModeDir|madeMode) {
		syscall.Rmdir(d.path)
	}
}

// narrow takes away from others what they need not have. The directories of the
// runs are 0700 in any case; a wider runtime directory shows their names, and lets
// whoever can write to it move them away. A given one is left as it is, unless
// everybody could do that.
func (d runtimeDir) narrow(fi fs.FileInfo) error {
	perm := fi.Mode().Perm()
	if d.chosen && perm != 0o700 {
		if err := os.Chmod(d.path, 0o700); err != nil {
			return &DirError{d.path, errors.Unwrap(err)}
		}
	} else if perm&0o002 != 0 && fi.Mode()&fs.ModeSticky == 0 {
		return &DirError{d.path, fmt.Errorf("mode %04o lets everybody write: chmod 700 it", perm)}
	}
	return nil
}

// checkOwnDir refuses what another user may have put in the way.
func checkOwnDir(fi fs.FileInfo) error {
	switch uid := owner(fi); {
	case fi.Mode()&fs.ModeSymlink != 0:
		return errors.New("is a symbolic link, maybe put there by somebody else: remove it, or set SHMKIT_DIR")
	case !fi.IsDir():
		return errors.New("is not a directory: remove it, or set SHMKIT_DIR")
	case uid != os.Geteuid():
		return fmt.Errorf("belongs to uid %d, this process runs as uid %d: set SHMKIT_DIR to a directory of yours", uid, os.Geteuid())
	}
	return nil
}

// statfsType returns the magic number of the file system that holds path. A
// variable for tests, which have no such file system.
var statfsType = func(path string) (int64, error) {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(path, &st)
		if err == unix.EINTR {
			continue
		}
		return int64(st.Type), err
	}
}

// sharedFS names file systems that several machines share. Their locks are
// emulated, optional or missing, and a run is a thing of one machine.
func sharedFS(typ int64) string {
	switch uint32(typ) {
	case unix.NFS_SUPER_MAGIC:
		return "NFS"
	case 0x0bd00bd0:
		return "Lustre"
	case 0x47504653:
		return "GPFS"
	case 0x19830326:
		return "BeeGFS"
	case 0xaad7aaea:
		return "PanFS"
	case 0x20030528:
		return "OrangeFS"
	case 0x01161970:
		return "GFS2"
	case unix.OCFS2_SUPER_MAGIC:
		return "OCFS2"
	case unix.CEPH_SUPER_MAGIC:
		return "CephFS"
	case unix.CIFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC:
		return "SMB"
	case unix.AFS_SUPER_MAGIC, unix.AFS_FS_MAGIC:
		return "AFS"
	case unix.CODA_SUPER_MAGIC:
		return "Coda"
	}
	return ""
}
