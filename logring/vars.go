package logring

import "encoding/json"

// A Var shows the [Stats] of a collector as JSON. It is what package expvar wants,
// which logring does not import because that brings an HTTP server:
//
//	expvar.Publish("logs", c.Var())
type Var struct{ c *Collector }

// Var returns the collector's account as a variable.
func (c *Collector) Var() Var { return Var{c} }

func (v Var) String() string {
	b, err := json.Marshal(v.c.Stats())
	if err != nil { // it is made of numbers and strings
		return "{}"
	}
	return string(b)
}
