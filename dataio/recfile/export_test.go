package recfile

import "io"

// What tests put in the place of the system's disk.
type (
	Disk     = disk
	DiskFile = file
)

var System Disk = system{}

// NewServerOn is NewServer on another disk.
func NewServerOn(d Disk, files map[string]Options) (*Server, error) { return newServer(files, d) }

// Deafen makes a file of a worker ignore what the node says of it, as a broken worker's
// would.
func (f *File) Deafen() { f.status.state = new(uint32) }

// Region is the worker's segment, for hostile ones.
func (c *Client) Region() []byte { return c.seg.Region() }

// ValidPrefix is how many bytes of a file Resume would keep.
func (f Format) ValidPrefix(r io.Reader) (int64, error) { return f.validPrefix(r) }
