package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"shmkit"
	"shmkit/cfgblob"
)

func newConfigHistoryCommand() *cobra.Command {
	var run runNameFlag
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "history",
		Short: "List the versions that the run keeps",
		Long: `Print one line for each version of the configuration that is kept, oldest first:
version, time, who made it, and what was done. Values are not shown: see diff.`,
		Example: `  shmkit config history
  shmkit config history --json | tail -n 1`,
		Args: arguments(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), run, func(ctx context.Context, c *shmkit.Client) error {
				list, err := c.History(ctx)
				if err != nil {
					return err
				}
				return lines(cmd, asJSON, list, func(r cfgblob.Revision) string {
					return fmt.Sprintf("%d %s %q %s", r.Version, r.Time.Format(time.RFC3339), r.Author, oneLine(r.Action))
				})
			})
		},
	}
	addRunFlag(cmd, &run)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return cmd
}

func newConfigDiffCommand() *cobra.Command {
	var run runNameFlag
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "diff FROM [TO]",
		Short: "Show what changed between two versions",
		Long: `Print one line for each value that is different in version TO, by default the
current one: KEY: old → new, KEY: + new, or KEY: - old. Secrets are printed as
"[redacted]", so that one sees that they changed, but not from what to what.`,
		Example: `  shmkit config diff 1
  shmkit config diff 4 5`,
		Args: versions(2, "FROM [TO]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), run, func(ctx context.Context, c *shmkit.Client) error {
				to, err := uint64(0), error(nil)
				if len(args) == 2 {
					to = number(args[1])
				} else {
					list, err := c.History(ctx)
					if err != nil {
						return err
					}
					to = list[len(list)-1].Version
				}
				changes, err := c.Diff(ctx, number(args[0]), to)
				if err != nil {
					return err
				}
				return lines(cmd, asJSON, changes, func(c cfgblob.Change) string { return oneLine(c.String()) })
			})
		},
	}
	addRunFlag(cmd, &run)
	cmd.Flags().BoolVar(&asJSON, "json", false, `print {"path":…,"old":…,"new":…} lines`)
	return cmd
}

func newConfigExplainCommand() *cobra.Command {
	var run runNameFlag
	var who audienceFlag
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain KEY",
		Short: "Say where a configuration value comes from",
		Long: `Print where the value of KEY comes from, and then what that shadows, one line
each: the source, the place in it, and what it says. A KEY that does not exist is
an error.`,
		Example: `  shmkit config explain log.level
  shmkit config explain batch.size --for train/3`,
		Args: arguments(1, 1, "KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), run, func(ctx context.Context, c *shmkit.Client) error {
				origins, err := c.Explain(ctx, cfgblob.Audience(who), args[0])
				if err != nil {
					return err
				}
				return lines(cmd, asJSON, origins, func(o cfgblob.Origin) string { return oneLine(o.String()) })
			})
		},
	}
	addRunFlag(cmd, &run)
	cmd.Flags().Var(&who, "for", "in the document of these workers: GROUP, GROUP/0 or '*/0'")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return cmd
}

// lines prints one line for each element, as text or as JSON.
func lines[T any](cmd *cobra.Command, asJSON bool, list []T, text func(T) string) error {
	for _, e := range list {
		line := ""
		if asJSON {
			b, err := json.Marshal(e)
			if err != nil {
				return err
			}
			line = string(b)
		} else {
			line = text(e)
		}
		if _, err := fmt.Fprintln(cmd.OutOrStdout(), line); err != nil {
			return err
		}
	}
	return nil
}

// versions checks that the arguments are one to most versions.
func versions(most int, want string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := arguments(1, most, want)(cmd, args); err != nil {
			return err
		}
		for _, a := range args {
			if v, err := strconv.ParseUint(a, 10, 64); err != nil || v == 0 {
				return usageErrorf(cmd, "%q is no version: give a number, as history prints it", a)
			}
		}
		return nil
	}
}

// number is a version that was checked.
func number(arg string) uint64 {
	v, _ := strconv.ParseUint(arg, 10, 64)
	return v
}
