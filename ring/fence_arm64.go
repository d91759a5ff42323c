package ring

// storeStore keeps stores that follow from being seen before stores that
// precede (DMB ISHST). An STLR alone does not hold back later plain stores.
//
//go:noescape
func storeStore()

// loadLoad keeps loads that follow from being done before loads that precede
// (DMB ISHLD). An LDAR alone may be done before earlier plain loads.
//
//go:noescape
func loadLoad()
