package main

import (
	"bufio"
	"io"
)

// A logPrinter prints records.
type logPrinter struct {
	w      *bufio.Writer
	asJSON bool
}

func newLogPrinter(w io.Writer, asJSON bool) *logPrinter {
	return &logPrinter{bufio.NewWriterSize(w, 64<<10), asJSON}
}

func (p *logPrinter) print(e *logEntry) error {
	line, err := "", error(nil)
	if p.asJSON {
		line, err = e.toJSON()
	} else {
		line = e.toText()
	}
	if err != nil {
		return err
	}
	p.w.WriteString(line)
	return p.w.WriteByte('\n')
}

func (p *logPrinter) flush() error { return p.w.Flush() }
