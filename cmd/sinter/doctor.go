package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/sinter-dl/sinter/hardware/doctor"
	"github.com/sinter-dl/sinter/train/recipe"
	"github.com/sinter-dl/sinter/train/rundir"
)

func doctorCommand() *cobra.Command {
	var asJSON, strict, distributed, list bool
	var supply float64
	var limit time.Duration
	var ask string
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Examine this machine: what is missing, wrong or slow, and what to do about it",
		Long: `Examine this machine for deep learning: processor, memory, disks, graphics cards,
their drivers and libraries, limits of a container, network and clock. Every
device computes something, and the result is checked. Each check has a verdict
(ok, warning, failure, or skipped with the reason), what it rests on, and what to
do where it is not ok. --list says what is checked.

Exit status: 0; 1 if there are warnings and --strict is given; 2 if there are
failures. Nothing is changed: what is written to measure a disk is removed.`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			out := c.OutOrStdout()
			switch {
			case ask != "":
				return answer(out, ask)
			case supply < 0:
				return &recipe.UsageError{Place: "--supply", Reason: fmt.Sprintf("found %v, expected the watts on the label of the power supply", supply)}
			case limit <= 0:
				return &recipe.UsageError{Place: "--limit", Reason: fmt.Sprintf("found %v, expected a time above 0, such as 10s", limit)}
			case list:
				printChecks(out)
				return nil
			}
			r := doctor.Run(c.Context(), doctor.Options{Supply: supply, Distributed: distributed, Inventory: askInventory, Try: askTrial, Limit: limit, TryLimit: 6 * limit})
			if err := c.Context().Err(); err != nil {
				return err
			}
			if asJSON {
				text, err := json.MarshalIndent(r, "", "  ")
				if err != nil {
					return err
				}
				fmt.Fprintln(out, string(text))
			} else {
				printReport(out, r)
			}
			if status := r.ExitStatus(strict); status != 0 {
				return exitStatus(status)
			}
			return nil
		},
	}
	f := c.Flags()
	f.BoolVar(&asJSON, "json", false, "one JSON object on standard output")
	f.BoolVar(&strict, "strict", false, "exit status 1 if there are warnings")
	f.BoolVar(&distributed, "distributed", false, "judge the network by what training on several machines needs")
	f.Float64Var(&supply, "supply", 0, "watts on the label of the power supply, which no program can read")
	f.DurationVar(&limit, "limit", 10*time.Second, "how long a driver may take to answer; a device may compute six times as long")
	f.BoolVar(&list, "list", false, "list what is checked, and do nothing")
	f.StringVar(&ask, "ask", "", "")
	f.MarkHidden("ask")
	return c
}

// Drivers are asked by processes of their own: one that crashes or hangs takes that process
// with it, and the examination goes on. The process is this program again, with --ask.

const askDevices = "devices"

// trialAnswer is what the process says that has tried a device.
type trialAnswer struct {
	Trial doctor.Trial
	Error string
}

// answer is what the process does.
func answer(out io.Writer, ask string) error {
	if ask == askDevices {
		return json.NewEncoder(out).Encode(doctor.ReadInventory())
	}
	var a trialAnswer
	var err error
	if a.Trial, err = doctor.TryHere(ask); err != nil {
		a.Error = err.Error()
	}
	return json.NewEncoder(out).Encode(a)
}

func askInventory(ctx context.Context) (i doctor.Inventory, err error) {
	return i, inProcess(ctx, askDevices, &i)
}

func askTrial(ctx context.Context, device string) (doctor.Trial, error) {
	var a trialAnswer
	err := inProcess(ctx, device, &a)
	if err == nil && a.Error != "" {
		err = errors.New(strings.TrimPrefix(a.Error, "sinter: "))
	}
	return a.Trial, err
}

// inProcess asks in a process of its own, and reads the answer into v.
func inProcess(ctx context.Context, ask string, v any) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, exe, "doctor", "--ask", ask)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = append(os.Environ(), "SINTER_DEVICE=cpu") // no other device is opened before the one that is asked for
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("the process that asked the driver ended with %s: %s", ending(err), cmp.Or(lastWords(stderr.String()), "it said nothing"))
	}
	if err := json.Unmarshal(stdout.Bytes(), v); err != nil {
		return fmt.Errorf("the process that asked the driver answered %q: %w", lastWords(stdout.String()), err)
	}
	return nil
}

// ending is how a process has ended, its signal by name.
func ending(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if w, ok := exit.Sys().(syscall.WaitStatus); ok && w.Signaled() {
			return fmt.Sprintf("signal %d (%v)", int(w.Signal()), w.Signal())
		}
	}
	return err.Error()
}

// lastWords is what a process that has crashed says of the reason: the line of a Go program
// that tells it, else its last line.
func lastWords(text string) string {
	last := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		for _, begin := range []string{"SIG", "fatal error:", "panic:", "[signal"} {
			if strings.HasPrefix(line, begin) {
				return line
			}
		}
		if line != "" {
			last = line
		}
	}
	return last
}

// exitStatus is an error that has been told already.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

const (
	doctorWidth = 80
	verdictWide = 9
)

// printReport writes a block for each group: verdict, what was looked at, and the evidence,
// with the remedy indented under it. Of several findings of one check, the first has its name.
// Checks that were skipped for the same reason share a line.
func printReport(w io.Writer, r *doctor.Report) {
	wide := 0 // the column of names
	for _, f := range r.Findings {
		wide = max(wide, len(title(f)))
	}
	column := 2 + verdictWide + wide + 2
	for _, line := range wrap("sinter "+rundir.CurrentVersions().Sinter+" on "+printable(r.System), doctorWidth) {
		fmt.Fprintln(w, line)
	}
	fmt.Fprintln(w)
	var last doctor.Finding
	for i := 0; i < len(r.Findings); i++ {
		f := r.Findings[i]
		if f.Group != last.Group {
			if last.Group != "" {
				fmt.Fprintln(w)
			}
			fmt.Fprintln(w, f.Group)
		}
		name, text := title(f), printable(f.Evidence)
		if f.Check == last.Check {
			name = ""
		}
		if f.Subject != "" {
			text = printable(f.Subject) + ": " + text
		}
		for f.Verdict == doctor.Skipped && f.Subject == "" && i+1 < len(r.Findings) {
			next := r.Findings[i+1]
			if next.Verdict != f.Verdict || next.Group != f.Group || next.Evidence != f.Evidence || next.Subject != "" {
				break
			}
			name += ", " + title(next)
			i++
		}
		last = r.Findings[i]
		margin := fmt.Sprintf("  %-*s", verdictWide, f.Verdict)
		if len(name) > wide { // it has lines of its own
			for _, line := range wrap(name, doctorWidth-len(margin)) {
				fmt.Fprintln(w, margin+line)
				margin = strings.Repeat(" ", len(margin))
			}
			name = ""
		}
		paragraph(w, margin+fmt.Sprintf("%-*s", wide+2, name), text)
		if f.Remedy != "" {
			paragraph(w, strings.Repeat(" ", column)+"->  ", printable(f.Remedy))
		}
	}
	fmt.Fprintln(w)
	for _, line := range wrap(summary(r), doctorWidth) {
		fmt.Fprintln(w, line)
	}
}

// paragraph writes a text beside a head. A word that is too long for its column, as the path of
// a file, begins a line further left, so that it need not be broken.
func paragraph(w io.Writer, head, text string) {
	column := utf8.RuneCountInString(head)
	room := doctorWidth - column
	for _, line := range wrap(text, room) {
		if n := utf8.RuneCountInString(line); n > room {
			if strings.TrimSpace(head) != "" {
				fmt.Fprintln(w, strings.TrimRight(head, " "))
			}
			head = strings.Repeat(" ", max(4, doctorWidth-n))
		}
		fmt.Fprintln(w, head+line)
		head = strings.Repeat(" ", column)
	}
}

// title is the name of a finding's check under its group.
func title(f doctor.Finding) string {
	_, name, _ := strings.Cut(f.Check, ".")
	return name
}

func summary(r *doctor.Report) string {
	verdict := map[doctor.Verdict]string{
		doctor.OK:      "This machine is fit for training.",
		doctor.Warning: "This machine trains; what is warned of makes it slower or is a risk.",
		doctor.Failure: "Something does not work: see the failures.",
	}[r.Verdict]
	return fmt.Sprintf("%s %d ok, %s, %s, %d skipped, in %.1f s.", verdict, r.OK, plural(r.Warnings, "warning"), plural(r.Failures, "failure"), r.Skipped, r.Seconds)
}

// printable is a text without what moves a terminal's cursor: names come from drivers.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '·'
		}
		return r
	}, s)
}

// printChecks lists what is checked.
func printChecks(w io.Writer) {
	name, group := 0, ""
	for _, c := range doctor.Checks() {
		name = max(name, len(c.Name))
	}
	for _, c := range doctor.Checks() {
		if c.Group != group {
			if group != "" {
				fmt.Fprintln(w)
			}
			group = c.Group
			fmt.Fprintln(w, group)
		}
		head := c.Name
		for _, line := range wrap(c.About, doctorWidth-name-4) {
			fmt.Fprintf(w, "  %-*s  %s\n", name, head, line)
			head = ""
		}
	}
}
