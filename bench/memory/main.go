// Command memory shows what a long run costs in memory: the resident set of the
// process, and what a step takes from Go's heap, for a small and a large model of
// the same structure. The resident set should stay flat from the first line on,
// and the heap's share of a step should not depend on the size of the tensors.
//
//	go run ./bench/memory -steps 10000
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"runtime"

	"github.com/sinter-dl/sinter/bench/internal/workload"
)

func main() {
	log.SetFlags(0)
	steps := flag.Int("steps", 10000, "training steps for each size")
	flag.Parse()
	for _, size := range []struct{ hidden, batch int }{{32, 16}, {256, 64}} {
		if err := measure(size.hidden, size.batch, *steps); err != nil {
			log.Fatal(err)
		}
	}
}

// measure trains 784-hidden-10 and prints a line at a hundredth, a tenth, a half
// and all of the steps.
func measure(hidden, batch, steps int) error {
	job, err := workload.MLP(hidden, batch)
	if err != nil {
		return err
	}
	fmt.Printf("784-%d-10, batch %d, %d bytes of hidden activations\n", hidden, batch, 4*hidden*batch)
	fmt.Printf("%10s%16s%16s%18s%18s\n", "steps", "resident KiB", "Go heap KiB", "allocations/step", "heap bytes/step")
	done := 0
	var before, after runtime.MemStats
	for _, at := range []int{steps / 100, steps / 10, steps / 2, steps} {
		if at <= done {
			continue
		}
		runtime.ReadMemStats(&before)
		if _, err := job.Steps(context.Background(), at-done); err != nil {
			return err
		}
		runtime.ReadMemStats(&after)
		n := float64(at - done)
		fmt.Printf("%10d%16s%16d%18.1f%18.0f\n", at, resident(), after.HeapInuse>>10,
			float64(after.Mallocs-before.Mallocs)/n, float64(after.TotalAlloc-before.TotalAlloc)/n)
		done = at
	}
	fmt.Println()
	return nil
}
