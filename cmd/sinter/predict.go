package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/sinter-dl/sinter/cmd/sinter/internal/ui"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/train/recipe"
)

func predictCommand() *cobra.Command {
	var on machine
	var asJSON bool
	c := &cobra.Command{
		Use:   "predict RUN FILE…",
		Short: "Apply a trained model to images or to a table",
		Long: `Apply a trained model. For each image file it prints the likeliest class and its
probability; a table it prints again, with a column "prediction" added. Of a time
series it prints the values that follow the last row, one a line.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) < 2 {
				return exactly("the RUN folder", "the FILE to apply it to")(c, args)
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if err := on.use(); err != nil {
				return err
			}
			r, err := recipe.LoadRun(args[0])
			if err != nil {
				return err
			}
			files := args[1:]
			switch {
			case r.Input.Task == data.Language:
				return fmt.Errorf("%s is a language model; 'sinter generate' lets it write", r.Dir)
			case r.Input.Series != nil:
				return predictSeries(c, r, files, asJSON)
			case r.Input.Encoder != nil:
				return predictTables(c, r, files)
			}
			return predictImages(c, r, files, asJSON)
		},
	}
	on.deviceFlag(c)
	on.threadsFlag(c)
	c.Flags().BoolVar(&asJSON, "json", false, "for images, print one JSON object a line, with all classes")
	c.Flags().SortFlags = false
	return c
}

// predictSeries prints what follows the rows of a file.
func predictSeries(c *cobra.Command, r *recipe.Run, files []string, asJSON bool) error {
	if len(files) > 1 {
		return &recipe.UsageError{Reason: "predict takes one time series at a time"}
	}
	values, err := r.Forecast(c.Context(), files[0])
	if err != nil {
		return err
	}
	s := r.Input.Series
	if asJSON {
		return json.NewEncoder(c.OutOrStdout()).Encode(map[string]any{"file": files[0], "column": s.Columns[s.Target].Name, "forecast": values})
	}
	for _, v := range values {
		fmt.Fprintln(c.OutOrStdout(), strconv.FormatFloat(v, 'g', 6, 64))
	}
	return nil
}

func predictTables(c *cobra.Command, r *recipe.Run, files []string) error {
	if len(files) > 1 {
		return &recipe.UsageError{Reason: "predict takes one table at a time"}
	}
	var out bytes.Buffer // so that a bad row leaves nothing half printed
	notes, err := r.PredictTable(c.Context(), &out, files[0])
	if err != nil {
		return err
	}
	for _, note := range notes {
		fmt.Fprintln(c.ErrOrStderr(), "  "+note)
	}
	_, err = out.WriteTo(c.OutOrStdout())
	return err
}

func predictImages(c *cobra.Command, r *recipe.Run, files []string, asJSON bool) error {
	const shown = 3
	var rows [][]string
	var lines bytes.Buffer
	for _, file := range files {
		guesses, err := r.Classify(c.Context(), file)
		if err != nil {
			return err
		}
		if asJSON {
			err := json.NewEncoder(&lines).Encode(map[string]any{"file": file, "class": guesses[0].Class, "classes": guesses})
			if err != nil {
				return err
			}
			continue
		}
		row := []string{file}
		for _, g := range guesses[:min(shown, len(guesses))] {
			row = append(row, g.Class+" "+ui.Percent(g.Probability))
		}
		rows = append(rows, row)
	}
	ui.Table(&lines, rows)
	_, err := lines.WriteTo(c.OutOrStdout())
	return err
}
