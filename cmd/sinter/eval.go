package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sinter-dl/sinter/cmd/sinter/internal/ui"
	"github.com/sinter-dl/sinter/train/recipe"
)

func evalCommand() *cobra.Command {
	var path string
	var on machine
	var asJSON bool
	c := &cobra.Command{
		Use:   "eval RUN --data PATH",
		Short: "Measure a trained model on other data",
		Long: `Measure a trained model on data of the kind it was trained on: a folder of IDX
files (the test images, if there are any) or of class folders, a table with the
same columns, a text of the same characters.`,
		Args: exactly("the RUN folder"),
		RunE: func(c *cobra.Command, args []string) error {
			if path == "" {
				return &recipe.UsageError{Reason: "eval: missing --data PATH, the data to measure on"}
			}
			if err := on.use(); err != nil {
				return err
			}
			r, err := recipe.LoadRun(args[0])
			if err != nil {
				return err
			}
			scores, err := r.Score(c.Context(), path)
			if err != nil {
				return err
			}
			if r.TrainedOn(path) {
				fmt.Fprintf(c.ErrOrStderr(), "  %s is what the run was trained on: unless it has a part for testing, the results say little\n", path)
			}
			if asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(scores)
			}
			rows := scoreRows("", scores.Loss, scores.Metrics, scores.Confusions)
			rows = append(rows, []string{"examples", ui.Count(scores.Examples)})
			ui.Table(c.OutOrStdout(), rows)
			return nil
		},
	}
	c.Flags().StringVar(&path, "data", "", "data to measure on, a `PATH` as for train")
	on.deviceFlag(c)
	on.threadsFlag(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	c.Flags().SortFlags = false
	return c
}

func generateCommand() *cobra.Command {
	var o recipe.GenerateOptions
	var on machine
	c := &cobra.Command{
		Use:   "generate RUN --prompt TEXT",
		Short: "Let a trained language model write on",
		Args:  exactly("the RUN folder"),
		RunE: func(c *cobra.Command, args []string) error {
			for _, bad := range []struct {
				is   bool
				flag string
				want string
			}{
				{o.Tokens < 1, "--tokens", "at least 1"},
				{!(o.Temperature >= 0), "--temperature", "0 (always the likeliest) or above"},
				{o.TopK < 0, "--top-k", "0 (all tokens) or above"},
			} {
				if bad.is {
					return &recipe.UsageError{Place: bad.flag, Reason: "expected " + bad.want}
				}
			}
			if err := on.use(); err != nil {
				return err
			}
			r, err := recipe.LoadRun(args[0])
			if err != nil {
				return err
			}
			out := c.OutOrStdout()
			o.Write = func(text string) { fmt.Fprint(out, text) } // as it is written
			_, err = r.Generate(o)
			if err == nil {
				fmt.Fprintln(out)
			}
			return err
		},
	}
	c.Flags().StringVar(&o.Prompt, "prompt", "", "`TEXT` to go on from, of characters that the model knows; a new line if empty")
	c.Flags().IntVar(&o.Tokens, "tokens", 500, "`N`, how many tokens to write: characters, unless the model has another tokenizer")
	c.Flags().Float64Var(&o.Temperature, "temperature", 0.8, "`T`, below 1 more careful, above 1 more daring")
	c.Flags().IntVar(&o.TopK, "top-k", 0, "`K`, choose among the K likeliest tokens only; 0: all")
	c.Flags().Uint64Var(&o.Seed, "seed", 1, "`N`, of the choices")
	on.deviceFlag(c)
	on.threadsFlag(c)
	c.Flags().SortFlags = false
	return c
}
