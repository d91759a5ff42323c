package ring

// storeStore keeps stores that follow from being seen before stores that
// precede, loadLoad does so for loads. amd64 reorders neither; that the compiler
// does not is what the calls are for.
//
//go:noinline
func storeStore() {}

//go:noinline
func loadLoad() {}
