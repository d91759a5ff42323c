package spawn

import "testing"

// What the launchers set, as seen under Slurm 22.05, Open MPI 4.1 and MPICH 4.0.
func TestBatchRank(t *testing.T) {
	for name, c := range map[string]struct {
		env  map[string]string
		want Rank
		ok   bool
	}{
		"nothing": {ok: false},
		"srun, second node": {map[string]string{
			"SLURM_JOB_ID": "12", "SLURM_STEP_ID": "3", "SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "7", "SLURM_NTASKS": "9",
			"SLURM_LOCALID": "1", "SLURM_NODEID": "1", "SLURM_STEP_TASKS_PER_NODE": "4,3", "SLURMD_NODENAME": "n2",
		}, Rank{"slurm", "slurm-12.3-n2", 5, 7, 1, 3}, true},
		"script of sbatch": {map[string]string{
			"SLURM_JOB_ID": "12", "SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_LOCALID": "0", "SLURM_STEP_ID": "4294967291",
		}, Rank{}, false},
		"salloc's shell": {map[string]string{"SLURM_JOB_ID": "12", "SLURM_NTASKS": "8"}, Rank{}, false},
		"mpirun": {map[string]string{
			"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_RANK": "0", "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
			"PMIX_NAMESPACE": "1234567", "SLURM_JOB_ID": "12", "SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1",
		}, Rank{"openmpi", "ompi-1234567", 2, 4, 0, 2}, true},
		"mpiexec of MPICH": {map[string]string{
			"PMI_RANK": "1", "PMI_SIZE": "2", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2",
		}, Rank{"mpich", "pmi-0-77", 1, 2, 1, 2}, true},
		"rank beyond size": {map[string]string{"PMI_RANK": "2", "PMI_SIZE": "2"}, Rank{"pmi", "pmi-0-77", 2, 2, -1, 0}, false},
		"no number":        {map[string]string{"OMPI_COMM_WORLD_RANK": "x", "OMPI_COMM_WORLD_SIZE": "2"}, Rank{"openmpi", "ompi-77", -1, 2, -1, 0}, false},
	} {
		got, ok := batchRank(func(k string) string { return c.env[k] }, 77)
		if got != c.want || ok != c.ok {
			t.Errorf("%s: %+v, %v; want %+v, %v", name, got, ok, c.want, c.ok)
		}
	}
}

func TestTasksHere(t *testing.T) {
	for _, c := range []struct {
		list       string
		node, want int
	}{
		{"8", 0, 8}, {"4(x2),3", 0, 4}, {"4(x2),3", 1, 4}, {"4(x2),3", 2, 3}, {"4(x2),3", 3, 0},
		{"", 0, 0}, {"x", 0, 0}, {"4(xy)", 0, 0}, {"4(x0),1", 0, 0},
	} {
		if got := tasksHere(c.list, c.node); got != c.want {
			t.Errorf("tasksHere(%q, %d) = %d, want %d", c.list, c.node, got, c.want)
		}
	}
}
