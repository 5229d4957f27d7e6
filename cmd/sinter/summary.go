package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sinter-dl/sinter/cmd/sinter/internal/ui"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/train"
	"github.com/sinter-dl/sinter/train/recipe"
)

func summaryCommand() *cobra.Command {
	var from recipeFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "summary RECIPE | FILE.yaml",
		Short: "Print a model's layers: shapes, parameters, FLOPs, bytes",
		Long: `Print the layers of a recipe's model with the shapes of what they give, their
parameters, the floating-point operations of a forward pass and the bytes of
parameters and outputs. Nothing is trained. The shapes of the data are those of
the recipe's data, so a recipe without data of its own needs --data.

FLOPs are those of matrix products and convolutions, two for each multiplication
and its addition; what else is calculated stands under elementwise, one for each
element and operation. What a layer has and does is told without its parts that
have lines of their own.`,
		Example: `  sinter summary lenet
  sinter summary gpt --data book.txt --set model.layers=6 --json`,
		Args: exactly("RECIPE"),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := from.load(c, args[0])
			if err != nil {
				return err
			}
			job, err := recipe.Prepare(r)
			if err != nil {
				return err
			}
			s, err := job.Summary(1)
			if err != nil {
				return err
			}
			memory, err := job.Trainer.PlanMemory(job.Model, job.Source.Train)
			if err != nil {
				return err
			}
			if asJSON {
				line, err := json.Marshal(struct {
					*nn.Summary
					Batch    int          `json:"batch"`
					Training train.Memory `json:"training"` // bytes that a step on such a batch holds
				}{s, job.Trainer.Batch, memory})
				if err == nil {
					fmt.Fprintln(c.OutOrStdout(), string(line))
				}
				return err
			}
			printSummary(c.OutOrStdout(), s, job.Trainer.Batch, memory)
			return nil
		},
	}
	from.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object on standard output")
	c.Flags().SortFlags = false
	return c
}

func printSummary(w io.Writer, s *nn.Summary, batch int, m train.Memory) {
	fmt.Fprint(w, s)
	fmt.Fprintln(w)
	ui.Table(w, [][]string{
		{"parameters", ui.Count(s.Parameters) + ", " + ui.Bytes(s.ParameterBytes)},
		{"forward pass of one example", ui.SI(float64(s.FLOPs)) + "FLOPs in products, " + ui.SI(float64(s.Elementwise)) + "FLOPs elementwise"},
		{"outputs of its layers", ui.Bytes(s.ActivationBytes)},
		{fmt.Sprintf("training in batches of %d", batch), fmt.Sprintf("%s: weights %s, optimizer %s, values in between %s, batches %s",
			ui.Bytes(m.Total()), ui.Bytes(m.Weights), ui.Bytes(m.Optimizer), ui.Bytes(m.Arena+m.Gradients), ui.Bytes(m.Batches+m.Results))},
	})
}
