package main

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// execute runs one command line and returns the exit code of the process.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return report(stderr, root.ExecuteContext(ctx))
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "shmkit",
		Short: "Run a program as many processes with shared logs and configuration",
		Long: `shmkit runs any program as several worker processes on this machine. It makes
their output one stream of log records and shares one live configuration among
them.

An error is one line on standard error that begins with "shmkit: ". The exit
code is 0, 1 for a failure, 2 for a wrong command line, or that of the worst
worker (128+signal for one that was killed).

The environment variable SHMKIT_DIR names the folder in which the live runs of
this user are found; it must be on a file system of this machine.`,
		Example: `  shmkit run -n 4 -- python3 job.py
  shmkit run -n 8 --config job.yaml --set level=debug --log json:out.jsonl -- ./job
  shmkit config set batch.size=64
  shmkit ps`,
		Version:       version(),
		SilenceErrors: true, // execute prints them, on one line
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs, // so that RunE words the error for an unknown command
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageErrorf(cmd, "%w", err)
	})
	root.SetVersionTemplate("shmkit {{.Version}}\n")
	root.AddCommand(newRunCommand(), newRankCommand(), newWorkersCommand(), newConfigCommand(), newPsCommand(), newLogsCommand(), newSalvageCommand())
	return root
}

// unknownCommand is the error for a word that names no command of cmd.
func unknownCommand(cmd *cobra.Command, word string) error {
	if near := cmd.SuggestionsFor(word); len(near) > 0 {
		return usageErrorf(cmd, "unknown command %q: did you mean %s?", word, strings.Join(near, " or "))
	}
	return usageErrorf(cmd, "unknown command %q: use one of %s", word, commandNames(cmd))
}

func commandNames(cmd *cobra.Command) string {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() && c.Name() != "completion" {
			names = append(names, c.Name())
		}
	}
	return strings.Join(names, ", ")
}

// arguments checks how many arguments follow the flags; want says in words what
// they are.
func arguments(least, most int, want string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usageErrorf(cmd, "%s is missing", want)
		case len(args) > most:
			return usageErrorf(cmd, "unexpected argument %q: want %s", args[most], want)
		}
		return nil
	}
}

// version is what the Go toolchain stamped into the binary.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v, revision, modified := info.Main.Version, "", ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = " " + s.Value[:min(12, len(s.Value))]
		case "vcs.modified":
			if s.Value == "true" {
				modified = " (modified)"
			}
		}
	}
	return fmt.Sprintf("%s%s%s %s", v, revision, modified, info.GoVersion)
}
