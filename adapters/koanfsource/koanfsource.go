// Package koanfsource reads configuration files, and whatever else knadh/koanf can
// read, as sources of a configuration that lives:
//
//	node, err := shmkit.Start(ctx, shmkit.Options{
//		Config: Config{Level: "info"},
//		Sources: []cfgblob.Source{
//			cfgblob.Expand(koanfsource.File("job.yaml"), cfgblob.KeysOf[Config]()), // ${HOST:localhost}
//			koanfsource.Dotenv(".env", "JOB_", cfgblob.KeysOf[Config]()),
//			koanfsource.Provider("etcd", etcd.Provider(…), yaml.Parser()),
//		},
//	}) // a change of a file is a new version in all workers, if it is valid
//
// [Read] turns files into one document, once, ready to be the first configuration of
// a run:
//
//	doc, err := koanfsource.Read("defaults.yaml", "site.toml")
//	if err != nil {
//		return err // koanfsource: "site.toml", line 3: expected = after a key: correct the file
//	}
//	node, err := shmkit.Start(ctx, shmkit.Options{Config: doc})
//
// What a caller can rely on:
//
//   - Files are merged in the given order and later ones win: objects are merged
//     key by key at every depth, anything else (arrays too) is replaced whole.
//   - Keys keep their case, and a dot inside a key is part of that key: no path
//     is made of it.
//   - The document holds only what JSON can express: map[string]any, []any,
//     string, bool, nil and numbers. Numbers of JSON files are [json.Number],
//     digit for digit; integers of YAML and TOML are exact up to 64 bits; dates
//     become strings in RFC 3339 form.
//   - An error is one line that names the file, the line where the parser knows
//     it, and what to do. It is a [*FileError].
package koanfsource

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/dotenv"
	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/v2"
)

var _ json.Number // named by the package documentation

// pathSeparator is what koanf joins keys with for its own flat index. It cannot
// clash with a dot, slash or colon inside a key, and the nested document, which
// is all that Read returns, is not affected by it.
const pathSeparator = "\x1f"

// parsers by file name extension.
var parsers = map[string]koanf.Parser{
	".json": jsonParser{},
	".toml": toml.Parser(),
	".yaml": yamlParser{yaml.Parser()},
	".yml":  yamlParser{yaml.Parser()},
}

var dotenvParser = dotenv.Parser()

// Extensions returns the known file name extensions, sorted, with their dot.
func Extensions() []string { return slices.Sorted(maps.Keys(parsers)) }

// Read reads the files in order and returns the merged document. Without a file
// it returns an empty one. The document is the caller's own.
func Read(paths ...string) (map[string]any, error) {
	k := koanf.New(pathSeparator)
	for _, path := range paths {
		if err := load(k, path); err != nil {
			return nil, err
		}
	}
	return k.Raw(), nil
}

// load merges one file into k.
func load(k *koanf.Koanf, path string) error {
	// Looked at before the file is opened: a wrong name should not need the file.
	parser, ok := parsers[strings.ToLower(filepath.Ext(path))]
	if !ok {
		return &FileError{Path: path, Err: ErrUnknownFormat}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		// The path stands in front already; keep what the system says about it.
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) {
			err = pathErr.Err
		}
		return &FileError{Path: path, Err: err}
	}
	if err := k.Load(bytesProvider(data), checked{parser}); err != nil {
		return newParseError(path, err)
	}
	return nil
}

// bytesProvider hands koanf the bytes of a file that was read already, so that
// errors of reading and of parsing can be told apart.
type bytesProvider []byte

func (b bytesProvider) ReadBytes() ([]byte, error)    { return b, nil }
func (b bytesProvider) Read() (map[string]any, error) { return nil, errors.ErrUnsupported }
