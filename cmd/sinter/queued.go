package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sinter-dl/sinter/hardware/telemetry"
	"github.com/sinter-dl/sinter/power/powerfile"
	"github.com/sinter-dl/sinter/queue"
)

func queuedCommand() *cobra.Command {
	var db string
	var once bool
	c := &cobra.Command{
		Use:   "queued",
		Short: "Carry out the queue",
		Long: `Carry out the jobs of 'sinter queue', in the foreground, until Ctrl-C or SIGTERM:
then the runs write their checkpoints and go on when it is started again, to the
same bits. What it does is told a line at a time on standard error.

A queued that is killed leaves its runs running; the next one takes them over.
After a crash of the machine runs go on from their last checkpoints.`,
		Example: "  sinter queued\n  sinter queued --once        # what can run now, for cron",
		Args:    exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := openQueue(db)
			if err != nil {
				return err
			}
			program, err := os.Executable()
			if err != nil {
				return err
			}
			d := &queue.Daemon{
				Store: s, Program: program, Once: once, Load: powerfile.LoadSeries,
				Devices: func(ctx context.Context) ([]queue.Device, error) { return findDevices(ctx, program) },
				Log: func(text string) {
					fmt.Fprintf(os.Stderr, "%s %s\n", time.Now().Format("2006-01-02 15:04:05"), text)
				},
			}
			return d.Run(c.Context())
		},
	}
	c.Flags().StringVar(&db, "db", "", "`FILE` with the queue, instead of the one in your folder of states")
	c.Flags().BoolVar(&once, "once", false, "end when nothing runs and nothing can start now")
	return c
}

// findDevices is what one job at a time can run on: what 'sinter devices' lists, asked in
// a process of its own, since a driver that is opened keeps memory of its device; and in
// place of a device that is cut by MIG its slices.
func findDevices(ctx context.Context, program string) ([]queue.Device, error) {
	c := exec.CommandContext(ctx, program, "devices", "--json")
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	c.WaitDelay = time.Second
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("'sinter devices' failed: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	var list deviceList
	if err := json.Unmarshal(stdout.Bytes(), &list); err != nil {
		return nil, fmt.Errorf("'sinter devices' cannot be read: %w", err)
	}
	m, err := telemetry.Open(telemetry.Options{})
	if err != nil {
		return nil, err
	}
	defer m.Close()
	return devicesOf(&list, m.Read()), nil
}

// devicesOf is the devices for the queue. Jobs that name none run on those of the kind that
// 'auto' takes. What OpenCL tells of a processor, or of a card that CUDA tells of too, is
// the same hardware.
func devicesOf(list *deviceList, readings []telemetry.Reading) (all []queue.Device) {
	best := ""
	for _, d := range list.Devices {
		if d.Name == list.Auto {
			best = d.Backend
		}
	}
	cuda := map[string][]string{} // names by model
	for _, d := range list.Devices {
		one := queue.Device{Name: d.Name, Model: d.Model, Auto: d.Backend == best, Memory: d.MemoryTotal, Problem: d.Problem}
		if d.Backend == "cuda" {
			cuda[d.Model] = append(cuda[d.Model], d.Name)
		}
		all = append(all, one)
	}
	for i, d := range list.Devices {
		switch same := cuda[d.Model]; {
		case d.Backend != "opencl":
		case d.Kind == "cpu":
			all[i].Unit = "cpu"
		case len(same) > 0: // both count the cards of a model in the same order
			all[i].Unit, cuda[d.Model] = same[0], same[1:]
		}
	}
	for _, r := range readings {
		i := slices.IndexFunc(all, func(d queue.Device) bool { return d.Name == r.Device })
		if i < 0 || len(r.Slices) == 0 {
			continue
		}
		var parts []queue.Device
		for _, s := range r.Slices {
			// "NVIDIA A100-SXM4-40GB MIG 1g.5gb"
			_, profile, _ := strings.Cut(s.Model, "MIG ")
			part := queue.Device{Name: "cuda:" + s.UUID, Model: s.Model, Auto: all[i].Auto, Slice: profile, Problem: s.Problem}
			if s.MemoryTotal.OK {
				part.Memory = int64(s.MemoryTotal.V)
			}
			parts = append(parts, part)
		}
		all = slices.Replace(all, i, i+1, parts...)
	}
	return all
}
