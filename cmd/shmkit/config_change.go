package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"shmkit"
	"shmkit/cfgblob"
)

// changeFlags are what every command has that changes a configuration.
type changeFlags struct {
	run       runNameFlag
	ifVersion uint64
}

func (f *changeFlags) add(cmd *cobra.Command) {
	addRunFlag(cmd, &f.run)
	cmd.Flags().Uint64Var(&f.ifVersion, "if-version", 0, "refuse the change unless the configuration is of this `VERSION`")
}

const forUsage = "only in the document of these workers: GROUP, GROUP/0,3 or '*/0'"

func newConfigUnsetCommand() *cobra.Command {
	var flags changeFlags
	var who audienceFlag
	cmd := &cobra.Command{
		Use:   "unset KEY",
		Short: "Remove a configuration value",
		Long: `Remove KEY from the configuration of a live run, also if a file or a default says
it: reset is what brings it back.`,
		Example: `  shmkit config unset hosts.1
  shmkit config unset limit --for train/0`,
		Args: arguments(1, 1, "KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), flags.run, func(ctx context.Context, c *shmkit.Client) error {
				_, err := c.Unset(ctx, cfgblob.Audience(who), args[0], flags.ifVersion)
				return err
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().Var(&who, "for", forUsage)
	return cmd
}

func newConfigResetCommand() *cobra.Command {
	var flags changeFlags
	var who audienceFlag
	cmd := &cobra.Command{
		Use:   "reset [KEY]",
		Short: "Take back what was changed while the run was alive",
		Long: `Take back what set and unset changed at KEY or below it, or all of it, so that
files, environment and defaults show through again. With --for, take back what
was changed for exactly these workers.`,
		Example: `  shmkit config reset batch.size
  shmkit config reset --for train`,
		Args: arguments(0, 1, "at most one KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			key := ""
			if len(args) == 1 {
				key = args[0]
			}
			return ask(cmd.Context(), flags.run, func(ctx context.Context, c *shmkit.Client) error {
				_, err := c.Reset(ctx, cfgblob.Audience(who), key, flags.ifVersion)
				return err
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().Var(&who, "for", forUsage)
	return cmd
}

func newConfigRollbackCommand() *cobra.Command {
	var flags changeFlags
	cmd := &cobra.Command{
		Use:   "rollback VERSION",
		Short: "Make the configuration what it was at an earlier version",
		Long: `Publish the configuration of VERSION again, as a new version, whose number is
printed. Overrides of single workers are restored, too. See history for the
versions that are kept.`,
		Example: `  shmkit config rollback 12
  shmkit config rollback 12 --if-version 15`,
		Args: versions(1, "VERSION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), flags.run, func(ctx context.Context, c *shmkit.Client) error {
				version, err := c.Rollback(ctx, number(args[0]), flags.ifVersion)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), version)
				return err
			})
		},
	}
	flags.add(cmd)
	return cmd
}

func newConfigPromoteCommand() *cobra.Command {
	return newCanaryCommand("promote", "Make a canary's change everybody's", (*shmkit.Client).Promote)
}

func newConfigAbandonCommand() *cobra.Command {
	return newCanaryCommand("abandon", "Take a canary's change back", (*shmkit.Client).Abandon)
}

func newCanaryCommand(name, short string, end func(*shmkit.Client, context.Context) (uint64, error)) *cobra.Command {
	var run runNameFlag
	cmd := &cobra.Command{
		Use:     name,
		Short:   short,
		Long:    short + "; one is begun with set --canary.",
		Example: "  shmkit config " + name,
		Args:    arguments(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), run, func(ctx context.Context, c *shmkit.Client) error {
				_, err := end(c, ctx)
				return err
			})
		},
	}
	addRunFlag(cmd, &run)
	return cmd
}
