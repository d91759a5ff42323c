package logring

import "sync"

// hooks are called before a flush and before the end: by whoever holds something
// back that has to be told.
type hooks struct {
	mu sync.Mutex
	fs []func()
}

func (h *hooks) add(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fs = append(h.fs, f)
}

// run calls them without holding the lock: they log.
func (h *hooks) run() {
	h.mu.Lock()
	fs := h.fs
	h.mu.Unlock()
	for _, f := range fs {
		f()
	}
}
