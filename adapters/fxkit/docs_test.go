package fxkit_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What is generated is what the generator makes.
func TestGeneratedIsNew(t *testing.T) {
	for name, file := range map[string]string{"withdrawer": "withdrawer_proxy_test.go", "Tickets": "tickets_proxy_test.go"} {
		path := filepath.Join(t.TempDir(), "new.go")
		if out, err := exec.Command("go", "run", "shmkit/call/proxygen", "-type="+name, "-o", path).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		got, err1 := os.ReadFile(file)
		want, err2 := os.ReadFile(path)
		if err := errors.Join(err1, err2); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: run go generate: %v", file, err)
		}
	}
}

// Each example that the documentation names is there, and its output is checked.
func TestExamplesOfTheDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../docs/INJECTION.md")
	if err != nil {
		t.Fatal(err)
	}
	folders := map[string]string{"": ".", "koanfsource.": "../koanfsource", "cfgblob.": "../../cfgblob"}
	sources := map[string]string{}
	for prefix, dir := range folders {
		files, err := filepath.Glob(filepath.Join(dir, "example*_test.go"))
		if err != nil || files == nil {
			t.Fatal(dir, err)
		}
		for _, path := range files {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			sources[prefix] += string(b)
		}
	}
	named := regexp.MustCompile("`([a-z]+\\.)?(Example\\w*)`").FindAllStringSubmatch(string(text), -1)
	if len(named) < 30 {
		t.Errorf("only %d examples are named", len(named))
	}
	for _, n := range named {
		_, body, ok := strings.Cut(sources[n[1]], "\nfunc "+n[2]+"() {\n")
		body, _, _ = strings.Cut(body, "\n}\n")
		if !ok || !strings.Contains(strings.ToLower(body), "output:") {
			t.Errorf("%s is no example with an output in %q", n[0], folders[n[1]])
		}
	}
	// Each line of the table names one, or says why there is none.
	_, table, _ := strings.Cut(string(text), "| dependency-injector | here | example |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	for _, row := range strings.Split(table, "\n")[1:] {
		if cells := strings.Split(row, " | "); len(cells) != 3 || !strings.Contains(cells[2], "Example") && !strings.HasPrefix(cells[1], "none: ") {
			t.Errorf("without an example: %s", row)
		}
	}
}
