package shmkit

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"shmkit/cfgblob"
	"shmkit/logring"
	"shmkit/spawn"
)

// The control socket speaks JSON, one object a line: a request, then its answer;
// a watch answers until either side closes. It is for people and scripts, a few
// requests a second; what workers read and write all the time is in shared
// memory.
type (
	request struct {
		Op        string          `json:"op"` // one of the op… constants
		Key       string          `json:"key,omitempty"`
		Value     json.RawMessage `json:"value,omitempty"`
		IfVersion uint64          `json:"if_version,omitempty"` // 0: any
		For       string          `json:"for,omitempty"`        // an audience; "": everybody
		From      uint64          `json:"from,omitempty"`       // versions
		To        uint64          `json:"to,omitempty"`

		Group   string        `json:"group,omitempty"`
		Spec    *Spec         `json:"spec,omitempty"`
		Workers int           `json:"workers,omitempty"`
		Reload  *spawn.Reload `json:"reload,omitempty"`
	}
	answer struct {
		Error   string          `json:"error,omitempty"`
		Code    string          `json:"code,omitempty"` // class of the error, as [cfgblob.Code] names it
		Version uint64          `json:"version,omitempty"`
		Value   json.RawMessage `json:"value,omitempty"`
		Missing bool            `json:"missing,omitempty"`
		Created bool            `json:"created,omitempty"`
		Status  *Status         `json:"status,omitempty"`

		History []cfgblob.Revision `json:"history,omitempty"`
		Changes []cfgblob.Change   `json:"changes,omitempty"`
		Origins []cfgblob.Origin   `json:"origins,omitempty"`

		Group string       `json:"group,omitempty"`
		Infos []spawn.Info `json:"infos,omitempty"`
		Exits []Exit       `json:"exits,omitempty"`
	}
)

const (
	opGet      = "config.get"
	opSet      = "config.set"
	opUnset    = "config.unset"
	opReset    = "config.reset"
	opWatch    = "config.watch"
	opHistory  = "config.history"
	opDiff     = "config.diff"
	opRollback = "config.rollback"
	opExplain  = "config.explain"
	opValidate = "config.validate"
	opCanary   = "config.canary"
	opPromote  = "config.promote"
	opAbandon  = "config.abandon"
	opStatus   = "ps"

	opStart  = "workers.start"
	opStop   = "workers.stop"
	opResize = "workers.resize"
	opReload = "workers.reload"
	opWait   = "workers.wait"

	// maxRequest bounds a line from a client, in bytes.
	maxRequest = 16 << 20
	// maxClients bounds the connections served at a time; more wait in the
	// kernel's queue.
	maxClients = 64
)

// Status is what a node says of itself.
type Status struct {
	Run           string        `json:"run"`
	PID           int           `json:"pid"`
	Started       time.Time     `json:"started"`
	ConfigVersion uint64        `json:"config_version"`
	Workers       []spawn.Info  `json:"workers"`
	Logs          logring.Stats `json:"logs"`
}

const socketName = "control.sock"

// viaDescriptor calls f with a path of dir that fits into a socket address
// however long dir is: sun_path holds 107 bytes, a runtime directory on an HPC
// node may be longer.
func viaDescriptor(dir string, f func(path string) error) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return f(filepath.Join("/proc/self/fd", fmt.Sprint(d.Fd()), socketName))
}

func listenControl(dir string) (l *net.UnixListener, err error) {
	err = viaDescriptor(dir, func(path string) error {
		l, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err == nil {
			l.SetUnlinkOnClose(false) // that path ends with the descriptor; Close removes the real one
		}
		return err
	})
	return l, err
}

func dialControl(dir string) (c *net.UnixConn, err error) {
	err = viaDescriptor(dir, func(path string) error {
		c, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
		return err
	})
	return c, err
}
