package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"shmkit"
	"shmkit/cfgblob"
)

func newConfigSetCommand() *cobra.Command {
	var flags changeFlags
	var who, canary audienceFlag
	cmd := &cobra.Command{
		Use:   "set KEY=VALUE",
		Short: "Change a configuration value; running workers see it at once",
		Long: `Change the value of KEY in a live run. VALUE is JSON (64, true, null, [1,2],
{"a":1}), or else a string; quote a string that looks like JSON: 'zip="01234"'.
A KEY that does not exist is created, which is told on standard error. With --for
only these workers see the change; with --canary they see it first, until promote
makes it everybody's or abandon takes it back.`,
		Example: `  shmkit config set level=debug
  shmkit config set 'hosts=["a","b"]' --run nightly
  shmkit config set limit=5 --if-version 7
  shmkit config set rate=0.1 --canary train/0`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := arguments(1, 1, "KEY=VALUE")(cmd, args); err != nil {
				return err
			}
			if _, _, err := cfgblob.ParseAssignment(args[0]); err != nil {
				return usageErrorf(cmd, "%s", bare(err))
			}
			if cmd.Flags().Changed("for") && cmd.Flags().Changed("canary") {
				return usageErrorf(cmd, "--for and --canary exclude each other: give one of them")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			key, value, err := cfgblob.ParseAssignment(args[0])
			if err != nil {
				return err
			}
			return ask(cmd.Context(), flags.run, func(ctx context.Context, c *shmkit.Client) error {
				set, a := c.SetFor, cfgblob.Audience(who)
				if cmd.Flags().Changed("canary") {
					set, a = c.Canary, cfgblob.Audience(canary)
				}
				change, err := set(ctx, a, key, value, flags.ifVersion)
				if err == nil && change.Created {
					fmt.Fprintf(cmd.ErrOrStderr(), "shmkit: run %q had no key %q: created it\n", c.Name(), key)
				}
				return err
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().Var(&who, "for", forUsage)
	cmd.Flags().Var(&canary, "canary", "show the change to these workers first: GROUP, GROUP/0,3 or '*/0'")
	return cmd
}
