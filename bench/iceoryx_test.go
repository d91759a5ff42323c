package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// iceoryxRTT builds the party of iceoryx and starts its broker, which ends with the
// benchmark; or it returns "" with a plain message.
func iceoryxRTT(b *testing.B) string {
	b.Helper()
	const header = "iceoryx/v*/iceoryx_posh/popo/publisher.hpp"
	headers, _ := filepath.Glob(filepath.Join("/usr/include", header))
	roudi, err := exec.LookPath("iox-roudi")
	if err != nil || headers == nil {
		b.Log("without iceoryx: it is not installed (Debian packages iceoryx, libiceoryx-posh-dev and libiceoryx-hoofs-dev)")
		return ""
	}
	include := filepath.Dir(filepath.Dir(filepath.Dir(headers[0])))
	rel, _ := filepath.Rel("/usr/include", headers[0])
	exe := cxxPeer(b, "iceoryx_rtt", rel, "libiceoryx-posh-dev", "-I"+include, "-liceoryx_posh", "-liceoryx_hoofs", "-liceoryx_platform")
	if exe == "" {
		return ""
	}
	// The broker's names are the machine's: one that runs is somebody else's.
	const segment, folder = "/dev/shm/iceoryx_mgmt", "/tmp/roudi"
	if exists(segment) {
		b.Log("without iceoryx: a broker is running already")
		return ""
	}
	had := exists(folder)
	broker := exec.Command(roudi, "--log-level", "off", "--kill-delay", "1")
	if err := broker.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		broker.Process.Signal(os.Interrupt)
		broker.Wait()
		if !had {
			os.RemoveAll(folder)
		}
	})
	for start := time.Now(); !exists(segment); time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > 10*time.Second {
			b.Log("without iceoryx: its broker does not start")
			return ""
		}
	}
	return exe
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
