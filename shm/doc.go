// Package shm shares memory between processes: it makes segments that cannot be
// pulled away, hands them to workers, and lets them wait for each other.
//
// The owner makes a segment and gives each worker a descriptor of its own:
//
//	s, err := shm.Create(shm.Options{Name: "wordcount.config", Kind: shm.KindOf("CONF"), Size: 64 << 10})
//	…
//	f, err := s.Reopen()
//	cmd.ExtraFiles = append(cmd.ExtraFiles, f)
//
// The worker attaches and sees the same bytes:
//
//	s, err := shm.Attach(os.NewFile(3, "config"), shm.Expect{Kind: shm.KindOf("CONF")})
//	…
//	region := s.Region()
//
// What holds for every segment:
//
//   - A worker cannot write to what it was handed read-only, by no system call on
//     a descriptor or a mapping, not even as root. See below for what is left.
//   - An anonymous segment cannot shrink: touching it never faults.
//   - All memory is reserved when a segment is made. If there is not enough, that
//     is an error with two numbers, what was needed and what was there.
//   - A segment of another version, kind or schema, of another byte order, one
//     that is damaged or cut off, is refused before a byte of it is used.
//   - The name of a dead owner's segment is free at once. Nobody cleans up
//     /dev/shm by hand.
//   - At most one thread of a process is parked for any number of goroutines in
//     [Wait], and none when nobody waits.
//   - Every error is an [Error], which names the segment and says what to do. The
//     package never panics and never prints.
//
// Most programs need [Create], [Segment.Reopen], [Attach], [Segment.Region] and
// [Segment.Close]. Packages such as ring and seqlock turn a region into
// something that two processes can use at the same time.
//
// # Two kinds
//
// An anonymous segment ([Create]) is a sealed memfd. It has no name in any
// directory, and it is gone when the last process that maps it is.
//
// A named segment ([CreateNamed], [OpenNamed], [OpenOrCreateNamed]) is a file in
// a directory of mode 0700. Others find it by its name, and what a dead process
// left in it can still be read ([Expect].Salvage). But a file cannot be sealed:
// whoever has the same uid can cut it off under a mapping, and touching the
// missing part is a signal that ends a Go program. [Segment.Access] turns it into
// an error.
//
// # A segment
//
//	┌──────────────────┬─────────────────────────────────────┬─────────┐
//	│ header, 4096 B   │ region, exactly Options.Size bytes  │ padding │
//	└──────────────────┴─────────────────────────────────────┴─────────┘
//
// The header is written once and checksummed with xxhash, except for one word of
// state. A process checks a private copy of it when it attaches, and never
// looks at the shared one again.
//
// # Who can do what
//
// HandOff ReadOnly rests on the seal F_SEAL_FUTURE_WRITE: the owner's mapping,
// made before the seal, is the only one that can ever be written through. A
// read-only descriptor alone protects nothing, because a process of the same uid
// changes the mode back and opens it again. These paths were tried by a second
// process, and are tried by the package's tests:
//
//	path                                       read-only + seal   … + Undumpable
//	mmap or mprotect for writing               refused            refused
//	write, splice, read into the mapping       refused            refused
//	ftruncate, hole punch, MADV_REMOVE         refused            refused
//	chmod and reopen of /proc/self/fd/N        refused            refused
//	reopen of /proc/OWNER/fd/N, pidfd_getfd    refused            refused, no descriptor either
//	lifting or adding seals                    refused            refused
//	process_vm_writev, /proc/OWNER/mem,        possible for the   refused
//	  ptrace of the owner                      same uid
//	the same by root or CAP_SYS_PTRACE         possible           possible
//
// So call [Undumpable] in the owner before the first worker starts if workers of
// the same uid may be hostile, or run them under another uid, to which the
// kernel refuses the last paths anyway.
//
// What cannot be protected:
//
//   - A segment with HandOff ReadWrite can be written by everybody who has it, at
//     any time, wherever they like. Its size is sealed all the same. Read it as
//     hostile input: load once, check, then use.
//   - A named segment can be written, cut off and removed by the owner's uid.
//   - An owner that restarts cannot write to its former segment any more than
//     others can. It makes a new one and hands that out.
//   - What a worker reads it can pass on: it may copy the descriptor to anybody.
//   - A worker can wake those who wait, for nothing, and keep memory alive after
//     its owner has closed it.
//
// # Lifetime
//
// [Segment.Region] is valid until [Segment.Close], and the compiler does not
// help: after it, the addresses belong to nobody or to somebody else. Where
// goroutines come and go, each takes a [View]; Close refuses while one is out,
// and [Segment.CloseWait] waits. Goroutines in [Wait] are sent away by both.
//
// # Limits and placement
//
// The memory is charged to the process that makes the segment, in its memory
// cgroup, and lies on the NUMA node that it runs on then, unless
// Options.NUMANodes says otherwise. Huge pages, prefaulting and locking are
// asked for in [Options]; [Info] tells what was got.
//
// # Systems
//
// Linux on amd64 and arm64: 5.1 or later for anonymous segments, 5.16 for the
// best way to wait. Elsewhere the package compiles and returns
// errors.ErrUnsupported.
//
// The layout has a version of its own, checked by [Attach]: within one major
// version any two builds understand each other. The ideas come from the Linux
// manual (memfd_create(2), fcntl(2), futex(2)), gVisor's flipcall and sharedmem,
// and LMAX's and Aeron's use of mapped memory; the leader and its followers in
// [Wait] from Schmidt's pattern of that name.
package shm
