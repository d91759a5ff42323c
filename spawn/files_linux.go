package spawn

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	filesName     = "_files" // among the donations
	envListenName = "LISTEN_FDNAMES"
)

// checkFiles validates Spec.Files.
func checkFiles(files []NamedFile) error {
	if len(files) > maxFiles {
		return &SpecError{"Spec.Files", fmt.Errorf("%d, at most %d", len(files), maxFiles)}
	}
	seen := map[string]bool{}
	for i, f := range files {
		field := fmt.Sprintf("Spec.Files[%d]", i)
		if err := checkName(f.Name); err != nil {
			return &SpecError{field, fmt.Errorf("name %w", err)}
		}
		if seen[f.Name] {
			return &SpecError{field, fmt.Errorf("name %q is used twice: choose another", f.Name)}
		}
		seen[f.Name] = true
		if f.File == nil {
			return &SpecError{field, fmt.Errorf("%q is nil", f.Name)}
		}
		if _, err := rawFDs([]*os.File{f.File}); err != nil {
			return &SpecError{field, fmt.Errorf("%q: %w: give open files", f.Name, err)}
		}
	}
	return nil
}

// copies duplicates the files for one worker, which shares what they are open to.
func (p *plan) copies() (files []*os.File, names []string, err error) {
	for _, f := range p.files {
		fds, err := rawFDs([]*os.File{f.File})
		if err == nil {
			fds[0], err = unix.FcntlInt(uintptr(fds[0]), unix.F_DUPFD_CLOEXEC, 0)
		}
		if err != nil {
			closeFiles(files)
			return nil, nil, fmt.Errorf("file %q: %w", f.Name, explainFiles(err))
		}
		files, names = append(files, os.NewFile(uintptr(fds[0]), f.Name)), append(names, f.Name)
	}
	return files, names, nil
}

// listenNames is what LISTEN_FDNAMES says of the files.
func (p *plan) listenNames() string {
	names := make([]string, len(p.files))
	for i, f := range p.files {
		names[i] = f.Name
	}
	return strings.Join(names, ":")
}

// File returns the file of that name in [Spec].Files, or nil. It is the same at each
// call; whoever uses it may close it.
func (c *Child) File(name string) *os.File {
	r := c.resource(filesName)
	if r == nil {
		return nil
	}
	for i, n := range r.words {
		if n == name && i < len(r.files) {
			return r.files[i]
		}
	}
	return nil
}
