// Package models is the zoo: networks that are known well enough to be asked for by
// name, each a struct like one a user would write, and made from a config struct.
//
// vision.go has the image classifiers, tabular.go networks over rows of numbers,
// language.go and gpt.go what predicts the next token, generate.go how text is drawn
// from those. Fields are called as in the best known PyTorch implementation of each
// model, so that its checkpoints load by name.
package models

import (
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/nn"
)

// positive checks the sizes in a config; pairs are a name and a number.
func positive(model string, pairs ...any) {
	for i := 0; i < len(pairs); i += 2 {
		if n := pairs[i+1].(int); n <= 0 {
			ir.Fail(model, "%s is %d; it has to be positive", pairs[i], n)
		}
	}
}

// activation finds an activation by name, ReLU unless one is given.
func activation(model, name string) nn.Func {
	if name == "" {
		return nn.ReLU
	}
	f, err := nn.ActivationByName(name)
	if err != nil {
		ir.Fail(model, "%v", err)
	}
	return f
}

// or is v, or the standard if v is zero.
func or(v, standard int) int {
	if v == 0 {
		return standard
	}
	return v
}
