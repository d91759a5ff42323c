//go:build !amd64 && !arm64

package ring

// pause spends a little time n times.
func pause(n int) {
	for range n {
		nothing()
	}
}

//go:noinline
func nothing() {}
