package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/schollz/progressbar/v3"
)

// progress shows how far the job is: a bar on a terminal, one line for each
// tenth of the way elsewhere.
type progress struct {
	w   io.Writer
	tty bool
	bar *progressbar.ProgressBar
	at  int // tenths told
}

func newProgress(w io.Writer) *progress {
	f, ok := w.(*os.File)
	return &progress{w: w, tty: ok && isatty.IsTerminal(f.Fd())}
}

func (p *progress) step(n, of int) {
	if p.tty {
		if p.bar == nil {
			p.bar = progressbar.NewOptions(of, progressbar.OptionSetWriter(p.w),
				progressbar.OptionSetDescription("counting"), progressbar.OptionShowCount(),
				progressbar.OptionSetWidth(40), progressbar.OptionThrottle(50*time.Millisecond), progressbar.OptionClearOnFinish())
		}
		p.bar.Set(n)
		return
	}
	if tenth := 10 * n / of; tenth > p.at {
		p.at = tenth
		fmt.Fprintf(p.w, "counted %d of %d files\n", n, of)
	}
}

// done removes the bar.
func (p *progress) done() {
	if p.bar != nil {
		p.bar.Finish()
	}
}
