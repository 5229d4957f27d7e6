package sinter_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter"
)

// A Function gives the same values, gradients and gradients of gradients as its body
// written out, with some of its results and some of its operands in use.
func TestFunction(t *testing.T) {
	body := func(in []*sinter.Tensor) []*sinter.Tensor {
		h := in[0].MatMul(in[1]).Tanh()
		n := sinter.LayerNorm(h, nil, nil, 1e-5)
		return []*sinter.Tensor{n.Mul(h), in[0], h.Softmax(-1), in[2]}
	}
	outer := func(f func(in ...*sinter.Tensor) []*sinter.Tensor) []float32 {
		sinter.Seed(1)
		x, w, k := sinter.Rand(3, 4), sinter.Rand(4, 5), sinter.RandInt(0, 9, 2)
		out := f(x, w, k)
		again := f(x.MulScalar(2), w, k) // used twice
		y := out[0].Square().Sum().Add(again[0].Sum()).Add(out[1].Sum())
		g := sinter.Grad(y, x, w)
		second := sinter.Grad(g[0].Square().Sum().Add(out[2].Index(0, 0).Sum()), x, w)
		if sinter.Grad(y, k)[0] != nil {
			t.Error("integers have a gradient")
		}
		var all []float32
		for _, r := range append(append(out, g...), second...) {
			all = append(all, r.Floats()...)
		}
		return all
	}
	traced := 0
	f := sinter.NewFunction("f", func(in []*sinter.Tensor) []*sinter.Tensor { traced++; return body(in) })
	want := outer(func(in ...*sinter.Tensor) []*sinter.Tensor { return body(in) })
	for range 2 {
		if got := outer(f.Apply); !close32(got, want) {
			t.Errorf("got %v\nwant %v", got, want)
		}
	}
	if traced != 1 {
		t.Errorf("recorded %d times", traced)
	}
	if got := f.Apply(sinter.Rand(2, 4), sinter.Rand(4, 1), sinter.RandInt(0, 9, 2)); !slices.Equal(got[0].Shape(), []int{2, 1}) || traced != 2 {
		t.Errorf("shape %v, recorded %d times", got[0].Shape(), traced)
	}

	// What reads a variable is recorded at every use.
	v := sinter.NewVariable("v", floats(1))
	g := sinter.NewFunction("g", func(in []*sinter.Tensor) []*sinter.Tensor {
		return []*sinter.Tensor{in[0].Add(v.Value())}
	})
	for i := range 3 {
		wantFloats(t, g.Apply(floats(10))[0], 11+float32(i))
		v.Assign(v.Value().AddScalar(1))
	}
	// What assigns is refused, and leaves nothing behind.
	wantFloats(t, v.Value(), 4)
	func() {
		defer func() {
			if err, ok := recover().(*sinter.BuildError); !ok || !strings.Contains(err.Error(), "assigns to variable v") {
				t.Errorf("a function that assigns: %v", err)
			}
		}()
		sinter.NewFunction("h", func(in []*sinter.Tensor) []*sinter.Tensor {
			return []*sinter.Tensor{in[0].AlsoAssign(v, in[0])}
		}).Apply(floats(10))
	}()
	wantFloats(t, v.Value().AddScalar(0), 1)
	// So is evaluating what stood for an input.
	var leaked *sinter.Tensor
	sinter.NewFunction("k", func(in []*sinter.Tensor) []*sinter.Tensor {
		leaked = in[0].Exp()
		return []*sinter.Tensor{leaked}
	}).Apply(floats(10))
	for _, x := range []*sinter.Tensor{leaked, leaked.Detach().Add(leaked)} {
		if err := sinter.Eval(x); err == nil || !strings.Contains(err.Error(), "stands for an input") {
			t.Errorf("a placeholder was evaluated: %v", err)
		}
	}
}

// close32 allows for sums in another order, which second derivatives through a norm
// make visible.
func close32(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool {
		d, m := x-y, max(x, -x, 1)
		return d <= 5e-4*m && -d <= 5e-4*m
	})
}
