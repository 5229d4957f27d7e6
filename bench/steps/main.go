// Command steps measures training steps per second on synthetic data that lies in
// memory and goes to the model in shuffled batches, as in any training loop.
//
//	go run ./bench/steps -model mlp
//	go run ./bench/steps -model cnn
//	go run ./bench/steps -model gpt
//
// bench/gomlx is the peer's side for mlp and cnn, and bench/run.sh runs the two in
// turns.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"runtime/pprof"

	"github.com/sinter-dl/sinter/bench/internal/rig"
	"github.com/sinter-dl/sinter/bench/internal/workload"
)

func main() {
	log.SetFlags(0)
	meter := rig.Flags("mlp, cnn or gpt")
	profile := flag.String("cpuprofile", "", "write a processor profile of the run to this file")
	flag.Parse()
	if err := run(meter, *profile); err != nil {
		log.Fatal(err)
	}
	fmt.Println(meter.Result("sinter"))
}

func run(meter *rig.Meter, profile string) error {
	job, err := workload.New(meter.Model)
	if err != nil {
		return err
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
	return job.Train(context.Background(), meter.Step)
}
