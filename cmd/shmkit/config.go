package main

import (
	"github.com/spf13/cobra"
)

func newConfigCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Read, change or watch the configuration of a live run",
		Long: `Read, change or watch the configuration of a live run of this user.

A KEY is a path of names separated by dots, as in log.level or hosts.0.name; a
dot inside a name is written \. and keys keep their case. Secrets are never
printed: "[redacted]" stands for them. The run is the one of
--run, else of $SHMKIT_RUN (which every worker has), else the only live one.`,
		Example: `  shmkit config get
  shmkit config get batch.size
  shmkit config set batch.size=64
  shmkit config watch level
  shmkit config explain batch.size
  shmkit config diff 1`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageErrorf(cmd, "command is missing: use one of %s", commandNames(cmd))
			}
			return unknownCommand(cmd, args[0])
		},
	}
	cmd.AddCommand(
		newConfigGetCommand(), newConfigWatchCommand(), newConfigExplainCommand(),
		newConfigSetCommand(), newConfigUnsetCommand(), newConfigResetCommand(),
		newConfigPromoteCommand(), newConfigAbandonCommand(),
		newConfigHistoryCommand(), newConfigDiffCommand(), newConfigRollbackCommand(),
		newConfigValidateCommand(),
	)
	return cmd
}
