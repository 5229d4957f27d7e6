package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/sinter-dl/sinter/cmd/sinter/internal/monitor"
	"github.com/sinter-dl/sinter/cmd/sinter/internal/top"
	"github.com/sinter-dl/sinter/train/recipe"
)

func topCommand() *cobra.Command {
	o := top.Options{}
	c := &cobra.Command{
		Use:   "top",
		Short: "Watch devices and the runs that train on this machine",
		Long: `Show the devices of this machine, with their load, memory, power, temperature and
clocks, and the runs of Sinter that train on it: step, loss, speed, energy and the
time left. The arrow keys select, ? lists the other keys, q ends it.

Where the output is no terminal, or with --once, the same is printed once, with the
details of every device and run. What a device does not tell is n/a, and null in
JSON. Runs are those of this user; root sees those of all users.`,
		Example: "  sinter top\n  sinter top --once\n  sinter top --json --interval 10s > machine.jsonl",
		Args:    exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			if o.Interval < 100*time.Millisecond {
				return &recipe.UsageError{Place: "--interval " + o.Interval.String(), Reason: "expected 100ms or more, such as 2s"}
			}
			o.Reader, o.Out = monitor.Open(monitor.Options{}), c.OutOrStdout()
			defer o.Reader.Close()
			return top.Run(c.Context(), o)
		},
	}
	c.Flags().BoolVar(&o.JSON, "json", false, "one JSON object on a line for each reading, until it is ended")
	c.Flags().BoolVar(&o.Once, "once", false, "one reading, then end")
	c.Flags().DurationVar(&o.Interval, "interval", time.Second, "`TIME` between two readings")
	c.Flags().SortFlags = false
	return c
}
