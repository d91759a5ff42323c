package call

import (
	"fmt"
	"reflect"
)

// Check says whether [Bind] of a T will succeed in the workers of s, so that an owner
// can find out before it starts any: whether T is a struct of functions, and those of
// them that the owner offers have the same signature there.
func Check[T any](s *Server) error {
	ms, err := methodsOf(reflect.TypeFor[T]())
	if err != nil {
		return err
	}
	offered := map[string]string{}
	for _, m := range s.methods {
		offered[m.name] = m.signature
	}
	return fits(s.o.Name, ms, func(name string) (string, bool) {
		signature, ok := offered[name]
		return signature, ok
	})
}

// fits says which function of an API is offered under another signature.
func fits(server string, ms []method, offered func(name string) (signature string, ok bool)) error {
	for _, m := range ms {
		if signature, ok := offered(m.name); ok && signature != m.signature {
			return fmt.Errorf("call: bind %q: function %s has another signature in the owner: restart the worker with the owner's build", server, m.name)
		}
	}
	return nil
}
