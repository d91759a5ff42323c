package cfgblob

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
)

// Strict returns a function for StoreOptions.Validate that accepts a document
// only if it describes a T completely:
//
//   - every key is one of T's, in exactly its case;
//   - every value has the kind and range of its field; null stands only where
//     there is a pointer, a map, a slice or an interface;
//   - the rules in the `check` tags of the fields are kept;
//   - the Validate() error method of *T, if it has one, returns nil.
//
// A key of T that is missing is not an error unless it is required. The rules:
//
//	required       the key is there
//	min=1,max=64   bounds of a number or a duration ("10ms"), of the characters of
//	               a string, or of the elements of an array or object
//	len=8          exactly as many characters or elements
//	oneof=a b c    one of these words or numbers
//	duration       a string such as "1m30s", in a field that is a string
//	pattern=^a.*$  an RE2 expression that matches in a string; the last rule
//
// A time.Duration may be written "1m30s", or as a number of nanoseconds. Errors are [*SyntaxError], [*FieldError], which names the key, what
// was expected there and the key that was probably meant, and whatever Validate
// returns. The first two never quote a value.
func Strict[T any]() func(doc []byte) error { return StrictType(reflect.TypeFor[T]()) }

// StrictType is [Strict] for a type that is only known while the program runs.
func StrictType(t reflect.Type) func(doc []byte) error {
	return func(doc []byte) error {
		root, err := Parse(doc)
		if err != nil {
			return err
		}
		return decodeTree(reflect.New(t), root, doc, true)
	}
}

// decode makes a T of a snapshot, as Bind documents.
func decode[T any](s Snapshot) (*T, error) {
	root, err := s.root()
	if err != nil {
		return nil, err
	}
	v := new(T)
	if err := decodeTree(reflect.ValueOf(v), root, s.Doc, false); err != nil {
		return nil, s.secrets.clean(err, root)
	}
	return v, nil
}

// decodeTree fills what the pointer v points to from doc; root is doc parsed, and
// is not modified. Without a doc it is made of root.
func decodeTree(v reflect.Value, root any, doc []byte, strict bool) error {
	c := checker{strict: strict}
	if err := c.value(root, v.Type().Elem()); err != nil {
		return err
	}
	if len(c.folded)+len(c.times) > 0 {
		// encoding/json would take these keys for the fields they resemble, and does
		// not know these durations.
		root, doc = copyTree(root), nil
		for _, at := range c.times {
			root, _ = setIn(root, "", at.path, 0, json.Number(strconv.FormatInt(int64(at.d), 10)))
		}
		for _, path := range c.folded {
			unsetIn(root, path)
		}
	}
	if doc == nil {
		var err error
		if doc, err = canonicalValue(root); err != nil {
			return err
		}
	}
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	if err := d.Decode(v.Interface()); err != nil {
		return err
	}
	if check, ok := v.Interface().(interface{ Validate() error }); ok {
		return check.Validate()
	}
	return nil
}
