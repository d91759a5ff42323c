//go:build amd64 || arm64

package ring

// pause executes the machine's spin-wait hint n times. It frees the core for a
// sibling thread and, above all, leaves the shared line alone in the meantime.
//
//go:noescape
func pause(n int)
