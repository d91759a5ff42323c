//go:build !linux

package cfgblob

func asWorker() {}
