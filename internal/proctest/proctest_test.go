package proctest

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

func TestMain(m *testing.M) { Main(m) }

var _ = Helper("shout", func(args []string) {
	os.Stdout.WriteString(strings.ToUpper(strings.Join(args, " ")))
})

func TestHelperRunsInASecondProcess(t *testing.T) {
	out, err := Command(t, "shout", "who", "goes").Output()
	if err != nil || string(out) != "WHO GOES" {
		t.Fatalf("helper printed %q, %v", out, err)
	}
}

// Each guard is shown to trip: something is left behind on purpose, and the
// inventory has to name it.
func TestInventoryNamesWhatIsLeft(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	for name, leave := range map[string]func() (undo func()){
		"descriptor": func() func() {
			f, err := os.Create(t.TempDir() + "/f")
			if err != nil {
				t.Fatal(err)
			}
			return func() { f.Close() }
		},
		"goroutine": func() func() {
			stop := make(chan bool)
			started := make(chan bool)
			go func() { close(started); <-stop }()
			<-started
			return func() { close(stop) }
		},
		"child": func() func() {
			cmd := exec.Command("sleep", "60")
			if err := cmd.Start(); err != nil {
				t.Skip(err)
			}
			return func() { cmd.Process.Kill(); cmd.Wait() }
		},
	} {
		before := takeInventory()
		undo := leave()
		// One look is enough here: leftovers() would wait for them to go away.
		now := takeInventory()
		seen := len(surplus("", before.files, now.files)) > 0 ||
			now.goroutines > before.goroutines || len(now.children) > len(before.children)
		undo()
		if !seen {
			t.Errorf("a leftover %s went unnoticed", name)
		}
	}
}
