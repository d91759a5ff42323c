package recfile

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

func (o *Options) partial() string { return o.Path + ".partial" }

// cut is where the n-th end that is no whole record is kept.
func (o *Options) cut(n int) string { return fmt.Sprintf("%s.cut-%d", o.Path, n) }

// complete is the name of the n-th complete file.
func (o *Options) complete(n int) string {
	if o.MaxBytes <= 0 {
		return o.Path
	}
	ext := filepath.Ext(o.Path)
	return fmt.Sprintf("%s.%04d%s", strings.TrimSuffix(o.Path, ext), n, ext)
}

// number is the inverse of complete, for a name without its folder.
func (o *Options) number(name string) (n int, ok bool) {
	base := filepath.Base(o.Path)
	if o.MaxBytes <= 0 {
		return 1, name == base
	}
	ext := filepath.Ext(base)
	digits := strings.TrimSuffix(strings.TrimPrefix(name, strings.TrimSuffix(base, ext)+"."), ext)
	n, err := strconv.Atoi(digits)
	return n, err == nil && n > 0 && filepath.Base(o.complete(n)) == name
}

// completed returns the numbers of the complete files that are there.
func (o *Options) completed() (numbers []int, err error) {
	d, err := os.Open(filepath.Dir(o.Path))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	for _, name := range names {
		if n, ok := o.number(name); ok {
			numbers = append(numbers, n)
		}
	}
	return numbers, err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
