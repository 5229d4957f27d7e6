// Command first measures the time from the start of the process to the end of the
// first training step of the recipe gpt: starting, reading the text, building the
// model, compiling the step's program and running it. It builds the sinter
// command, starts it several times, and stops it after that step.
//
//	go run ./bench/first -data book.txt
//
// Without -data it writes a text of a million characters to read.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/sinter-dl/sinter/bench/internal/rig"
)

func main() {
	log.SetFlags(0)
	text := flag.String("data", "", "text file")
	rounds := flag.Int("rounds", 5, "how often to start the command; the median counts")
	flag.Parse()
	if err := run(*text, *rounds); err != nil {
		log.Fatal(err)
	}
}

func run(text string, rounds int) error {
	dir, err := os.MkdirTemp("", "sinter-first-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	command := filepath.Join(dir, "sinter")
	if runtime.GOOS == "windows" {
		command += ".exe"
	}
	build := exec.Command("go", "build", "-o", command, "github.com/sinter-dl/sinter/cmd/sinter")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building the sinter command: %w", err)
	}
	if text == "" {
		text = filepath.Join(dir, "text.txt")
		if err := write(text, 1_000_000); err != nil {
			return err
		}
	}
	var seconds []float64
	for i := range rounds {
		d, err := firstStep(command, text, filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			return err
		}
		fmt.Printf("first step after %v\n", d.Round(time.Millisecond))
		seconds = append(seconds, d.Seconds())
	}
	fmt.Printf("median %.3f s\n", rig.Median(seconds))
	return nil
}

// firstStep is the time until the command reports step 1.
func firstStep(command, text, out string) (time.Duration, error) {
	c := exec.Command(command, "train", "gpt", "--data", text, "--steps", "1", "--json", "--out", out)
	progress, err := c.StderrPipe()
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := c.Start(); err != nil {
		return 0, err
	}
	defer c.Wait()
	defer c.Process.Kill() // what it would do after the step is not measured
	lines := bufio.NewReader(progress)
	var said []byte
	for {
		line, err := lines.ReadBytes('\n')
		said = append(said, line...)
		if err == io.EOF {
			return 0, fmt.Errorf("the command ended without a step:\n%s", said)
		}
		if err != nil {
			return 0, err
		}
		var event struct {
			Event string
			Step  int
		}
		if json.Unmarshal(line, &event) == nil && event.Event == "step" && event.Step == 1 {
			return time.Since(start), nil
		}
	}
}

// write makes a text of random words.
func write(name string, characters int) error {
	r := rand.New(rand.NewPCG(1, 1))
	var b []byte
	for len(b) < characters {
		for range 1 + r.IntN(9) {
			b = append(b, byte('a'+r.IntN(26)))
		}
		b = append(b, " \n"[r.IntN(2)])
	}
	return os.WriteFile(name, b, 0o644)
}
