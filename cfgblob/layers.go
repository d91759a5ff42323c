package cfgblob

// A Layer is what one source of configuration holds: defaults, a file, the
// command line.
type Layer struct {
	Name string         // for people: "defaults", "/etc/job.json", "--set"
	Tree map[string]any // from Parse, TreeOf, or any decoder; not modified

	// Where says for the path of a value (see [Lookup]) where in the source it
	// stands: "line 12", "$JOB_LEVEL". A path that is missing stands where the
	// nearest one above it does. It is for errors and [Store.Explain], and may be
	// nil.
	Where map[string]string

	// For says which workers have this layer; everybody by default. See [For].
	For Audience
}

// at says where in the layer the value at path stands; "" if that is not known.
func (l Layer) at(path string) string {
	if len(l.Where) == 0 {
		return ""
	}
	elems, err := splitPath(path)
	for err == nil && len(elems) > 0 {
		if where, ok := l.Where[joinPath(elems)]; ok {
			return where
		}
		elems = elems[:len(elems)-1]
	}
	return ""
}

// Merge lays the layers on top of each other in the order given, so that the
// last one wins, and returns the result, which shares nothing with them.
//
// Objects are merged key by key, to any depth. Everything else (arrays,
// scalars, null, or an object over something that is none) replaces what lies
// below it as a whole. Keys keep their case: "Level" and "level" are two keys.
//
// Trees from decoders other than [Parse] may hold any Go numbers; a value
// without a JSON form is an error that names the layer.
func Merge(layers ...Layer) (map[string]any, error) {
	sum := map[string]any{}
	for _, l := range layers {
		if l.Tree == nil {
			continue
		}
		tree, err := TreeOf(l.Tree)
		if err != nil {
			return nil, &LayerError{l.Name, err}
		}
		overlay(sum, tree)
	}
	return sum, nil
}

// overlay puts top, of which it takes ownership, over base.
func overlay(base, top map[string]any) {
	for key, v := range top {
		above, ok := v.(map[string]any)
		if below, isObject := base[key].(map[string]any); ok && isObject {
			overlay(below, above)
			continue
		}
		base[key] = v
	}
}

// A LayerError says which layer cannot be used.
type LayerError struct {
	Layer string
	Err   error
}

func (e *LayerError) Error() string { return "cfgblob: " + e.Layer + ": " + bare(e.Err) }
func (e *LayerError) Unwrap() error { return e.Err }
