//go:build !linux

package proctest

// inventory is empty where there is no /proc to take it from.
type inventory struct{}

func takeInventory() inventory { return inventory{} }

func (inventory) leftovers() []string { return nil }
