package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// summary is what summary.json holds and stdout shows.
type summary struct {
	Files int `json:"files"`
	Counts
	Records struct {
		Attempted uint64 `json:"attempted"` // = delivered + dropped
		Delivered uint64 `json:"delivered"`
		Dropped   uint64 `json:"dropped"`
	} `json:"records"`
	Config struct {
		Versions uint64 `json:"versions"` // how many were published
	} `json:"config"`
	Workers []workerSummary `json:"workers"`
}

type workerSummary struct {
	Rank int `json:"rank"`
	PID  int `json:"pid"`
	Exit int `json:"exit"` // exit code, or 128 + signal
}

func (s *summary) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "files\tlines\twords\tbytes\t")
	fmt.Fprintf(t, "%d\t%d\t%d\t%d\t\n", s.Files, s.Lines, s.Words, s.Bytes)
	fmt.Fprintln(t, "\t")
	fmt.Fprintln(t, "records\tattempted\tdelivered\tdropped\t")
	fmt.Fprintf(t, "\t%d\t%d\t%d\t\n", s.Records.Attempted, s.Records.Delivered, s.Records.Dropped)
	fmt.Fprintln(t, "\t")
	fmt.Fprintf(t, "config\tversions\t%d\t\n", s.Config.Versions)
	fmt.Fprintln(t, "\t")
	fmt.Fprintln(t, "worker\tpid\texit\t")
	for _, x := range s.Workers {
		fmt.Fprintf(t, "%d\t%d\t%d\t\n", x.Rank, x.PID, x.Exit)
	}
	t.Flush()
}
