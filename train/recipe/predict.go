package recipe

import (
	"cmp"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/sinter-dl/sinter/data"
)

// Guess is a class with its probability.
type Guess struct {
	Class       string  `json:"class"`
	Probability float64 `json:"probability"`
}

// Classify gives the classes of an image file, the likeliest first.
func (r *Run) Classify(ctx context.Context, path string) ([]Guess, error) {
	if r.Input.Task != data.Classification || len(r.Input.Shape) != 3 {
		return nil, fmt.Errorf("%s was not trained on images", r.Dir)
	}
	pixels, err := data.ReadImage(path, r.Input.Shape)
	if err != nil {
		return nil, err
	}
	set, err := data.Arrays(data.Floats("x", pixels, r.Input.Shape...))
	if err != nil {
		return nil, err
	}
	out, err := r.Outputs(ctx, set)
	if err != nil {
		return nil, err
	}
	guesses := make([]Guess, len(r.Input.Classes))
	for i, p := range out.Floats() {
		guesses[i] = Guess{r.Input.Classes[i], float64(p)}
	}
	slices.SortStableFunc(guesses, func(a, b Guess) int { return cmp.Compare(b.Probability, a.Probability) })
	return guesses, nil
}

// PredictTable writes the rows of a table with a column "prediction" after the
// others, and for a classification one "probability". The notes say what was
// filled in.
func (r *Run) PredictTable(ctx context.Context, w io.Writer, path string) (notes []string, err error) {
	enc := r.Input.Encoder
	if !r.Input.tabular() {
		return nil, fmt.Errorf("%s was not trained on a table", r.Dir)
	}
	table, set, notes, err := r.Input.table(path, false)
	if err != nil {
		return nil, err
	}
	out, err := r.Outputs(ctx, set)
	if err != nil {
		return nil, err
	}
	values := out.Floats()
	width := len(values) / table.Len()

	c := csv.NewWriter(w)
	c.Comma = table.Delimiter
	if table.Header {
		names := append(slices.Clone(table.Columns), "prediction")
		if r.Input.Task == data.Classification {
			names = append(names, "probability")
		}
		c.Write(names)
	}
	for i := range table.Len() {
		row, answer := slices.Clone(table.Row(i)), values[i*width:(i+1)*width]
		if r.Input.Task == data.Classification {
			best := 0
			for k, p := range answer {
				if p > answer[best] {
					best = k
				}
			}
			row = append(row, r.Input.Classes[best], strconv.FormatFloat(float64(answer[best]), 'f', 4, 32))
		} else {
			row = append(row, strconv.FormatFloat(enc.Value(float64(answer[0])), 'g', 6, 64))
		}
		c.Write(row)
	}
	c.Flush()
	if err := c.Error(); err != nil {
		return nil, fmt.Errorf("writing the predictions: %w", err)
	}
	return notes, nil
}

// Forecast gives the values that follow the last row of a file, in the target's unit,
// one for each row of the horizon.
func (r *Run) Forecast(ctx context.Context, path string) ([]float64, error) {
	s := r.Input.Series
	if s == nil {
		return nil, fmt.Errorf("%s was not trained on a time series", r.Dir)
	}
	_, last, err := r.Input.windows(path)
	if err != nil {
		return nil, err
	}
	set, err := data.Arrays(data.Floats("x", last.X, r.Input.Shape...))
	if err != nil {
		return nil, err
	}
	out, err := r.Outputs(ctx, set)
	if err != nil {
		return nil, err
	}
	values := out.Float64s()
	for i, v := range values {
		values[i] = last.Value + v*s.Std()
	}
	return values, nil
}
