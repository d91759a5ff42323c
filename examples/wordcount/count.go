package main

// Counts of one file, or of many.
type Counts struct {
	Lines uint64 `json:"lines"` // '\n' bytes
	Words uint64 `json:"words"` // maximal runs of bytes other than space \t \n \v \f \r
	Bytes uint64 `json:"bytes"`
}

func (c *Counts) add(d Counts) {
	c.Lines += d.Lines
	c.Words += d.Words
	c.Bytes += d.Bytes
}

// isSpace holds 1 for the bytes that part words.
var isSpace = [256]uint8{' ': 1, '\t': 1, '\n': 1, '\v': 1, '\f': 1, '\r': 1}

// countBytes counts one file's contents in one pass: a word begins wherever a
// byte that is no space follows one that is, or begins the file.
func countBytes(b []byte) Counts {
	c := Counts{Bytes: uint64(len(b))}
	before := uint8(1)
	for _, x := range b {
		if x == '\n' {
			c.Lines++
		}
		space := isSpace[x]
		c.Words += uint64(before &^ space)
		before = space
	}
	return c
}
