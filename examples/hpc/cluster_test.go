package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"
)

// A cluster is a real Slurm with its controller and several nodes on this machine,
// for one test run. The nodes' processors are declared, not real.
type cluster struct {
	dir     string // all of its files; world-readable
	conf    string // slurm.conf
	daemons []*exec.Cmd
}

const (
	envCluster  = "SHMKIT_TEST_SLURM" // set by make test-hpc
	clusterSize = 2
	nodeCPUs    = 8
)

var slurmConf = template.Must(template.New("").Parse(`ClusterName=test
SlurmctldHost={{.Host}}(127.0.0.1)
SlurmctldPort={{.Port}}
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={{.Dir}}/munge/socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SlurmdParameters=config_overrides
KillWait=5
ReturnToService=2
StateSaveLocation={{.Dir}}/state
SlurmctldPidFile={{.Dir}}/slurmctld.pid
SlurmdSpoolDir={{.Dir}}/%n
SlurmdPidFile={{.Dir}}/%n.pid
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
NodeName=n[1-{{.Nodes}}] NodeHostname={{.Host}} NodeAddr=127.0.0.1 Port=[{{.First}}-{{.Last}}] CPUs={{.CPUs}} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:8
`))

// needSlurm says what is missing to run a cluster here.
func needSlurm() error {
	if os.Getenv(envCluster) == "" {
		return errors.New("starts a Slurm: make test-hpc runs it")
	}
	if os.Geteuid() != 0 {
		return errors.New("needs root, to start Slurm's daemons")
	}
	for _, p := range []string{"slurmctld", "slurmd", "munged", "srun", "mpirun", "python3"} {
		if _, err := exec.LookPath(p); err != nil {
			return fmt.Errorf("needs %s: install Debian's packages slurm-wlm, munge, openmpi-bin and python3", p)
		}
	}
	return nil
}

// startCluster starts the daemons and waits until the nodes are idle. The caller
// calls stop in any case.
func startCluster() (c *cluster, err error) {
	c = &cluster{}
	if c.dir, err = os.MkdirTemp("", "shmkit-slurm-"); err != nil {
		return c, err
	}
	c.conf = filepath.Join(c.dir, "slurm.conf")
	host, err := os.Hostname()
	if err != nil {
		return c, err
	}
	host, _, _ = strings.Cut(host, ".")
	port, err := freePorts(clusterSize + 1)
	if err != nil {
		return c, err
	}
	var conf bytes.Buffer
	if err := slurmConf.Execute(&conf, map[string]any{
		"Host": host, "Dir": c.dir, "Port": port, "First": port + 1, "Last": port + clusterSize, "Nodes": clusterSize, "CPUs": nodeCPUs,
	}); err != nil {
		return c, err
	}
	dirs := []string{"", "state"}
	for i := range clusterSize {
		dirs = append(dirs, fmt.Sprintf("n%d", i+1))
	}
	for _, d := range dirs {
		d = filepath.Join(c.dir, d)
		if err := errors.Join(os.MkdirAll(d, 0o755), os.Chmod(d, 0o755)); err != nil {
			return c, err
		}
	}
	if err := os.WriteFile(c.conf, conf.Bytes(), 0o644); err != nil {
		return c, err
	}
	if err := c.startMunge(); err != nil {
		return c, err
	}
	if err := c.daemon(nil, "slurmctld", "-D", "-f", c.conf); err != nil {
		return c, err
	}
	for i := range clusterSize {
		if err := c.daemon(nil, "slurmd", "-D", "-f", c.conf, "-N", fmt.Sprintf("n%d", i+1)); err != nil {
			return c, err
		}
	}
	return c, c.awaitIdle()
}

// startMunge starts the authentication daemon with a key and a socket of its own, as
// its own user, who has to own its files.
func (c *cluster) startMunge() error {
	u, err := user.Lookup("munge")
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	dir := filepath.Join(c.dir, "munge")
	key := make([]byte, 128)
	for i := range key {
		key[i] = byte(i * 7)
	}
	if err := errors.Join(os.Mkdir(dir, 0o711), os.Chmod(dir, 0o711), os.WriteFile(filepath.Join(dir, "key"), key, 0o600),
		os.Chown(dir, uid, gid), os.Chown(filepath.Join(dir, "key"), uid, gid)); err != nil {
		return err
	}
	return c.daemon(&syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, "munged", "--foreground", "--force",
		"--key-file="+dir+"/key", "--socket="+dir+"/socket", "--pid-file="+dir+"/pid", "--seed-file="+dir+"/seed", "--log-file="+dir+"/log")
}

// daemon starts one that stays in the foreground; its output goes to a file.
func (c *cluster) daemon(as *syscall.Credential, name string, args ...string) error {
	log, err := os.OpenFile(filepath.Join(c.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "SLURM_CONF="+c.conf)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	c.daemons = append(c.daemons, cmd)
	return nil
}

func (c *cluster) awaitIdle() error {
	var out []byte
	for limit := time.Now().Add(time.Minute); time.Now().Before(limit); time.Sleep(200 * time.Millisecond) {
		cmd := exec.Command("sinfo", "-h", "-t", "idle", "-o", "%D")
		cmd.Env = append(os.Environ(), "SLURM_CONF="+c.conf)
		out, _ = cmd.CombinedOutput()
		if strings.TrimSpace(string(out)) == strconv.Itoa(clusterSize) {
			return nil
		}
	}
	logs, _ := filepath.Glob(filepath.Join(c.dir, "*.log"))
	var all []string
	for _, l := range logs {
		b, _ := os.ReadFile(l)
		all = append(all, fmt.Sprintf("%s:\n%s", filepath.Base(l), b[max(0, len(b)-2000):]))
	}
	return fmt.Errorf("the nodes of the Slurm did not become idle: sinfo says %q\n%s", out, strings.Join(all, "\n"))
}

// stop ends the daemons, the last started first, and removes their files.
func (c *cluster) stop() {
	for i := len(c.daemons) - 1; i >= 0; i-- {
		d := c.daemons[i]
		d.Process.Signal(syscall.SIGTERM)
		t := time.AfterFunc(10*time.Second, func() { syscall.Kill(-d.Process.Pid, syscall.SIGKILL) })
		d.Wait()
		t.Stop()
	}
	os.RemoveAll(c.dir)
}

// freePorts finds n adjacent TCP ports that nobody listens on.
func freePorts(n int) (first int, err error) {
	for first = 17000 + os.Getpid()%8000; first < 32000; first += n {
		free := true
		for p := first; p < first+n && free; p++ {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
			if free = err == nil; free {
				l.Close()
			}
		}
		if free {
			return first, nil
		}
	}
	return 0, errors.New("no free ports")
}

// A site is a user's place on the cluster: a working folder with the programs, and
// a mark by which all processes of the test are found.
type site struct {
	t    *testing.T
	dir  string
	as   *syscall.Credential // nil: root
	home string              // runtime directory of shmkit for that user
	old  []string            // what was in it before
	mark string
}

// command is to be run by the site's user in the site's folder.
func (s *site) command(name string, args ...string) *exec.Cmd {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	s.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = s.dir
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "SHMKIT_") && !strings.HasPrefix(kv, "SLURM_") && !strings.HasPrefix(kv, "XDG_RUNTIME_DIR=") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, "SLURM_CONF="+slurm.conf, s.mark, "HOME="+s.dir, "TMPDIR="+s.dir, "PATH="+s.dir+":"+os.Getenv("PATH"),
		"OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
	cmd.WaitDelay = 10 * time.Second
	return cmd
}
