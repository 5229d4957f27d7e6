package models

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/sinter-dl/sinter"
)

// GenerateOptions says how the next token is drawn from a model's logits.
type GenerateOptions struct {
	// Temperature divides the logits: below 1 the likely becomes more likely. 0
	// takes the most likely token always.
	Temperature float64
	// TopK leaves only the k most likely tokens; 0 leaves all.
	TopK int
	// Generator is where chance comes from; nil is sinter.DefaultGenerator().
	Generator *sinter.Generator
	// Each, if set, is given every token as soon as it is drawn.
	Each func(token int64)
}

// next draws a token and tells who listens.
func (o GenerateOptions) next(logits []float32) int64 {
	t := o.sample(logits)
	if o.Each != nil {
		o.Each(t)
	}
	return t
}

// sample draws a token.
func (o GenerateOptions) sample(logits []float32) int64 {
	if o.Temperature <= 0 {
		return int64(argmax(logits))
	}
	order := make([]int, len(logits))
	for i := range order {
		order[i] = i
	}
	if o.TopK > 0 && o.TopK < len(order) {
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(logits[b], logits[a]) })
		order = order[:o.TopK]
	}
	top := float64(slices.Max(logits))
	weights := make([]float64, len(order))
	sum := 0.0
	for i, k := range order {
		weights[i] = math.Exp((float64(logits[k]) - top) / o.Temperature)
		sum += weights[i]
	}
	g := o.Generator
	if g == nil {
		g = sinter.DefaultGenerator()
	}
	u := g.Float64() * sum
	for i, w := range weights {
		if u -= w; u < 0 {
			return int64(order[i])
		}
	}
	return int64(order[len(order)-1]) // rounding, or logits that are not finite
}

func argmax(v []float32) int {
	best := 0
	for i, x := range v {
		if x > v[best] {
			best = i
		}
	}
	return best
}

func checkPrompt(prompt []int64, vocab int) error {
	if len(prompt) == 0 {
		return errors.New("models: generating from an empty prompt; it needs one token at least")
	}
	for i, t := range prompt {
		if t < 0 || t >= int64(vocab) {
			return fmt.Errorf("models: token %d of the prompt is %d; the vocabulary has 0 to %d", i, t, vocab-1)
		}
	}
	return nil
}
