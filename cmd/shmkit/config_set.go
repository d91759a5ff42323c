package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"shmkit"
	"shmkit/cfgblob"
)

func newConfigSetCommand() *cobra.Command {
	var run runNameFlag
	var ifVersion uint64
	cmd := &cobra.Command{
		Use:   "set KEY=VALUE",
		Short: "Change a configuration value; running workers see it at once",
		Long: `Change the value of KEY in a live run. VALUE is JSON (64, true, null, [1,2],
{"a":1}), or else a string; quote a string that looks like JSON: 'zip="01234"'.
A KEY that does not exist is created, which is told on standard error.`,
		Example: `  shmkit config set level=debug
  shmkit config set 'hosts=["a","b"]' --run nightly
  shmkit config set limit=5 --if-version 7`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := arguments(1, 1, "KEY=VALUE")(cmd, args); err != nil {
				return err
			}
			if _, _, err := cfgblob.ParseAssignment(args[0]); err != nil {
				return usageErrorf(cmd, "%s", bare(err))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			key, value, err := cfgblob.ParseAssignment(args[0])
			if err != nil {
				return err
			}
			return ask(cmd.Context(), run, func(ctx context.Context, c *shmkit.Client) error {
				change, err := c.Set(ctx, key, value, ifVersion)
				if err == nil && change.Created {
					fmt.Fprintf(cmd.ErrOrStderr(), "shmkit: run %q had no key %q: created it\n", c.Name(), key)
				}
				return err
			})
		},
	}
	addRunFlag(cmd, &run)
	cmd.Flags().Uint64Var(&ifVersion, "if-version", 0, "refuse the change unless the configuration is of this `VERSION`")
	return cmd
}
