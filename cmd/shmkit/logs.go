package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
)

func newLogsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "logs",
		Short: "Show what runs have logged, from files and databases",
		Example: `  shmkit logs query --level warn --since 1h run.jsonl
  shmkit logs tail -f run.jsonl`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageErrorf(cmd, "a command is missing: use one of %s", commandNames(cmd))
			}
			return unknownCommand(cmd, args[0])
		},
	}
	cmd.AddCommand(newLogsQueryCommand(), newLogsTailCommand())
	return cmd
}

const sourceHelp = `A SOURCE is a file of records in JSON or text, also one that is compressed (.gz,
.zst), a table "logs" in an SQLite database, or one in PostgreSQL, as a URL that
begins with postgres://. What kind of file it is shows in its content. Files that
PATH was rotated into (by shmkit's rotate sink, or to PATH.1, PATH.2.gz, …) are
read, too, before PATH itself. "-" is standard input.

Records of several sources are merged by time. A line that is no record, such as one
that a crash has cut, is skipped, and told of on standard error.

TIME is 2006-01-02, "2006-01-02 15:04:05", RFC 3339, or how long ago, as in 90m.`

func newLogsQueryCommand() *cobra.Command {
	q := &logQuery{}
	cmd := &cobra.Command{
		Use:   "query [flags] SOURCE…",
		Short: "Print the records that match",
		Long:  "Print the records that match all conditions, the oldest first.\n\n" + sourceHelp,
		Example: `  shmkit logs query --level warn --since 1h run.jsonl
  shmkit logs query --worker 3 --text timeout --json run.db
  shmkit logs query --regexp 'disk (full|gone)' postgres://me@host/db`,
		Args: arguments(1, 1<<20, "SOURCE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return q.run(cmd.Context(), args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	q.addFlags(cmd)
	return cmd
}

func newLogsTailCommand() *cobra.Command {
	q := &logQuery{}
	last := countFlag(10)
	follow := false
	cmd := &cobra.Command{
		Use:   "tail [flags] SOURCE…",
		Short: "Print the last records that match, and those that come",
		Long: "Print the last records that match all conditions. With --follow go on with those\n" +
			"that are written from then on, of files (also when they are rotated) and SQLite\n" +
			"databases, until interrupted.\n\n" + sourceHelp,
		Example: `  shmkit logs tail -n 50 run.jsonl
  shmkit logs tail -f --level error run.jsonl`,
		Args: arguments(1, 1<<20, "SOURCE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.last, q.lastOnly = int(last), true
			if follow {
				return q.follow(cmd.Context(), args, cmd.OutOrStdout(), cmd.ErrOrStderr())
			}
			return q.run(cmd.Context(), args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	q.addFlags(cmd)
	cmd.Flags().VarP(&last, "lines", "n", "how many of the records that are there")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what is written from now on")
	return cmd
}

// A logQuery says which records to print, and how.
type logQuery struct {
	filter   logFilter
	asJSON   bool
	table    tableFlag
	lastOnly bool
	last     int
}

func (q *logQuery) addFlags(cmd *cobra.Command) {
	q.table = "logs"
	f := cmd.Flags()
	q.filter.addFlags(f)
	f.Var(&q.table, "table", "table of a database")
	f.BoolVar(&q.asJSON, "json", false, "print each record as a JSON object on a line")
}

// A logSource yields records in the order in which they were written, and io.EOF
// after the last.
type logSource interface {
	next() (*logEntry, error)
	skipped() int // lines that were no records
	Close() error
}

// run prints the records of all sources.
func (q *logQuery) run(ctx context.Context, names []string, stdout, stderr io.Writer) error {
	open, err := q.open(ctx, names)
	defer closeAll(open)
	if err != nil {
		return err
	}
	return q.print(open, newLogPrinter(stdout, q.asJSON), stderr)
}

// print prints what the sources hold now.
func (q *logQuery) print(open []namedSource, out *logPrinter, stderr io.Writer) error {
	show := out.print
	var kept []*logEntry // a ring of the last ones
	seen := 0
	if q.lastOnly {
		show = func(e *logEntry) error {
			if len(kept) < q.last {
				kept = append(kept, e)
			} else if q.last > 0 {
				kept[seen%q.last] = e
			}
			seen++
			return nil
		}
	}
	for e, err := range mergeSources(open) {
		if err != nil {
			return err
		}
		if q.filter.wants(e) {
			if err := show(e); err != nil {
				return err
			}
		}
	}
	if seen > len(kept) && len(kept) > 0 {
		at := seen % len(kept)
		kept = slices.Concat(kept[at:], kept[:at])
	}
	for _, e := range kept {
		if err := out.print(e); err != nil {
			return err
		}
	}
	if err := out.flush(); err != nil {
		return err
	}
	for _, s := range open {
		if n := s.skipped(); n > 0 {
			fmt.Fprintf(stderr, "shmkit: %s: %d lines are no records and were skipped\n", oneLine(s.name), n)
		}
	}
	return nil
}

// mergeSources yields the records of all sources by time; of equal times the
// source that was named first.
func mergeSources(open []namedSource) func(func(*logEntry, error) bool) {
	return func(yield func(*logEntry, error) bool) {
		heads := make([]*logEntry, len(open))
		for i := range open {
			if !advance(open[i], &heads[i], yield) {
				return
			}
		}
		for {
			first := -1
			for i, h := range heads {
				if h != nil && (first < 0 || h.time.Before(heads[first].time)) {
					first = i
				}
			}
			if first < 0 || !yield(heads[first], nil) || !advance(open[first], &heads[first], yield) {
				return
			}
		}
	}
}

// advance fetches the next record of a source, nil at its end. It returns false
// when there is no going on.
func advance(s namedSource, head **logEntry, yield func(*logEntry, error) bool) bool {
	e, err := s.next()
	if err != nil && err != io.EOF {
		yield(nil, fmt.Errorf("%s: %w", s.name, err))
		return false
	}
	if *head = e; err == io.EOF {
		*head = nil
	}
	return true
}

type namedSource struct {
	logSource
	name string
}

func closeAll(open []namedSource) {
	for _, s := range open {
		s.Close()
	}
}
