// Command sinter trains neural networks and uses what was trained.
//
//	sinter train                      # a small image classifier on rendered digits and letters
//	sinter train tabular --data my.csv --target price
//	sinter predict runs/… new.csv
//
// 'sinter help' lists the commands. This package reads flags, prints, and chooses
// exit codes; the work is done by train/recipe and what lies below it.
//
// Exit status: 0 done; 1 bad data, or the run failed; 2 bad usage: an unknown
// recipe, key, value or flag; 75 stopped before the end by Ctrl-C, SIGTERM or
// control.yaml, to be gone on with (sinter train --resume).
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	_ "time/tzdata" // windows of time are in zones, which a bare machine does not know

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/train/recipe"
	"github.com/sinter-dl/sinter/train/rundir"
)

const (
	exitFailure = 1
	exitUsage   = 2
	exitStopped = 75 // EX_TEMPFAIL of sysexits.h: try again
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() {
		// A second Ctrl-C ends the program at once. A second SIGTERM does not: schedulers
		// send it to a process and to its parent, which passes it on.
		signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM)
		stop()
	})
	os.Exit(run(ctx))
}

// run carries out the command line and gives the exit status.
func run(ctx context.Context) int {
	root := command()
	c, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	status := exitFailure
	var told exitStatus
	if errors.As(err, &told) {
		return int(told)
	}
	var wrong *recipe.UsageError
	switch {
	case ctx.Err() != nil, errors.As(err, new(*interruption)):
		status = exitStopped
	case errors.As(err, &wrong), !working(c):
		status = exitUsage
	}
	message := describe(err)
	if wantsJSON(c) {
		line, _ := json.Marshal(map[string]any{"event": "error", "status": status, "message": message})
		fmt.Fprintln(os.Stderr, string(line))
	} else {
		fmt.Fprintln(os.Stderr, "sinter: "+message)
	}
	return status
}

// describe makes one line of an error.
func describe(err error) string {
	var build *sinter.BuildError
	if errors.As(err, &build) {
		return build.Error() // the operation, shapes and place say it all
	}
	var stopped *interruption
	if errors.Is(err, context.Canceled) && !errors.As(err, &stopped) {
		return "interrupted"
	}
	return strings.TrimPrefix(err.Error(), "data: ")
}

// interruption is a run that was stopped after it had something to keep.
type interruption struct{ message string }

func (e *interruption) Error() string { return e.message }
func (e *interruption) Unwrap() error { return context.Canceled }

// annotation marks a command whose flags and arguments were understood: errors
// after that are not about usage.
const annotation = "working"

func working(c *cobra.Command) bool { return c.Annotations[annotation] != "" }

func wantsJSON(c *cobra.Command) bool {
	f := c.Flags().Lookup("json")
	return f != nil && f.Value.String() == "true"
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:   "sinter",
		Short: "Deep learning for Go: train neural networks and use them",
		Long: `Sinter trains neural networks from one program: no Python, no cgo, nothing else
to install. Without arguments, 'sinter train' trains an image classifier on
digits and letters that it renders itself.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			var known []string
			for _, sub := range c.Commands() {
				if sub.IsAvailableCommand() {
					known = append(known, sub.Name())
				}
			}
			return &recipe.UsageError{Reason: fmt.Sprintf("unknown command %q%s", args[0], recipe.Suggest(args[0], known))}
		},
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRun: func(c *cobra.Command, _ []string) {
			c.Annotations = map[string]string{annotation: "yes"}
			recoverLimits()
		},
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(
		trainCommand(), planCommand(), evalCommand(), predictCommand(), generateCommand(), summaryCommand(), tuneCommand(),
		runsCommand(), watchCommand(), queueCommand(), queuedCommand(), sweepCommand(), submitCommand(), topCommand(), exportCommand(),
		recipeCommand(), devicesCommand(), doctorCommand(), tokenizerCommand(), versionCommand(),
	)
	return root
}

// flagError says what a flag takes, or names the nearest flag that there is.
func flagError(c *cobra.Command, err error) error {
	var value *pflag.InvalidValueError
	if errors.As(err, &value) {
		wants := map[string]string{"int": "a whole number", "uint64": "a whole number that is not negative", "float64": "a number", "bool": "true or false", "duration": "a time such as 10s"}
		f := value.GetFlag()
		return &recipe.UsageError{Place: "--" + f.Name, Reason: fmt.Sprintf("found %q, expected %s", value.GetValue(), wants[f.Value.Type()])}
	}
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return &recipe.UsageError{Reason: err.Error()}
	}
	var known []string
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			known = append(known, f.Name)
		}
	})
	name := unknown.GetSpecifiedName()
	return &recipe.UsageError{Reason: fmt.Sprintf("unknown flag --%s%s", name, recipe.Suggest(name, known))}
}

// exactly is cobra.ExactArgs with a message that says what is missing.
func exactly(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return fmt.Errorf("%s: missing %s; usage: %s", c.CommandPath(), names[len(args)], c.UseLine())
		}
		if len(args) > len(names) {
			return fmt.Errorf("%s: unexpected argument %q; usage: %s", c.CommandPath(), args[len(names)], c.UseLine())
		}
		return nil
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version and what it runs on",
		Args:  exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			v := rundir.CurrentVersions()
			fmt.Fprintf(c.OutOrStdout(), "sinter %s (%s, %s/%s, %s, %d CPUs)\n", v.Sinter, v.Go, v.OS, v.Arch, v.CPU, v.CPUs)
			return nil
		},
	}
}
