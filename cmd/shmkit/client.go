package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"shmkit"
)

// patience is how long the node of a run may take to answer.
const patience = 10 * time.Second

// addRunFlag gives cmd the flag that chooses a run.
func addRunFlag(cmd *cobra.Command, run *runNameFlag) {
	cmd.Flags().Var(run, "run", "name of the run (default $SHMKIT_RUN, else the only live run)")
	cmd.RegisterFlagCompletionFunc("run", func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		runs, err := shmkit.Runs("")
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var names []cobra.Completion
		for _, r := range runs {
			names = append(names, r.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
}

// ask calls f with a connection to a run and a deadline for its answer.
func ask(ctx context.Context, run runNameFlag, f func(context.Context, *shmkit.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := shmkit.Dial(ctx, shmkit.DialOptions{Run: string(run)})
	if err != nil {
		return err
	}
	defer c.Close()
	err = f(ctx, c)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("run %q does not answer since %v: is its process stopped? See shmkit ps", c.Name(), patience)
	}
	return err
}
