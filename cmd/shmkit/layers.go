package main

import (
	"fmt"

	"shmkit/adapters/koanfsource"
	"shmkit/cfgblob"
)

// document is the first configuration of a run: the files in order, then the
// assignments in order; later ones win.
func document(files, assignments []string) (map[string]any, error) {
	raw, err := koanfsource.Read(files...)
	if err != nil {
		return nil, fmt.Errorf("config file %s", bare(err))
	}
	doc, err := cfgblob.TreeOf(raw)
	if err != nil {
		return nil, fmt.Errorf("configuration: %s", bare(err))
	}
	if err := cfgblob.Assign(doc, assignments...); err != nil {
		return nil, fmt.Errorf("--set: %s", bare(err))
	}
	return doc, nil
}
