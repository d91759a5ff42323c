package logring

import _ "unsafe" // for linkname

// procPin keeps the goroutine on its P, and everybody else off it, until
// procUnpin, and returns the number of that P. Between the two nothing may wait,
// call user code or panic. It is how sync.Pool finds its shard; the runtime keeps
// both names open for packages outside the standard library.
//
//go:linkname procPin runtime.procPin
func procPin() int

//go:linkname procUnpin runtime.procUnpin
func procUnpin()
