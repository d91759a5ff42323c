package spawn

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The environment of the workers.
const (
	envRun   = "SHMKIT_RUN"
	envGroup = "SHMKIT_GROUP"
	envRank  = "SHMKIT_RANK"
	envSize  = "SHMKIT_SIZE"
	envDir   = "SHMKIT_DIR"
	envFunc  = "SHMKIT_FUNC" // function workers only; removed by Attach
	envFD    = "SHMKIT_FD"   // function workers only; removed by Attach

	envPython = "PYTHONUNBUFFERED"
)

// Descriptors of a function worker: 0, 1, 2, the control socket, the files of the
// resources in the order of their names, and the binary itself (it has to be open
// at exec; Attach closes it).
const (
	controlFD   = 3
	firstFileFD = 4
)

// Bounds of what resources can ask for, per worker.
const (
	maxResources = 256
	maxFiles     = 128
	maxPlumbing  = 64 << 10 // bytes of SHMKIT_FD; the kernel takes 128 KiB per string
)

// plumbing is what SHMKIT_FD says:
//
//	1;COOKIE;NAME,NFILES[,WORD…][;NAME,NFILES[,WORD…]…]
//
// COOKIE (hexadecimal) is the kernel's number of the worker's end of the control
// socket (SO_COOKIE), or 0. It tells the worker from a process that merely
// inherited the variable.
type plumbing struct {
	cookie    uint64
	resources []donation // sorted by name; the index is the address in messages
}

type donation struct {
	name   string
	nfiles int
	words  []string
}

const plumbingVersion = "1"

func (p plumbing) String() string {
	var b strings.Builder
	b.WriteString(plumbingVersion + ";" + strconv.FormatUint(p.cookie, 16))
	for _, d := range p.resources {
		fmt.Fprintf(&b, ";%s,%d", d.name, d.nfiles)
		for _, w := range d.words {
			b.WriteString("," + w)
		}
	}
	return b.String()
}

func (p plumbing) nfiles() int {
	n := 0
	for _, d := range p.resources {
		n += d.nfiles
	}
	return n
}

func parsePlumbing(s string) (plumbing, error) {
	var p plumbing
	fields := strings.Split(s, ";")
	if len(s) > maxPlumbing || len(fields) < 2 || len(fields) > 2+maxResources {
		return p, errors.New("malformed")
	}
	if fields[0] != plumbingVersion {
		return p, fmt.Errorf("version %.20q, this build reads %s: the worker's binary is not the server's: restart the run", fields[0], plumbingVersion)
	}
	var err error
	if p.cookie, err = strconv.ParseUint(fields[1], 16, 64); err != nil {
		return p, errors.New("malformed cookie")
	}
	for _, f := range fields[2:] {
		parts := strings.Split(f, ",")
		if len(parts) < 2 {
			return p, fmt.Errorf("malformed resource %.80q", f)
		}
		d := donation{name: parts[0], words: parts[2:]}
		if d.nfiles, err = strconv.Atoi(parts[1]); err != nil || d.nfiles < 0 || d.nfiles > maxFiles {
			return p, fmt.Errorf("malformed resource %.80q", f)
		}
		if err := d.check(); err != nil {
			return p, err
		}
		p.resources = append(p.resources, d)
	}
	if n := p.nfiles(); n > maxFiles {
		return p, fmt.Errorf("%d files, at most %d", n, maxFiles)
	}
	return p, nil
}

// check validates a name and the words that came from a resource.
func (d donation) check() error {
	if err := checkName(d.name); err != nil {
		return fmt.Errorf("resource name %w", err)
	}
	for _, w := range d.words {
		if w == "" || strings.ContainsFunc(w, func(r rune) bool { return !wordRune(r) }) {
			return fmt.Errorf("resource %q: word %.80q: want one or more of [A-Za-z0-9._/=-]", d.name, w)
		}
	}
	return nil
}

const maxName = 64

// CheckRunName says what is wrong with the name of a run, if anything is.
func CheckRunName(name string) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("spawn: run name %w", err)
	}
	return nil
}

// checkName validates names of runs, groups and resources: they become file
// names, environment entries and log fields.
func checkName(s string) error {
	switch {
	case s == "":
		return errors.New(`"" is empty: give it a name`)
	case len(s) > maxName:
		return fmt.Errorf("%.20q… is %d bytes long: use at most %d", s, len(s), maxName)
	case strings.ContainsFunc(s, func(r rune) bool { return !nameRune(r) }):
		return fmt.Errorf("%q: use [A-Za-z0-9._-] only", s)
	case s[0] == '.' || s[0] == '-':
		return fmt.Errorf("%q: begin with a letter, a digit or '_'", s)
	}
	return nil
}

// cleanName makes a name that passes checkName out of a program's or function's.
func cleanName(s string) string {
	s = strings.Map(func(r rune) rune {
		if nameRune(r) {
			return r
		}
		return '_'
	}, s)
	if s == "" || s[0] == '.' || s[0] == '-' {
		s = "_" + s
	}
	return s[:min(len(s), maxName)]
}

func nameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-'
}

func wordRune(r rune) bool { return nameRune(r) || r == '/' || r == '=' }

// reservedEnv are the variables only the server sets.
var reservedEnv = []string{envRun, envGroup, envRank, envSize, envDir, envFunc, envFD, "SHMKIT_SHIM", "SHMKIT_MARK", "SHMKIT_GUARD"}

// mergeEnv lays the layers over base. The last value of a key wins and takes its
// place at the end; the reserved keys of base are dropped, since base is the
// environment of a process that may be a worker itself.
func mergeEnv(base []string, layers ...[]string) []string {
	all := slices.Concat(append([][]string{base}, layers...)...)
	seen := make(map[string]bool, len(all))
	out := make([]string, 0, len(all)+len(reservedEnv)+1)
	for _, kv := range slices.Backward(all) {
		key, _, ok := strings.Cut(kv, "=")
		if !ok || seen[key] || slices.Contains(reservedEnv, key) {
			continue
		}
		seen[key] = true
		out = append(out, kv)
	}
	slices.Reverse(out)
	if !seen[envPython] {
		out = append(out, envPython+"=1")
	}
	return out
}

// checkEnv validates the entries a caller gave.
func checkEnv(field string, env []string) error {
	for _, kv := range env {
		key, _, ok := strings.Cut(kv, "=")
		switch {
		case !ok || key == "":
			return &SpecError{field, fmt.Errorf("entry %q: want KEY=value", kv)}
		case strings.IndexByte(kv, 0) >= 0:
			return &SpecError{field, fmt.Errorf("entry %q: holds a NUL byte", kv)}
		case slices.Contains(reservedEnv, key):
			return &SpecError{field, fmt.Errorf("entry %q: %s is set by the server: use another name", kv, key)}
		}
	}
	return nil
}

// lookupEnv returns the value of key in env.
func lookupEnv(env []string, key string) string {
	for _, kv := range slices.Backward(env) {
		if k, v, _ := strings.Cut(kv, "="); k == key {
			return v
		}
	}
	return ""
}
