package spawn

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// How an attribute comes into force before the first instruction of a child. A child
// inherits most of them from the thread that forks it, and the launcher's thread is
// ours alone:
//
//	processor mask, memory policy   set on the launcher before each fork that wants
//	                                another one than the last
//	nice, scheduling, umask         a launcher with these traits, see threadTraits
//	user, cgroup                    the fork itself (SysProcAttr; clone3)
//	resource limits                 belong to the whole process, so that no thread can
//	                                have its own: the child sets them itself, see shim
//
// The other way for the limits would be to trace the child (PTRACE_TRACEME) and set
// them at its exec, which saves the start of a program, but fails under a debugger,
// under strace, and where ptrace is forbidden.

// impose puts a mask on this thread, which must be locked; nil takes it off again.
func (l *launcher) impose(m *seatMask) error {
	if m == l.mask {
		return nil
	}
	if l.mask == nil {
		if err := unix.SchedGetaffinity(0, &l.home); err != nil {
			return os.NewSyscallError("sched_getaffinity", err)
		}
	}
	l.mask = m
	cpus, nodes := &l.home, []uint64(nil)
	if m != nil {
		cpus, nodes = &m.cpus, m.nodes
	}
	if err := unix.SchedSetaffinity(0, cpus); err != nil {
		return os.NewSyscallError("sched_setaffinity", err)
	}
	return setMemPolicy(nodes)
}

// setMemPolicy binds this thread's memory to nodes; nil is the default policy.
func setMemPolicy(nodes []uint64) error {
	const mpolDefault, mpolBind = 0, 2
	var errno syscall.Errno
	if len(nodes) == 0 {
		_, _, errno = unix.Syscall(unix.SYS_SET_MEMPOLICY, mpolDefault, 0, 0)
	} else {
		_, _, errno = unix.Syscall(unix.SYS_SET_MEMPOLICY, mpolBind, uintptr(unsafe.Pointer(&nodes[0])), uintptr(64*len(nodes)+1))
	}
	runtime.KeepAlive(nodes)
	if errno != 0 && (len(nodes) > 0 || errno != syscall.ENOSYS) {
		return os.NewSyscallError("set_mempolicy", errno)
	}
	return nil
}

// assume gives this thread, which must be locked and never be used for anything
// else, its traits.
func (t threadTraits) assume() error {
	if t.umask >= 0 {
		// The umask is the process's, unless the thread leaves the others in this.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return denied("Spec.Process.Umask", strconv.FormatInt(int64(t.umask), 8), os.NewSyscallError("unshare", err), "unshare(CLONE_FS)")
		}
		unix.Umask(t.umask)
	}
	if t.policy != 0 {
		if err := setScheduler(t.policy, t.priority); err != nil {
			return denied("Spec.Process.Scheduling", fmt.Sprintf("policy %d, priority %d", t.policy, t.priority), err, "CAP_SYS_NICE or RLIMIT_RTPRIO")
		}
	}
	if t.nice != 0 {
		// getpriority(2) itself, unlike the C function, returns 20 − nice.
		now, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
		want := max(-20, min(19, 20-now+t.nice))
		if err == nil {
			err = unix.Setpriority(unix.PRIO_PROCESS, 0, want)
		}
		if err != nil {
			return denied("Spec.Process.Nice", strconv.Itoa(t.nice), os.NewSyscallError("setpriority", err), "CAP_SYS_NICE or RLIMIT_NICE for a negative one")
		}
	}
	return nil
}

func setScheduler(policy, priority int) error {
	param := int32(priority)
	_, _, errno := unix.Syscall(unix.SYS_SCHED_SETSCHEDULER, 0, uintptr(policy), uintptr(unsafe.Pointer(&param)))
	if errno != 0 {
		return os.NewSyscallError("sched_setscheduler", errno)
	}
	return nil
}

// rlimits are the names of limits.conf(5).
var rlimits = map[string]int{
	"as": unix.RLIMIT_AS, "core": unix.RLIMIT_CORE, "cpu": unix.RLIMIT_CPU, "data": unix.RLIMIT_DATA,
	"fsize": unix.RLIMIT_FSIZE, "locks": unix.RLIMIT_LOCKS, "memlock": unix.RLIMIT_MEMLOCK,
	"msgqueue": unix.RLIMIT_MSGQUEUE, "nice": unix.RLIMIT_NICE, "nofile": unix.RLIMIT_NOFILE,
	"nproc": unix.RLIMIT_NPROC, "rss": unix.RLIMIT_RSS, "rtprio": unix.RLIMIT_RTPRIO,
	"rttime": unix.RLIMIT_RTTIME, "sigpending": unix.RLIMIT_SIGPENDING, "stack": unix.RLIMIT_STACK,
}

// checkLimitsOf compares resource limits with those of this process.
func checkLimitsOf(limits map[string]uint64) error {
	for name, v := range limits {
		field := fmt.Sprintf("Spec.Process.Limits[%q]", name)
		id, ok := rlimits[name]
		if !ok {
			var names []string
			for n := range rlimits {
				names = append(names, n)
			}
			slices.Sort(names)
			return &SpecError{field, fmt.Errorf("no such limit: use one of %s", strings.Join(names, " "))}
		}
		var own unix.Rlimit
		if err := unix.Getrlimit(id, &own); err == nil && v > own.Max {
			return &SpecError{field, fmt.Errorf("%d is above the hard limit of this process, %d: ask for less, or start it with more", v, own.Max)}
		}
		if need := uint64(firstFileFD + maxFiles/8); name == "nofile" && v < need {
			return &SpecError{field, fmt.Errorf("%d: a worker needs %d to start: ask for more", v, need)}
		}
	}
	return nil
}

// equip checks the attributes of a spec and puts them into the plan.
func (p *plan) equip(spec Spec) (err error) {
	if p.traits, err = spec.Process.traits(); err != nil {
		return err
	}
	if p.traits.umask >= 0 && p.dir == "" {
		// A thread that has a umask of its own has its own working directory, too.
		if p.dir, err = os.Getwd(); err != nil {
			return err
		}
	}
	if err := checkLimitsOf(spec.Process.Limits); err != nil {
		return err
	}
	p.limits = spec.Process.Limits
	if u := spec.Process.User; u != nil {
		if os.Geteuid() != 0 && (int(u.UID) != os.Geteuid() || int(u.GID) != os.Getegid() || len(u.Groups) > 0) {
			return &SpecError{"Spec.Process.User", fmt.Errorf("uid %d, gid %d: %w: this is uid %d", u.UID, u.GID, errNotRoot, os.Geteuid())}
		}
		if os.Geteuid() == 0 {
			p.cred = &syscall.Credential{Uid: u.UID, Gid: u.GID, Groups: u.Groups}
		}
	}
	if dir := spec.Process.Cgroup; dir != "" {
		if p.cgroup, err = openCgroup(dir); err != nil {
			return &SpecError{"Spec.Process.Cgroup", err}
		}
	}
	if err := spec.Placement.check(); err != nil || spec.Placement.Policy == PlaceAnywhere && spec.Placement.Within == "" {
		return err
	}
	if spec.Spares > 0 && spec.Placement.Policy != PlaceAnywhere {
		return &SpecError{"Spec.Spares", errors.New("a spare cannot have the processors of a rank that it does not know yet: use either Spares or Placement")}
	}
	cpus, err := usableProcessors()
	if err != nil {
		return err
	}
	if cpus, err = spec.Placement.within(cpus); err != nil {
		return err
	}
	places := [][]processor{cpus}
	if spec.Placement.Policy != PlaceAnywhere {
		places, err = spec.Placement.deal(cpus)
	}
	if err != nil {
		return err
	}
	for _, place := range places {
		p.masks = append(p.masks, newSeatMask(place, spec.Placement.BindMemory))
	}
	return nil
}

// mask is where the worker of a rank runs; nil is anywhere.
func (p *plan) mask(rank int) *seatMask {
	if len(p.masks) == 0 {
		return nil
	}
	rank = max(rank, 0) // a spare: there is one mask for all
	return p.masks[rank%len(p.masks)]
}

// openCgroup opens the directory of a version 2 cgroup for clone3.
func openCgroup(dir string) (*os.File, error) {
	typ, err := statfsType(dir)
	if err != nil {
		return nil, err
	}
	if typ != unix.CGROUP2_SUPER_MAGIC {
		return nil, fmt.Errorf("%s is not in a version 2 cgroup file system: give a directory below its mount", dir)
	}
	if err := unix.Access(filepath.Join(dir, "cgroup.procs"), unix.W_OK); err != nil {
		return nil, fmt.Errorf("%s: %w: this user must be able to write to its cgroup.procs (systemd: Delegate=yes)", dir, err)
	}
	return os.Open(dir)
}
