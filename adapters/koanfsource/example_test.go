package koanfsource_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"shmkit/adapters/koanfsource"
)

func ExampleRead() {
	dir, err := os.MkdirTemp("", "koanfsource")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	os.Chdir(dir)
	os.WriteFile("defaults.yaml", []byte("level: info\nworkers: {max: 8, min: 1}\n"), 0o600)
	os.WriteFile("site.toml", []byte("workers.max = 64\n"), 0o600)

	doc, err := koanfsource.Read("defaults.yaml", "site.toml")
	if err != nil {
		panic(err)
	}
	text, _ := json.Marshal(doc)
	fmt.Println(string(text))

	_, err = koanfsource.Read(filepath.Join("etc", "site.conf"))
	fmt.Println(err)
	// Output:
	// {"level":"info","workers":{"max":64,"min":1}}
	// koanfsource: "etc/site.conf": unknown file format: name the file with one of .json .toml .yaml .yml
}
