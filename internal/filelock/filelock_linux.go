package filelock

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// local refuses file systems that several machines share: there flock may hold
// on one of them only.
func local(f *os.File) error {
	var st unix.Statfs_t
	var err error
	for {
		if err = unix.Fstatfs(int(f.Fd()), &st); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name(), os.NewSyscallError("fstatfs", err))
	}
	if name := shared[uint32(st.Type)]; name != "" {
		return fmt.Errorf("%s is on %s, where a lock does not reach other machines: choose a file on this machine, or give up the lock", f.Name(), name)
	}
	return nil
}

var shared = map[uint32]string{
	unix.NFS_SUPER_MAGIC:   "NFS",
	unix.SMB_SUPER_MAGIC:   "SMB",
	unix.SMB2_SUPER_MAGIC:  "SMB",
	unix.CIFS_SUPER_MAGIC:  "SMB",
	unix.CEPH_SUPER_MAGIC:  "CephFS",
	unix.AFS_SUPER_MAGIC:   "AFS",
	unix.OCFS2_SUPER_MAGIC: "OCFS2",
	0x0bd00bd0:             "Lustre",
	0x47504653:             "GPFS",
	0x19830326:             "BeeGFS",
}

// holder finds the process that holds a lock on the file in /proc/locks, whose
// lines read
//
//	1: FLOCK  ADVISORY  WRITE 4711 fd:01:131074 0 EOF
func holder(path string) int {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return 0
	}
	f, err := os.Open("/proc/locks")
	if err != nil {
		return 0
	}
	defer f.Close()
	want := fmt.Sprintf("%02x:%02x:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)), st.Ino)
	inode := want[strings.LastIndexByte(want, ':'):]
	near := 0
	for s := bufio.NewScanner(f); s.Scan(); {
		w := strings.Fields(s.Text())
		if len(w) < 6 || w[1] != "FLOCK" || !strings.HasSuffix(w[5], inode) {
			continue
		}
		pid, err := strconv.Atoi(w[4])
		if err != nil || pid <= 0 { // a process outside our PID namespace shows as 0 or -1
			continue
		}
		if w[5] == want {
			return pid
		}
		near = pid // overlay file systems show another device
	}
	return near
}
