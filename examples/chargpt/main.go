// Command chargpt trains a small character-level transformer on a text and lets it
// write on.
//
//	go run ./examples/chargpt -data book.txt -steps 2000
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"math"
	"os"
	"strings"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/models"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
	"github.com/sinter-dl/sinter/train"
)

func main() {
	log.SetFlags(0)
	path := flag.String("data", "", "text file; counting in words if empty")
	steps := flag.Int("steps", 300, "training steps")
	prompt := flag.String("prompt", "", "text to go on from; the first character of the text if empty")
	flag.Parse()
	if err := run(*path, *steps, *prompt); err != nil {
		log.Fatal(err)
	}
}

func run(path string, steps int, prompt string) error {
	if path == "" {
		name, err := counting()
		if err != nil {
			return err
		}
		defer os.Remove(name)
		path = name
	}
	const block = 32
	source, err := data.OpenText(path, data.TextOptions{Block: block, Seed: 1})
	if err != nil {
		return err
	}
	sinter.Seed(1)
	gpt := models.NewGPT(models.GPTConfig{
		Vocab: source.Tokenizer.Size(), Block: block, Layers: 2, Heads: 4, Embed: 64,
	})
	trainer := train.Trainer{
		Optimizer: optim.AdamW{LR: optim.Cosine{Peak: 3e-3, Warmup: steps / 20, Final: 3e-4}, WeightDecay: 0.1},
		Loss:      nn.SequenceCrossEntropy,
		Steps:     steps,
		Batch:     16,
		Clip:      1,
	}
	report, err := trainer.Fit(context.Background(), gpt, source.Train, source.Test)
	if err != nil {
		return err
	}
	fmt.Printf("%d parameters, %d steps, loss %.3f, test loss %.3f (perplexity %.2f)\n\n",
		report.Parameters, report.Steps, report.TrainLoss, report.TestLoss, math.Exp(report.TestLoss))

	if prompt == "" {
		prompt = source.Tokenizer.Decode([]int64{int64(source.Tokenizer.Size() / 2)})
	}
	ids, err := source.Tokenizer.Encode(prompt)
	if err != nil {
		return err
	}
	ids, err = gpt.Generate(ids, 200, models.GenerateOptions{Temperature: 0.8, Generator: sinter.NewGenerator(1)})
	if err != nil {
		return err
	}
	fmt.Println(prompt + source.Tokenizer.Decode(ids))
	return nil
}

// counting writes a text to learn from: the numbers up to a thousand, in words.
func counting() (name string, err error) {
	ones := strings.Fields("one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen")
	tens := strings.Fields("twenty thirty forty fifty sixty seventy eighty ninety")
	var words func(n int) string
	words = func(n int) string {
		switch {
		case n >= 100 && n%100 == 0:
			return ones[n/100-1] + " hundred"
		case n >= 100:
			return words(n-n%100) + " and " + words(n%100)
		case n >= 20 && n%10 == 0:
			return tens[n/10-2]
		case n >= 20:
			return words(n-n%10) + "-" + words(n%10)
		}
		return ones[n-1]
	}
	f, err := os.CreateTemp("", "counting-*.txt")
	if err != nil {
		return "", err
	}
	for n := 1; n < 1000; n++ {
		fmt.Fprintln(f, words(n))
	}
	return f.Name(), f.Close()
}
