package recipe

import (
	"testing"

	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/data/tokenizer"
	"github.com/sinter-dl/sinter/nn"
)

// The bound holds for real models, and is at least half of what they have.
func TestLeastParameters(t *testing.T) {
	chars := &Tokenizer{Tokenizer: tokenizer.NewChars("abcdefghij")}
	images := Input{Task: data.Classification, Shape: []int{1, 28, 28}, Classes: []string{"a", "b"}}
	text := Input{Task: data.Language, Shape: []int{64}, Tokenizer: chars}
	for name, in := range map[string]Input{
		"{model: {kind: mlp, hidden: [30, 20]}}":              images,
		"{model: {kind: lenet}}":                              images,
		"{model: {kind: resnet, depth: 20}}":                  images,
		"{model: {kind: lstm, layers: 3, width: 48}}":         text,
		"{model: {kind: gpt, layers: 3, width: 64}}":          text,
		"{model: {kind: gpt, layers: 1, width: 8}, batch: 1}": text,
	} {
		r, err := Parse("test", []byte(name))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Resolve(); err != nil {
			t.Fatal(err)
		}
		model, err := r.build(in)
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		for _, v := range nn.Parameters(model) {
			n := 1
			for _, s := range v.Shape() {
				n *= s
			}
			got += n
		}
		if least := r.leastParameters(in); least > float64(got) || least < 0.5*float64(got) {
			t.Errorf("%s: at least %.0f of %d parameters", name, least, got)
		}
	}
}
