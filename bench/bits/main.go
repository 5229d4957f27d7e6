// Command bits shows that a training run gives the same bits whatever number of
// processors works on it. It starts itself once for every value of GOMAXPROCS,
// and compares the digests of all weights and of the optimizer's state at the end.
//
//	go run ./bench/bits -procs 1,2 -steps 200
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/sinter-dl/sinter/bench/internal/workload"
)

func main() {
	log.SetFlags(0)
	models := flag.String("models", "mlp,cnn,gpt", "what to train, of "+strings.Join(workload.Names, ", "))
	procs := flag.String("procs", "1,2", "values of GOMAXPROCS")
	steps := flag.Int("steps", 200, "training steps")
	child := flag.String("child", "", "train this model in this process and print the digest; for the program's own use")
	flag.Parse()

	if *child != "" {
		if err := train(*child, *steps); err != nil {
			log.Fatal(err)
		}
		return
	}
	differ := 0
	for model := range strings.SplitSeq(*models, ",") {
		same, err := compare(model, *procs, *steps)
		if err != nil {
			log.Fatal(err)
		}
		if !same {
			differ++
		}
	}
	if differ > 0 {
		log.Fatalf("%d of the models differ", differ)
	}
}

func train(model string, steps int) error {
	job, err := workload.New(model)
	if err != nil {
		return err
	}
	loss, err := job.Steps(context.Background(), steps)
	if err != nil {
		return err
	}
	fmt.Printf("%s loss %v GOMAXPROCS %d\n", job.Digest(), loss, runtime.GOMAXPROCS(0))
	return nil
}

// compare trains a model in one process for each number of processors.
func compare(model, procs string, steps int) (same bool, err error) {
	self, err := os.Executable()
	if err != nil {
		return false, err
	}
	same = true
	var first string
	for n := range strings.SplitSeq(procs, ",") {
		c := exec.Command(self, "-child", model, "-steps", fmt.Sprint(steps))
		c.Env = append(os.Environ(), "GOMAXPROCS="+n)
		c.Stderr = os.Stderr
		out, err := c.Output()
		if err != nil {
			return false, fmt.Errorf("%s at GOMAXPROCS=%s: %w", model, n, err)
		}
		digest, rest, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
		fmt.Printf("%s, %d steps: %.16s… %s\n", model, steps, digest, rest)
		if first == "" {
			first = digest
		}
		same = same && digest == first
	}
	if same {
		fmt.Printf("%s: the same bits\n\n", model)
	} else {
		fmt.Printf("%s: DIFFERENT bits\n\n", model)
	}
	return same, nil
}
