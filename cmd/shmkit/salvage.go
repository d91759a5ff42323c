package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"shmkit/logring"
)

func newSalvageCommand() *cobra.Command {
	format := salvageFormat("text")
	var keep bool
	cmd := &cobra.Command{
		Use:   "salvage DIR",
		Short: "Print what a killed node had not written",
		Long: `Print the log records that workers had logged and their node, when it was killed,
had not written. DIR is the crash directory of that node. The records of living
nodes are left alone. The files are removed when all is printed, unless --keep is
given; a record that the node had written just before may be printed once more.

How many records there were, and what could not be read, goes to standard error.`,
		Example: `  shmkit salvage /dev/shm/job-crash >> job.log
  shmkit salvage --format json --keep /dev/shm/job-crash`,
		Args: arguments(1, 1, "a crash directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			out := &firstError{w: cmd.OutOrStdout()}
			found, err := logring.Salvage(cmd.Context(), args[0], logring.SalvageOptions{
				Sinks: []logring.Sink{logring.With(format.sink(out), logring.SinkOptions{Name: "standard output", Retry: -1})},
				Keep:  keep,
			})
			if out.err != nil {
				return fmt.Errorf("standard output: %w: the files are left in %s", out.err, args[0])
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%d records of %d workers", found.Records, found.Segments)
			if found.Live > 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "; %d segments belong to a living node", found.Live)
			}
			fmt.Fprintln(cmd.ErrOrStderr())
			return errors.Join(found.Damaged...)
		},
	}
	cmd.Flags().Var(&format, "format", "text or json")
	cmd.Flags().BoolVar(&keep, "keep", false, "leave the files where they are")
	return cmd
}

// salvageFormat is the FORMAT of salvage.
type salvageFormat string

func (f *salvageFormat) Type() string   { return "FORMAT" }
func (f *salvageFormat) String() string { return string(*f) }
func (f *salvageFormat) Set(s string) error {
	if s != "text" && s != "json" {
		return errors.New("use text or json")
	}
	*f = salvageFormat(s)
	return nil
}

func (f salvageFormat) sink(w io.Writer) logring.Sink {
	if f == "json" {
		return logring.JSON(w)
	}
	return logring.Text(w)
}

// firstError keeps the first error of a writer.
type firstError struct {
	w   io.Writer
	err error
}

func (f *firstError) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err != nil && f.err == nil {
		f.err = err
	}
	return n, err
}
