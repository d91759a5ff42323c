package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"shmkit"
	"shmkit/spawn"
)

// newWorkersCommand is what any process of a run may ask the node for.
func newWorkersCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "workers",
		Short: "Start, stop, resize and replace the workers of a live run",
		Long: `Ask the node of a live run for workers, from a shell, a script or a worker. They
are the node's own: they share its log and configuration, and outlive the process
that asked. "shmkit ps" lists them.`,
		Example: `  shmkit workers start -n 4 --group extra -- python3 job.py
  shmkit workers resize extra 8
  shmkit workers stop extra`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
	}
	cmd.AddCommand(newWorkersStart(), newWorkersStop(), newWorkersResize(), newWorkersReload(), newWorkersWait())
	return cmd
}

// dial calls f with a connection to a run. Unlike ask it sets no deadline: what
// workers do takes as long as they need.
func dial(ctx context.Context, run runNameFlag, f func(*shmkit.Client) error) error {
	c, err := shmkit.Dial(ctx, shmkit.DialOptions{Run: string(run)})
	if err != nil {
		return err
	}
	defer c.Close()
	return f(c)
}

func newWorkersStart() *cobra.Command {
	var run runNameFlag
	n, group := workersFlag(1), ""
	cmd := &cobra.Command{
		Use:   "start [flags] -- COMMAND [ARG…]",
		Short: "Start a group of workers and print its name",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || args[0] == "" {
				return usageErrorf(cmd, "COMMAND is missing: write shmkit workers start -- COMMAND [ARG…]")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return dial(cmd.Context(), run, func(c *shmkit.Client) error {
				name, _, err := c.Start(cmd.Context(), shmkit.Spec{Cmd: args, Workers: int(n), Group: group, Env: workerEnv()})
				if err == nil {
					_, err = fmt.Fprintln(cmd.OutOrStdout(), name)
				}
				return err
			})
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.VarP(&n, "workers", "n", "number of copies")
	f.StringVar(&group, "group", "", "`NAME` of the group (default: the command's)")
	addRunFlag(cmd, &run)
	return cmd
}

// newGroupCommand is a command on one group.
func newGroupCommand(use, short, want string, args int, f func(cmd *cobra.Command, c *shmkit.Client, args []string) error) *cobra.Command {
	var run runNameFlag
	cmd := &cobra.Command{
		Use: use, Short: short, Args: arguments(args, args, want),
		RunE: func(cmd *cobra.Command, args []string) error {
			return dial(cmd.Context(), run, func(c *shmkit.Client) error { return f(cmd, c, args) })
		},
	}
	addRunFlag(cmd, &run)
	return cmd
}

func newWorkersStop() *cobra.Command {
	return newGroupCommand("stop GROUP", "Stop a group and wait for its end", "GROUP", 1,
		func(cmd *cobra.Command, c *shmkit.Client, args []string) error {
			return c.StopWorkers(cmd.Context(), args[0])
		})
}

func newWorkersResize() *cobra.Command {
	return newGroupCommand("resize GROUP N", "Start more workers of a group, or stop the last ones", "GROUP and N", 2,
		func(cmd *cobra.Command, c *shmkit.Client, args []string) error {
			n, err := strconv.Atoi(args[1])
			if err != nil || n < 1 || n > spawn.MaxWorkers {
				return usageErrorf(cmd, "N %q: give a number from 1 to %d", args[1], spawn.MaxWorkers)
			}
			return c.Resize(cmd.Context(), args[0], n)
		})
}

func newWorkersReload() *cobra.Command {
	return newGroupCommand("reload GROUP", "Replace the workers of a group one after the other by new ones of the program as it is now", "GROUP", 1,
		func(cmd *cobra.Command, c *shmkit.Client, args []string) error {
			return c.Reload(cmd.Context(), args[0], spawn.Reload{})
		})
}

func newWorkersWait() *cobra.Command {
	return newGroupCommand("wait GROUP", "Wait for the end of a group; the exit code is that of its worst worker", "GROUP", 1,
		func(cmd *cobra.Command, c *shmkit.Client, args []string) error {
			exits, err := c.Wait(cmd.Context(), args[0])
			return waited(cmd.OutOrStdout(), exits, err)
		})
}

func waited(out io.Writer, exits []shmkit.Exit, err error) error {
	worst := 0
	for _, x := range exits {
		worst = max(worst, x.Code)
		if x.Code != 0 {
			fmt.Fprintf(out, "worker %d (pid %d): %s\n", x.Rank, x.Pid, x.Cause())
		}
	}
	var remote *shmkit.RemoteError
	if err != nil && (worst == 0 || !errors.As(err, &remote)) {
		return err
	}
	if worst != 0 {
		return &codeError{worst, nil}
	}
	return nil
}
