package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"shmkit"
	"shmkit/spawn"
)

func newPsCommand() *cobra.Command {
	var run runNameFlag
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ps",
		Short: "List the workers of live runs",
		Long: `List the workers of the run of --run, else of $SHMKIT_RUN, else of all live runs
of this user. State is running, stopping (it was asked to end) or exited; the
workers of a group are listed until the last of them has ended. Elapsed is the
time from the start to now, or to the end; exit is the exit code, or 128 + signal.`,
		Example: `  shmkit ps
  shmkit ps --run nightly --json`,
		Args: arguments(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, args []string) error {
			rows, err := listWorkers(cmd.Context(), run, time.Now())
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), rows)
			}
			return printTable(cmd.OutOrStdout(), rows)
		},
	}
	addRunFlag(cmd, &run)
	cmd.Flags().Lookup("run").Usage = "name of the run (default $SHMKIT_RUN, else all live runs)"
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an array of objects")
	return cmd
}

// workerRow is one line of the list.
type workerRow struct {
	Run      string     `json:"run"`
	Group    string     `json:"group"`
	Rank     int        `json:"rank"`
	PID      int        `json:"pid"`
	State    string     `json:"state"`
	Started  time.Time  `json:"started"`
	Elapsed  float64    `json:"elapsed"` // seconds from its start to now, or to its end
	Restarts int        `json:"restarts"`
	LastBeat *time.Time `json:"last_beat,omitempty"` // with a heartbeat: when the last one was seen
	Exit     *int       `json:"exit,omitempty"`      // once it has ended: exit code, or 128 + signal
}

// listWorkers asks one run, or all live ones. A run that ends while it is asked
// is not missed if nobody named it.
func listWorkers(ctx context.Context, run runNameFlag, now time.Time) ([]workerRow, error) {
	rows := []workerRow{}
	if run == "" {
		run = runNameFlag(os.Getenv("SHMKIT_RUN"))
	}
	if run != "" {
		return appendWorkers(ctx, rows, run, now)
	}
	runs, err := shmkit.Runs("")
	if err != nil {
		return nil, err
	}
	for _, r := range runs {
		more, err := appendWorkers(ctx, rows, runNameFlag(r.Name), now)
		if err != nil && stillLive(r.Name) {
			return nil, err
		}
		if err == nil {
			rows = more
		}
	}
	return rows, nil
}

func stillLive(run string) bool {
	runs, _ := shmkit.Runs("")
	for _, r := range runs {
		if r.Name == run {
			return true
		}
	}
	return false
}

func appendWorkers(ctx context.Context, rows []workerRow, run runNameFlag, now time.Time) ([]workerRow, error) {
	err := ask(ctx, run, func(ctx context.Context, c *shmkit.Client) error {
		status, err := c.Status(ctx)
		for _, w := range status.Workers {
			rows = append(rows, newWorkerRow(status.Run, w, now))
		}
		return err
	})
	return rows, err
}

func newWorkerRow(run string, w spawn.Info, now time.Time) workerRow {
	if w.Ended != nil {
		now = *w.Ended
	}
	return workerRow{
		Run:      run,
		Group:    w.Group,
		Rank:     w.Rank,
		PID:      w.Pid,
		State:    string(w.State),
		Started:  w.Started,
		Elapsed:  now.Sub(w.Started).Seconds(),
		Restarts: w.Restarts,
		LastBeat: w.LastBeat,
		Exit:     w.Code,
	}
}

func printJSON(w io.Writer, rows []workerRow) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(rows)
}

func printTable(w io.Writer, rows []workerRow) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "RUN\tGROUP\tRANK\tPID\tSTATE\tSTARTED\tELAPSED\tEXIT\tRESTARTS")
	for _, r := range rows {
		elapsed := time.Duration(r.Elapsed * float64(time.Second)).Round(time.Second)
		exit := "-"
		if r.Exit != nil {
			exit = strconv.Itoa(*r.Exit)
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\t%d\n",
			r.Run, r.Group, r.Rank, r.PID, r.State, r.Started.Local().Format("2006-01-02 15:04:05"), elapsed, exit, r.Restarts)
	}
	return t.Flush()
}
