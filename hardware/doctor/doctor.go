// Package doctor judges whether a machine is fit for deep learning, before time is lost on
// it: whether there is enough of what training needs, whether what is there works, and what to
// do where it does not.
//
// # How it works
//
// A Check looks at one thing. What it says is a list of findings, one for each thing that it
// has looked at (a card, a folder, a library): a verdict, the evidence that the verdict rests
// on, and where the verdict is not ok, the remedy, as exact as it can be told: the command to
// type, the option to give. The verdicts are
//
//	ok       nothing to do
//	warning  training works, but slower, or with a risk that it is better to know
//	failure  training does not work here, or not on this device, or its results cannot be trusted,
//	         or the hardware slows down to protect itself
//	skipped  not applicable here, or it cannot be told; the evidence says which, and why
//
// The checks stand in one table (checks.go), and judge facts. Facts are gathered once, however
// many checks want them (machine.go): from the file systems in which Linux describes the
// machine (hardware.System, whose root tests put elsewhere), from the drivers' telemetry, from
// the search for vendors' libraries, and from devices by using them. Checks run side by side,
// since what takes long is waiting: for a disk, for a driver to start.
//
// A driver that is broken may not answer at all, or may take the process that asks with it.
// Every question to a driver has a limit of time, and that no answer came is a finding. The
// command asks such questions in processes of their own, so that a crash is one as well; see
// Options.Inventory and Options.Try.
package doctor

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/sinter-dl/sinter/hardware"
	"github.com/sinter-dl/sinter/hardware/telemetry"
)

// Verdict is what a check says of one thing.
type Verdict = hardware.Verdict

const (
	OK      = hardware.OK
	Warning = hardware.Warning
	Failure = hardware.Failure
	Skipped = Verdict("skipped")
)

// Finding is what a check has found out of one thing.
type Finding struct {
	Group    string  `json:"group"`             // "Cards"
	Check    string  `json:"check"`             // "card.pcie"; it stays the same between versions
	Subject  string  `json:"subject,omitempty"` // what it is of: "cuda:0", "/work/runs"; "" for the machine
	Verdict  Verdict `json:"verdict"`
	Evidence string  `json:"evidence"`         // what was seen, with numbers and units
	Remedy   string  `json:"remedy,omitempty"` // what to do; a warning or failure always has one
}

// Report is the findings of all checks, in the order of the table of checks.
type Report struct {
	Verdict  Verdict   `json:"verdict"` // the worst of all
	OK       int       `json:"ok"`      // how many there are of each
	Warnings int       `json:"warnings"`
	Failures int       `json:"failures"`
	Skipped  int       `json:"skipped"`
	Seconds  float64   `json:"seconds"` // that the examination took
	System   string    `json:"system"`  // "linux/amd64, Debian GNU/Linux 12 (bookworm), kernel 6.1.0, virtual (kvm)"
	Findings []Finding `json:"findings"`
}

// Options is what to examine, and by what. The zero value is this machine.
type Options struct {
	// System is the machine; its root is another in tests.
	System hardware.System
	// Folders is where something will be written; nil is DefaultFolders().
	Folders []Folder
	// Supply is what the label of the power supply says, in watts, which no program can read.
	// With 0, the report says what the machine needs, to be compared.
	Supply float64
	// Distributed is whether the machine is to train together with others: the network is
	// then judged by what that needs.
	Distributed bool
	// Inventory says what devices and libraries there are, and Try uses a device. They talk to
	// drivers, and should do so in a process of their own, which is killed when the context
	// ends. Where they are nil, ReadInventory and TryHere do it in this one.
	Inventory func(context.Context) (Inventory, error)
	Try       func(ctx context.Context, device string) (Trial, error)
	// Sources is asked for telemetry instead of NVML and AMD's driver.
	Sources []telemetry.Source
	// Limit is how long a question to a driver may take, and TryLimit how long using a device
	// may; 0 is 10 and 60 seconds. Compilers of OpenCL take seconds when they run first.
	Limit, TryLimit time.Duration

	probes probes // what tests put in place of the kernel's answers
}

// Check looks at one thing.
type Check struct {
	Name  string // "card.pcie"
	Group string // what it stands under in the report
	About string // what it looks at, in a few words
	run   func(*machine) []Finding
}

// Run examines a machine. It takes as long as the slowest check, and ends early only if the
// context does; findings of checks that had not ended then say so.
func Run(ctx context.Context, o Options) *Report {
	begin := time.Now()
	m := newMachine(ctx, o)
	list := make([][]Finding, len(checks))
	var wait sync.WaitGroup
	for i := range checks {
		wait.Go(func() { list[i] = checks[i].examine(m) })
	}
	wait.Wait()
	r := &Report{Verdict: OK, System: describe(o.System)}
	for _, findings := range list {
		for _, f := range findings {
			r.add(f)
		}
	}
	r.Seconds = time.Since(begin).Seconds()
	return r
}

// describe is what sort of machine it is.
func describe(s hardware.System) string {
	parts := []string{runtime.GOOS + "/" + runtime.GOARCH}
	name, kernel := s.OS()
	if name != "" {
		parts = append(parts, name)
	}
	if kernel != "" {
		parts = append(parts, "kernel "+kernel)
	}
	if virtual, err := s.Virtual(); err == nil && virtual != "" {
		parts = append(parts, "virtual ("+virtual+")")
	}
	return tidy(strings.Join(parts, ", "))
}

// examine runs a check and fills in what all of its findings have in common. A check that
// panics, because a machine is as none was thought of, is a finding as well.
func (c *Check) examine(m *machine) (list []Finding) {
	defer func() {
		if p := recover(); p != nil {
			list = append(list, Finding{Verdict: Warning, Evidence: fmt.Sprintf("the check broke: %v", p), Remedy: "report this with the output of 'sinter doctor --json'"})
		}
		for i := range list {
			f := &list[i]
			f.Group, f.Check = c.Group, c.Name
			f.Evidence, f.Remedy = tidy(f.Evidence), tidy(f.Remedy)
		}
	}()
	return c.run(m)
}

// tidy makes one line of a text, which may be an error of several.
func tidy(s string) string { return strings.Join(strings.Fields(s), " ") }

func (r *Report) add(f Finding) {
	r.Findings = append(r.Findings, f)
	switch f.Verdict {
	case OK:
		r.OK++
	case Warning:
		r.Warnings++
		if r.Verdict == OK {
			r.Verdict = Warning
		}
	case Failure:
		r.Failures++
		r.Verdict = Failure
	default:
		r.Skipped++
	}
}

// ExitStatus is the command's: 2 if there is a failure, 1 if there is a warning and warnings
// count (strict), else 0.
func (r *Report) ExitStatus(strict bool) int {
	switch {
	case r.Failures > 0:
		return 2
	case strict && r.Warnings > 0:
		return 1
	}
	return 0
}

// Checks lists what is looked at, in the order of the report.
func Checks() []Check { return append([]Check(nil), checks...) }

// What checks write findings with. A remedy is no format, since commands have percent signs.

func ok(subject, format string, args ...any) Finding {
	return Finding{Subject: subject, Verdict: OK, Evidence: fmt.Sprintf(format, args...)}
}

func skip(subject, format string, args ...any) Finding {
	return Finding{Subject: subject, Verdict: Skipped, Evidence: fmt.Sprintf(format, args...)}
}

func warn(subject, remedy, format string, args ...any) Finding {
	return Finding{Subject: subject, Verdict: Warning, Remedy: remedy, Evidence: fmt.Sprintf(format, args...)}
}

func fail(subject, remedy, format string, args ...any) Finding {
	return Finding{Subject: subject, Verdict: Failure, Remedy: remedy, Evidence: fmt.Sprintf(format, args...)}
}

// one is a list of one finding.
func one(f Finding) []Finding { return []Finding{f} }

// within asks f, once, however many ask for the answer. If none comes in time, that is the
// error, and f goes on by itself.
func within[T any](ctx context.Context, limit time.Duration, what string, f func(context.Context) (T, error)) func() (T, error) {
	type answer struct {
		v   T
		err error
	}
	return sync.OnceValues(func() (T, error) {
		limited, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		got := make(chan answer, 1)
		go func() {
			defer func() {
				if p := recover(); p != nil {
					got <- answer{err: fmt.Errorf("%s broke: %v", what, p)}
				}
			}()
			v, err := f(limited)
			got <- answer{v, err}
		}()
		var none T
		select {
		case a := <-got:
			if a.err != nil && ctx.Err() == nil && limited.Err() != nil {
				return none, &NoAnswerError{What: what, Limit: limit}
			}
			return a.v, a.err
		case <-limited.Done():
			if ctx.Err() != nil {
				return none, fmt.Errorf("%s: interrupted", what)
			}
			return none, &NoAnswerError{What: what, Limit: limit}
		}
	})
}

// NoAnswerError is a driver that does not answer.
type NoAnswerError struct {
	What  string
	Limit time.Duration
}

func (e *NoAnswerError) Error() string {
	return fmt.Sprintf("no answer from %s within %v: it hangs", e.What, e.Limit)
}

func (o *Options) defaults() {
	o.probe()
	o.Limit = cmp.Or(o.Limit, 10*time.Second)
	o.TryLimit = cmp.Or(o.TryLimit, 60*time.Second)
	if o.Inventory == nil {
		o.Inventory = func(context.Context) (Inventory, error) { return ReadInventory(), nil }
	}
	if o.Try == nil {
		o.Try = func(_ context.Context, device string) (Trial, error) { return TryHere(device) }
	}
}
