package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"shmkit"
)

func newConfigValidateCommand() *cobra.Command {
	var run runNameFlag
	var set assignmentsFlag
	cmd := &cobra.Command{
		Use:   "validate FILE...",
		Short: "Ask a live run whether it would take a configuration",
		Long: `Ask a live run whether it would take the configuration that the files make, laid
over each other in order, and then the --set. Nothing changes. The exit code is 0
if it would; otherwise the error says which key is wrong and what was expected.`,
		Example: `  shmkit config validate job.yaml
  shmkit config validate base.yaml site.toml --set level=debug`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && len(set) == 0 {
				return usageErrorf(cmd, "FILE is missing")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			doc, err := document(args, set)
			if err != nil {
				return err
			}
			text, err := json.Marshal(doc)
			if err != nil {
				return fmt.Errorf("configuration: %w", err)
			}
			return ask(cmd.Context(), run, func(ctx context.Context, c *shmkit.Client) error {
				return c.Validate(ctx, text)
			})
		},
	}
	addRunFlag(cmd, &run)
	cmd.Flags().Var(&set, "set", "a value on top of the files; may be given more than once")
	return cmd
}
