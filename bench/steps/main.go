// Command steps measures training steps per second on synthetic data that lies in
// memory and goes to the model in shuffled batches, as in any training loop.
//
//	go run ./bench/steps -model gpt
//
// package workload says what the models are. With -export it writes the untrained
// model and the batches instead, for a peer that is to train the same:
// bench/torch/steps.py reads them. bench/compare lets both take turns.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"runtime/pprof"
	"strings"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/bench/internal/rig"
	"github.com/sinter-dl/sinter/bench/internal/workload"
	"github.com/sinter-dl/sinter/optim"
)

func main() {
	log.SetFlags(0)
	meter := rig.Flags(strings.Join(workload.Names, ", "))
	profile := flag.String("cpuprofile", "", "write a processor profile of the run to this file")
	precision := flag.String("precision", "fp32", "of the products: fp32, bf16, fp16 or tf32")
	export := flag.String("export", "", "write the model and the batches to this file and stop")
	flag.Parse()
	if err := run(meter, *profile, *precision, *export); err != nil {
		log.Fatal(err)
	}
}

func run(meter *rig.Meter, profile, precision, export string) error {
	p, err := sinter.ParsePrecision(precision)
	if err != nil {
		return err
	}
	job, err := workload.New(meter.Model, optim.Precision(p))
	if err != nil {
		return err
	}
	ctx := context.Background()
	if export != "" {
		return job.Export(ctx, export)
	}
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	meter.Start()
	if err := job.Train(ctx, meter.Step); err != nil {
		return err
	}
	// The step's program ran last. Between steps everything but the variables is in
	// its arena.
	stats := sinter.ReadStats()
	meter.Finish("sinter", stats.UsedBytes+int64(stats.ArenaBytes))
	return nil
}
