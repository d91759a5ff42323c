package seqlock

import (
	"sync/atomic"
	"unsafe"
)

// headerOf casts the start of a view that checkView accepted.
func headerOf(view []byte) *header {
	return (*header)(unsafe.Pointer(unsafe.SliceData(view)))
}

// checkView makes sure that a header can be read at all: 64-bit atomics need
// their alignment (a misaligned one tears or faults) and their 32 bytes.
func checkView(op string, view []byte) error {
	if len(view) < int(unsafe.Sizeof(header{})) {
		return layoutErr(op, ErrGeometry, "view of %d bytes, a header alone takes %d", len(view), unsafe.Sizeof(header{}))
	}
	if uintptr(unsafe.Pointer(unsafe.SliceData(view)))%wordSize != 0 {
		return layoutErr(op, ErrGeometry, "view is not 8-byte aligned")
	}
	return nil
}

// format writes the header. The form code goes last: a process killed before
// that leaves a view that is not formatted, and can be formatted again.
func format(op string, view []byte, g geometry) error {
	if err := g.check(op); err != nil {
		return err
	}
	if err := checkView(op, view); err != nil {
		return err
	}
	if need := g.size(); len(view) < need {
		return layoutErr(op, ErrGeometry, "view of %d bytes, %d slots of %d bytes need %d", len(view), g.slots, g.payload, need)
	}
	h := headerOf(view)
	// Loaded here, stored below by an earlier format; nothing else is read on
	// its strength.
	switch form(atomic.LoadUint32(&h.form)) {
	case formBytes, formTyped, formOddEven:
		return layoutErr(op, ErrFormatted, "holds a %v", form(atomic.LoadUint32(&h.form)))
	}
	// Stored by the owner alone; loaded by every opener after the form code.
	// amd64: stores become visible in program order. arm64: each atomic store is
	// an STLR, so the form code is not visible before the fields above it.
	atomic.StoreUint64(&h.published, 0)
	atomic.StoreUint32(&h.payload, uint32(g.payload))
	atomic.StoreUint32(&h.slots, uint32(g.slots))
	atomic.StoreUint64(&h.schema, g.schema)
	atomic.StoreUint32(&h.form, uint32(g.form))
	return nil
}

// open reads the geometry out of a view once and bounds it by the view's
// length. want holds what the caller knows: the form, and for typed forms the
// payload and schema.
func open(op string, view []byte, want geometry) (geometry, error) {
	if err := checkView(op, view); err != nil {
		return geometry{}, err
	}
	h := headerOf(view)
	// Stored once by format, in the order form last; loaded here in the order
	// form first, so a form code seen means fields seen. amd64: loads are made
	// in program order. arm64: LDAR, nothing after it is read before it. A
	// hostile owner may change any of them at any time: each is loaded exactly
	// once and the private copy is checked.
	g := geometry{form: form(atomic.LoadUint32(&h.form))}
	g.payload = int(atomic.LoadUint32(&h.payload))
	g.slots = int(atomic.LoadUint32(&h.slots))
	g.schema = atomic.LoadUint64(&h.schema)

	switch g.form {
	case want.form:
	case formBytes, formTyped, formOddEven:
		return geometry{}, layoutErr(op, ErrMismatch, "holds a %v, this is to be a %v", g.form, want.form)
	default:
		return geometry{}, layoutErr(op, ErrNotFormatted, "")
	}
	if err := g.check(op); err != nil {
		return geometry{}, err
	}
	if want.payload != 0 && (g.payload != want.payload || g.schema != want.schema) {
		return geometry{}, layoutErr(op, ErrMismatch,
			"holds a type of %d bytes, schema %#x, this build has %d bytes, schema %#x: rebuild or restart the older side",
			g.payload, g.schema, want.payload, want.schema)
	}
	if need := g.size(); len(view) < need {
		return geometry{}, layoutErr(op, ErrGeometry, "view of %d bytes, %d slots of %d bytes need %d", len(view), g.slots, g.payload, need)
	}
	return g, nil
}
