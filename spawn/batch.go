package spawn

import (
	"cmp"
	"os"
	"strconv"
	"strings"
)

// A Rank says which process of a parallel job this one is, as its launcher told
// it in the environment.
type Rank struct {
	Launcher string // "slurm", "openmpi", "mpich" (Hydra, and MPI libraries made of it) or "pmi"
	Job      string // names job and job step on this machine; fit for the name of a run

	Rank, Size           int // in the job step
	LocalRank, LocalSize int // among the processes of the step on this machine; -1, 0: not told
}

// BatchRank reads the variables of srun (SLURM_*), of Open MPI's mpirun
// (OMPI_COMM_WORLD_*) and of PMI launchers (PMI_*, MPI_LOCALRANKID). mpirun
// counts where both are there: in a Slurm job it is srun that starts mpirun's
// daemons, and those the ranks. ok is false outside of them all, and in the
// script of sbatch, which is no rank.
func BatchRank() (r Rank, ok bool) { return batchRank(os.Getenv, os.Getppid()) }

func batchRank(env func(string) string, parent int) (Rank, bool) {
	number := func(name string, missing int) int {
		if n, err := strconv.Atoi(env(name)); err == nil && n >= 0 {
			return n
		}
		return missing
	}
	var r Rank
	switch {
	case env("OMPI_COMM_WORLD_RANK") != "":
		r = Rank{
			Launcher: "openmpi",
			Job:      "ompi-" + cmp.Or(env("PMIX_NAMESPACE"), env("OMPI_MCA_ess_base_jobid"), strconv.Itoa(parent)),
			Rank:     number("OMPI_COMM_WORLD_RANK", -1), Size: number("OMPI_COMM_WORLD_SIZE", 0),
			LocalRank: number("OMPI_COMM_WORLD_LOCAL_RANK", -1), LocalSize: number("OMPI_COMM_WORLD_LOCAL_SIZE", 0),
		}
	case env("PMI_RANK") != "" && env("SLURM_PROCID") == "":
		r = Rank{
			Launcher: "pmi",
			// The launcher's daemon on this machine is the parent of all its ranks here.
			Job:  "pmi-" + cmp.Or(env("PMI_JOBID"), env("SLURM_JOB_ID"), env("PBS_JOBID"), "0") + "-" + strconv.Itoa(parent),
			Rank: number("PMI_RANK", -1), Size: number("PMI_SIZE", 0),
			LocalRank: number("MPI_LOCALRANKID", number("PMI_LOCAL_RANK", -1)), LocalSize: number("MPI_LOCALNRANKS", number("PMI_LOCAL_SIZE", 0)),
		}
		if env("MPI_LOCALRANKID") != "" {
			r.Launcher = "mpich"
		}
	case env("SLURM_PROCID") != "" && env("SLURM_STEP_ID") != "":
		step := env("SLURM_STEP_ID")
		if n := number("SLURM_STEP_ID", -1); n >= 0xfffffff0 {
			step = "batch" // and the other special steps: one task, which srun did not start
			if env("SLURM_STEP_NUM_TASKS") == "" {
				return Rank{}, false
			}
		}
		r = Rank{
			Launcher: "slurm",
			Job:      "slurm-" + cmp.Or(env("SLURM_JOB_ID"), env("SLURM_JOBID")) + "." + step,
			Rank:     number("SLURM_PROCID", -1), Size: number("SLURM_STEP_NUM_TASKS", number("SLURM_NTASKS", 0)),
			LocalRank: number("SLURM_LOCALID", -1),
			LocalSize: tasksHere(cmp.Or(env("SLURM_STEP_TASKS_PER_NODE"), env("SLURM_TASKS_PER_NODE")), number("SLURM_NODEID", 0)),
		}
		if node := env("SLURMD_NODENAME"); node != "" {
			r.Job += "-" + node // several of Slurm's nodes may be one machine
		}
	default:
		return Rank{}, false
	}
	r.Job = cleanName(r.Job)
	return r, r.Rank >= 0 && r.Rank < r.Size
}

// tasksHere reads the element of a list such as "4(x2),3" that belongs to a node.
// It returns 0 when the list does not say.
func tasksHere(list string, node int) int {
	for field := range strings.SplitSeq(list, ",") {
		count, times := field, 1
		if c, rest, ok := strings.Cut(field, "(x"); ok {
			n, err := strconv.Atoi(strings.TrimSuffix(rest, ")"))
			if err != nil {
				return 0
			}
			count, times = c, n
		}
		n, err := strconv.Atoi(count)
		if err != nil || n < 0 || times < 1 {
			return 0
		}
		if node < times {
			return n
		}
		node -= times
	}
	return 0
}
