package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sinter-dl/sinter/cmd/sinter/internal/ui"
	"github.com/sinter-dl/sinter/train/profile"
	"github.com/sinter-dl/sinter/train/recipe"
	"github.com/sinter-dl/sinter/train/rundir"
)

// The files of a profile in the run folder.
const (
	traceFile   = "trace.json"
	profileFile = "profile.json"
)

// writeProfile tries what the profile advises, now that the run is over, and writes the
// profile into the run folder.
func writeProfile(c *cobra.Command, p *profile.Profiler, job *recipe.Job, result *recipe.Result, asJSON bool) error {
	r := p.Report()
	if r.Verdict == nil {
		return fmt.Errorf("the run ended before a step was profiled, which begins after %d steps", profile.Usual.Wait+profile.Usual.Warmup)
	}
	var trace bytes.Buffer
	if err := p.WriteTrace(&trace); err != nil {
		return err
	}
	if err := rundir.WriteFile(filepath.Join(result.Run, traceFile), trace.Bytes()); err != nil {
		return err
	}
	tried := r.Try(c.Context(), job.Trainer, job.Model, job.Source.Train)
	text, err := json.Marshal(r)
	if err == nil {
		err = rundir.WriteFile(filepath.Join(result.Run, profileFile), append(text, '\n'))
	}
	if err != nil {
		return err
	}
	w := c.OutOrStdout()
	if asJSON {
		w = os.Stderr
	}
	printProfile(w, r, result.Run)
	return tried
}

// maxRows is how many lines of a table are printed.
const maxRows = 15

func printProfile(w io.Writer, r *profile.Report, run string) {
	fmt.Fprintf(w, "\nprofile of %s of the run, %s on %d threads; the machine was measured at its beginning: %sFLOP/s, %sB/s\n",
		plural(r.Steps, "step"), r.Device, r.Threads, ui.SI(r.Machine.FLOPs), ui.SI(r.Machine.Bandwidth))
	fmt.Fprintf(w, "%s a step: %s waiting for batches, %s in kernels (%d of them), %s on the host\n\n",
		microseconds(r.Seconds/float64(r.Steps)), ui.Percent(r.Wait), ui.Percent(r.Kernels), r.Launches/r.Steps, ui.Percent(r.Host))
	table := func(head string, list []profile.Row) {
		rows := [][]string{{head, "calls", "time", "share", "FLOPs", "bytes", "of the machine"}}
		for i, o := range list {
			if i == maxRows {
				rows = append(rows, []string{fmt.Sprintf("%d more in %s", len(list)-i, profileFile)})
				break
			}
			rows = append(rows, []string{o.Name, ui.Count(o.Calls), microseconds(o.Seconds), ui.Percent(o.Share),
				ui.SI(o.FLOPs + o.Elementwise), ui.SI(o.Bytes), ui.Percent(o.Efficiency)})
		}
		ui.Table(w, rows)
		fmt.Fprintln(w)
	}
	table("operation", r.Operations)
	table("layer", r.Layers)
	v := r.Verdict
	fmt.Fprintf(w, "%s: %s of the time. %s%s.\n", v.Kind, ui.Percent(v.Shares[v.Kind]), string(v.Knob[0]-'a'+'A'), v.Knob[1:])
	for _, t := range v.Tried {
		if t.Error != "" {
			fmt.Fprintf(w, "  tried: %s: failed: %s\n", t.Change, t.Error)
			continue
		}
		fmt.Fprintf(w, "  tried: %s: %s samples/s, before %s: %.2f times as fast\n", t.Change, ui.Number(t.After), ui.Number(t.Before), t.Gain())
	}
	if len(v.Tried) == 0 {
		fmt.Fprintln(w, "  nothing was tried: all threads and the lower precision are in use")
	}
	fmt.Fprintf(w, "trace for chrome://tracing or ui.perfetto.dev: %s\n", filepath.Join(run, traceFile))
}

// microseconds writes a time that may be short.
func microseconds(s float64) string {
	switch {
	case s < 1e-3:
		return fmt.Sprintf("%.1f µs", s*1e6)
	case s < 1:
		return fmt.Sprintf("%.2f ms", s*1e3)
	}
	return fmt.Sprintf("%.2f s", s)
}
