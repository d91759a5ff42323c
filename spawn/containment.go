package spawn

import "strings"

// Containment is a set of means that keep the processes of a run together, so that
// none of them is left when a worker or the server ends. The first two are always in
// force. The others are asked for in Options.Contain, and used where the system lets
// this process: [Server.Containment] says which are.
//
//	                    reaches, when a worker ends         when the server is killed
//	ContainParentDeath  –                                   the workers
//	ContainGroups       its process group                   –
//	ContainSubreaper    also what has left the group        –
//	ContainGuardian     –                                   everything that still has its
//	                                                        environment
//	ContainCgroup       –                                   with ContainGuardian: everything
//	ContainNamespace    –                                   everything
//
// Close ends everything that the means in force reach.
type Containment uint

const (
	// ContainParentDeath: the kernel kills the workers when the server has ended
	// (PR_SET_PDEATHSIG); function workers also see the end of the control socket.
	ContainParentDeath Containment = 1 << iota

	// ContainGroups: each worker leads a process group, which is killed after it.
	ContainGroups

	// ContainSubreaper: processes whose parents have ended become children of the
	// server (PR_SET_CHILD_SUBREAPER), which kills those of a worker that has ended,
	// wherever setsid and double forks took them. It knows them by SHMKIT_MARK in
	// their environment, and touches no other child of this process. But orphans of
	// other children of this process become its children, too: leave it out if the
	// program is not prepared for that.
	ContainSubreaper

	// ContainGuardian: a small process, this binary once more, waits for the end of
	// the server and kills then whatever has SHMKIT_MARK in its environment, and what
	// is in the cgroup. It ends with that, or with Close.
	ContainGuardian

	// ContainCgroup: workers run in a version 2 cgroup of the run, below the one of
	// the server. It needs the right to make one there, Linux 5.14 for cgroup.kill,
	// and a guardian for the case that the server is killed.
	ContainCgroup

	// ContainNamespace: workers run in a process-number namespace of the run, whose
	// first process ends with the server: the kernel kills all others then, at once
	// and without exception. It needs root (CAP_SYS_ADMIN). The workers see process
	// numbers of their own, which are not those in /proc and in [Info].
	ContainNamespace
)

// ContainWell is what most programs that own their process should ask for.
const ContainWell = ContainSubreaper | ContainGuardian | ContainCgroup

var containNames = []string{"parent-death", "groups", "subreaper", "guardian", "cgroup", "namespace"}

// String lists the means: "parent-death,groups,guardian".
func (c Containment) String() string {
	var names []string
	for i, name := range containNames {
		if c&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}
