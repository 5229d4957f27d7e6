package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/train/recipe"
)

// machine is what a command computes on, as its flags say. For training, the number
// of threads is a key of the recipe.
type machine struct {
	device  string
	threads int
}

const threadsUsage = "threads to compute on; 0: as many as there are processors"

var devices = []string{"auto", "cpu"}

func (m *machine) deviceFlag(c *cobra.Command) {
	c.Flags().StringVar(&m.device, "device", "auto", "what to compute on, `auto or cpu`")
}

func (m *machine) threadsFlag(c *cobra.Command) {
	c.Flags().IntVar(&m.threads, "threads", 0, "`N`, "+threadsUsage)
}

// use applies the flags.
func (m *machine) use() error {
	if m.threads < 0 {
		return &recipe.UsageError{Place: "--threads", Reason: "expected 0 (as many as there are processors) or above"}
	}
	if m.threads > 0 {
		sinter.SetThreads(m.threads)
	}
	switch m.device {
	case "auto":
		return nil
	case "cpu":
		return sinter.SetDevice(m.device)
	}
	return &recipe.UsageError{Place: "--device", Reason: fmt.Sprintf("unknown device %q%s", m.device, recipe.Suggest(m.device, devices))}
}
