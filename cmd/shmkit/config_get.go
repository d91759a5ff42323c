package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"shmkit"
	"shmkit/cfgblob"
)

func newConfigGetCommand() *cobra.Command {
	var run runNameFlag
	var who audienceFlag
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "get [KEY]",
		Short: "Print a configuration value, or the whole configuration",
		Long: `Print the current value of KEY: a string as it is, without quotes; a number,
true, false or null; an object or array as JSON on one line. Without KEY the
whole configuration is printed as indented JSON. A KEY that does not exist is
an error.`,
		Example: `  shmkit config get
  level=$(shmkit config get log.level)
  shmkit config get hosts --run nightly`,
		Args: arguments(0, 1, "at most one KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			format, key := indented, ""
			if len(args) == 1 {
				format, key = plain, args[0]
			}
			if asJSON {
				format = compact
			}
			return ask(cmd.Context(), run, func(ctx context.Context, c *shmkit.Client) error {
				value, _, err := c.GetFor(ctx, cfgblob.Audience(who), key)
				if err != nil {
					return err
				}
				text, err := format(value)
				if err != nil {
					return fmt.Errorf("run %q: %w", c.Name(), err)
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
				return err
			})
		},
	}
	addRunFlag(cmd, &run)
	cmd.Flags().Var(&who, "for", "in the document of these workers: GROUP, GROUP/0 or '*/0'")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON on one line, strings with quotes")
	return cmd
}
