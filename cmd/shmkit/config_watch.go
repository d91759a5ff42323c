package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"shmkit"
)

func newConfigWatchCommand() *cobra.Command {
	var run runNameFlag
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "watch [KEY]",
		Short: "Print a configuration value at each change until the run ends",
		Long: `Print one line now and one at each change of KEY, or of the whole configuration:
the version and the value. A key that does not exist, or no longer, has an empty
value. Values that would not fit on a line are printed as JSON. Changes that
follow each other very quickly may appear as one. Ends with exit code 0 when the
run ends.`,
		Example: `  shmkit config watch
  shmkit config watch level | while read -r version level; do echo "now $level"; done`,
		Args: arguments(0, 1, "at most one KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, format := "", changeLine
			if len(args) == 1 {
				key = args[0]
			}
			if asJSON {
				format = changeJSON
			}
			c, err := shmkit.Dial(cmd.Context(), shmkit.DialOptions{Run: string(run)})
			if err != nil {
				return err
			}
			defer c.Close()
			for update, err := range c.Watch(cmd.Context(), key) {
				if err != nil {
					return err
				}
				line, err := format(update)
				if err != nil {
					return fmt.Errorf("run %q: %w", c.Name(), err)
				}
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), line); err != nil {
					return err
				}
			}
			return nil
		},
	}
	addRunFlag(cmd, &run)
	cmd.Flags().BoolVar(&asJSON, "json", false, `print {"version":…,"value":…}, without value if there is no such key`)
	return cmd
}

// changeLine is the version and the value on one line.
func changeLine(u shmkit.Update) (string, error) {
	if u.Missing {
		return fmt.Sprint(u.Version), nil
	}
	value, err := plainLine(u.Value)
	return fmt.Sprintf("%d %s", u.Version, value), err
}

func changeJSON(u shmkit.Update) (string, error) {
	line, err := json.Marshal(struct {
		Version uint64          `json:"version"`
		Value   json.RawMessage `json:"value,omitempty"`
	}{u.Version, u.Value})
	return string(line), err
}
