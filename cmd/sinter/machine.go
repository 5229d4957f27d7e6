package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/train/recipe"
)

// machine is what a command computes on, as its flags say. For commands that take a
// recipe, both are keys of the recipe.
type machine struct {
	device  string
	threads int
}

const (
	threadsUsage = "threads to compute on; 0: as many as there are processors"
	deviceUsage  = "what to compute on: auto, cpu, cuda:0, opencl:0, …, see 'sinter devices'; auto unless said here or in SINTER_DEVICE"
)

func (m *machine) deviceFlag(c *cobra.Command) {
	c.Flags().StringVar(&m.device, "device", "", "`DEVICE`, "+deviceUsage)
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
	if m.device != "" {
		return recipe.UseDevice("--device", m.device)
	}
	return useDefault()
}

// useDefault takes the device of those who do not name one, before a recipe may name
// another.
func useDefault() error {
	if name := os.Getenv("SINTER_DEVICE"); name != "" {
		return recipe.UseDevice("SINTER_DEVICE", name)
	}
	return recipe.UseDevice("", "auto")
}
