package koanfsource

import (
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
	yamlv3 "go.yaml.in/yaml/v3"
)

// places find the line of each key, in a file that has been parsed already: for
// messages, so what is not found is left out.
var places = map[string]func(data []byte) map[string]string{
	".toml": tomlPlaces,
	".yaml": yamlPlaces,
	".yml":  yamlPlaces,
}

// path joins keys as cfgblob.Lookup takes them apart.
func path(elems []string) string {
	escaped := make([]string, len(elems))
	for i, e := range elems {
		escaped[i] = pathEscaper.Replace(e)
	}
	return strings.Join(escaped, ".")
}

var pathEscaper = strings.NewReplacer(`\`, `\\`, ".", `\.`)

func line(n int) string { return "line " + strconv.Itoa(n) }

func yamlPlaces(data []byte) map[string]string {
	where := map[string]string{}
	var doc yamlv3.Node
	if yamlv3.Unmarshal(data, &doc) == nil && len(doc.Content) > 0 {
		yamlWalk(where, doc.Content[0], nil)
	}
	return where
}

// yamlWalk does not follow aliases: what is below one stands where the alias does, and
// files in which they multiply stay small.
func yamlWalk(where map[string]string, n *yamlv3.Node, at []string) {
	below := at[:len(at):len(at)]
	switch n.Kind {
	case yamlv3.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			to := append(below, key.Value)
			where[path(to)] = line(key.Line)
			yamlWalk(where, value, to)
		}
	case yamlv3.SequenceNode:
		for i, value := range n.Content {
			to := append(below, strconv.Itoa(i))
			where[path(to)] = line(value.Line)
			yamlWalk(where, value, to)
		}
	}
}

func tomlPlaces(data []byte) map[string]string {
	where := map[string]string{}
	rows := map[string]int{} // of arrays of tables
	var table []string
	var p unstable.Parser
	p.Reset(data)
	for p.NextExpression() {
		e := p.Expression()
		at := table[:len(table):len(table)]
		if e.Kind != unstable.KeyValue {
			at = nil
		}
		n := 0
		for keys := e.Key(); keys.Next(); {
			k := keys.Node()
			at = append(at, string(k.Data))
			if n = p.Shape(k.Raw).Start.Line; where[path(at)] == "" {
				where[path(at)] = line(n)
			}
			if count := rows[path(at)]; count > 0 && !(e.Kind == unstable.ArrayTable && keys.IsLast()) {
				at = append(at, strconv.Itoa(count-1)) // the last row of an array so far
			}
		}
		switch e.Kind {
		case unstable.Table:
			table = at
		case unstable.ArrayTable:
			rows[path(at)]++
			table = append(at, strconv.Itoa(rows[path(at)]-1))
			where[path(table)] = line(n)
		}
	}
	return where
}
