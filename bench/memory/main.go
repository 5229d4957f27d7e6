// Command memory shows what a long run costs in memory: the resident set of the
// process, and what a step takes from Go's heap, for a small and a large network of
// the same structure, each in a process of its own. The resident set should be flat
// once the process is warm, and a step's share of the heap should not depend on the
// size of the tensors.
//
//	go run ./bench/memory -steps 10000
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"runtime"

	"github.com/sinter-dl/sinter/bench/internal/rig"
	"github.com/sinter-dl/sinter/bench/internal/workload"
)

func main() {
	log.SetFlags(0)
	steps := flag.Int("steps", 10000, "training steps for each size")
	hidden := flag.Int("hidden", 0, "measure only this width of the hidden layer")
	batch := flag.Int("batch", 32, "examples in a step, with -hidden")
	flag.Parse()
	if err := run(*steps, *hidden, *batch); err != nil {
		log.Fatal(err)
	}
}

func run(steps, hidden, batch int) error {
	if hidden > 0 {
		return measure(hidden, batch, steps)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, size := range []struct{ hidden, batch int }{{32, 16}, {256, 64}} {
		c := exec.Command(self, fmt.Sprint("-hidden=", size.hidden), fmt.Sprint("-batch=", size.batch), fmt.Sprint("-steps=", steps))
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		if err := c.Run(); err != nil {
			return err
		}
	}
	return nil
}

// measure trains 784-hidden-10 and prints a line at a hundredth, a tenth, a half
// and all of the steps.
func measure(hidden, batch, steps int) error {
	job, err := workload.MLP(hidden, batch)
	if err != nil {
		return err
	}
	if _, err := job.Steps(context.Background(), 1); err != nil { // compiles
		return err
	}
	fmt.Printf("784-%d-10, batch %d: hidden activations of %d bytes\n", hidden, batch, 4*hidden*batch)
	fmt.Printf("%10s%16s%16s%18s%18s\n", "steps", "resident KiB", "live heap KiB", "allocations/step", "heap bytes/step")
	done := 1
	var before, after runtime.MemStats
	for _, at := range []int{steps / 100, steps / 10, steps / 2, steps} {
		if at <= done {
			continue
		}
		runtime.ReadMemStats(&before)
		if _, err := job.Steps(context.Background(), at-done); err != nil {
			return err
		}
		size, _ := rig.Resident()
		runtime.ReadMemStats(&after)
		n := float64(at - done)
		allocations, bytes := float64(after.Mallocs-before.Mallocs)/n, float64(after.TotalAlloc-before.TotalAlloc)/n
		runtime.GC()
		runtime.ReadMemStats(&after)
		fmt.Printf("%10d%16d%16d%18.1f%18.0f\n", at, size>>10, after.HeapAlloc>>10, allocations, bytes)
		done = at
	}
	fmt.Println()
	return nil
}
