package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/queue/cluster"
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
	if m.device != "" && m.device != "auto" {
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
	name, err := ranked()
	if err != nil {
		return err
	}
	if name != "" {
		return recipe.UseDevice("LOCAL_RANK", name)
	}
	return recipe.UseDevice("", "auto")
}

// launch is what a launcher such as torchrun has said in the environment.
func launch() (cluster.Launch, error) {
	l, err := cluster.Environment(os.Getenv)
	return l, environmentError(err)
}

// ranked is the device that a launcher meant for this process, empty if there is no
// launcher or nothing to choose from.
func ranked() (string, error) {
	l, err := launch()
	if err != nil || l.LocalRank < 0 {
		return "", err
	}
	for _, d := range sinter.Devices() {
		if d.Backend == "cuda" && d.Problem == "" {
			return fmt.Sprintf("cuda:%d", l.LocalRank), nil
		}
	}
	return "", nil
}

// alone refuses to train as one process of several.
func alone() error {
	l, err := launch()
	if err != nil {
		return err
	}
	return environmentError(l.Alone())
}

func environmentError(err error) error {
	var wrong *cluster.EnvironmentError
	if errors.As(err, &wrong) {
		return &recipe.UsageError{Place: wrong.Name, Reason: wrong.Reason}
	}
	return err
}
