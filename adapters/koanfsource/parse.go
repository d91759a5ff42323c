package koanfsource

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/v2"
	yamlv3 "go.yaml.in/yaml/v3"

	"shmkit/cfgblob"
)

// jsonParser reads JSON as the store of a run does. Unlike koanf's own parser it
// leaves numbers as they are written (koanf's become float64, which changes
// integers above 2^53) and refuses a key that stands twice, null instead of an
// object, and text after the object.
type jsonParser struct{}

func (jsonParser) Unmarshal(data []byte) (map[string]any, error) { return cfgblob.Parse(data) }
func (jsonParser) Marshal(doc map[string]any) ([]byte, error)    { return json.Marshal(doc) }

// yamlParser refuses what koanf's parser would leave out silently: everything
// after the first document of a file.
type yamlParser struct{ *yaml.YAML }

func (p yamlParser) Unmarshal(data []byte) (map[string]any, error) {
	d := yamlv3.NewDecoder(bytes.NewReader(data))
	var first, second yamlv3.Node
	if d.Decode(&first) == nil {
		switch err := d.Decode(&second); {
		case err == nil:
			return nil, fmt.Errorf("line %d: a second document begins here, only one is read", second.Line)
		case err != io.EOF:
			return nil, err
		}
	}
	return p.YAML.Unmarshal(data)
}

// checked brings the result of any parser to what JSON can express.
type checked struct{ koanf.Parser }

func (c checked) Unmarshal(data []byte) (map[string]any, error) {
	doc, err := c.Parser.Unmarshal(data)
	if err != nil {
		return nil, err
	}
	if doc == nil {
		return map[string]any{}, nil // a YAML or TOML file without any key
	}
	for key, v := range doc {
		if doc[key], err = normalize(v, key); err != nil {
			return nil, err
		}
	}
	return doc, nil
}
