package sinter_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/reftest"
)

// noisy is a float64 tensor of numbers between −1 and 1.
func noisy(seed uint32, sh ...int) []float64 {
	n := 1
	for _, d := range sh {
		n *= d
	}
	v := make([]float64, n)
	for i, f := range reftest.Noise(seed, n) {
		v[i] = float64(f)
	}
	return v
}

// The gradients of loops equal central differences, whatever way a value from outside
// takes into the body; and so do the gradients of a function of the gradients.
func TestScanGradients(t *testing.T) {
	// In all cases x is a sequence [5 3], h a state [3], w a matrix [3 3], b a vector [3].
	type inputs struct{ x, h, w, b *sinter.Tensor }
	scan := func(in inputs, reverse bool, body func(h, x *sinter.Tensor) (next, y *sinter.Tensor)) []*sinter.Tensor {
		last, ys := sinter.Scan(func(c, x tensors) (tensors, tensors) {
			next, y := body(c[0], x[0])
			return tensors{next}, tensors{y}
		}, tensors{in.h}, tensors{in.x}, reverse)
		return append(last, ys...)
	}
	row := func(v *sinter.Tensor) *sinter.Tensor { return v.Reshape(1, 3) }
	vector := func(v *sinter.Tensor) *sinter.Tensor { return v.Reshape(3) }
	times := func(v, w *sinter.Tensor) *sinter.Tensor { return vector(row(v).MatMul(w)) }
	for name, f := range map[string]func(in inputs) []*sinter.Tensor{
		"a weight directly": func(in inputs) []*sinter.Tensor {
			return scan(in, false, func(h, x *sinter.Tensor) (_, _ *sinter.Tensor) {
				n := times(h, in.w).Add(x).Tanh()
				return n, n.Square()
			})
		},
		"a weight through a value from outside": func(in inputs) []*sinter.Tensor {
			w := in.w.Mul(in.w).MulScalar(0.5)
			return scan(in, false, func(h, x *sinter.Tensor) (_, _ *sinter.Tensor) {
				n := times(h, w).Add(x).Tanh()
				return n, n
			})
		},
		"both": func(in inputs) []*sinter.Tensor {
			w := in.w.Sin()
			return scan(in, true, func(h, x *sinter.Tensor) (_, _ *sinter.Tensor) {
				n := times(h, in.w).Add(times(x, w)).Add(in.b).Tanh()
				return n, n.Mul(in.b)
			})
		},
		"a value made of the weight in the body": func(in inputs) []*sinter.Tensor {
			return scan(in, false, func(h, x *sinter.Tensor) (_, _ *sinter.Tensor) {
				n := times(h, in.w.T().MulScalar(0.5)).Add(x).Tanh()
				return n, n.Add(in.w.Sum(0))
			})
		},
		"two products with one weight": func(in inputs) []*sinter.Tensor {
			return scan(in, false, func(h, x *sinter.Tensor) (_, _ *sinter.Tensor) {
				n := times(times(h, in.w).Add(x).Tanh(), in.w)
				return n, times(x, in.w)
			})
		},
		"a product from the left": func(in inputs) []*sinter.Tensor {
			return scan(in, false, func(h, x *sinter.Tensor) (_, _ *sinter.Tensor) {
				n := vector(in.w.MatMul(h.Reshape(3, 1))).Add(x).Tanh()
				return n, n
			})
		},
		"a product with batch axes": func(in inputs) []*sinter.Tensor {
			w := in.w.Reshape(3, 1, 3)
			return scan(in, false, func(h, x *sinter.Tensor) (_, _ *sinter.Tensor) {
				n := vector(w.MatMul(x.Reshape(3, 1, 1).Mul(h.Reshape(1, 3, 1)))).Tanh()
				return n, n
			})
		},
		"two weights multiplied with each other": func(in inputs) []*sinter.Tensor {
			return scan(in, false, func(h, x *sinter.Tensor) (_, _ *sinter.Tensor) {
				n := h.Add(times(in.b, in.w)).Mul(x)
				return n, n
			})
		},
		"elementwise": func(in inputs) []*sinter.Tensor {
			return scan(in, true, func(h, x *sinter.Tensor) (_, _ *sinter.Tensor) {
				n := h.Mul(in.b).Add(x.Exp())
				return n, n.Sub(in.b)
			})
		},
		"the last carry alone": func(in inputs) []*sinter.Tensor {
			return scan(in, false, func(h, x *sinter.Tensor) (_, _ *sinter.Tensor) {
				return times(h, in.w).Add(x).Tanh(), x
			})[:1]
		},
		"the results alone": func(in inputs) []*sinter.Tensor {
			return scan(in, false, func(h, x *sinter.Tensor) (_, _ *sinter.Tensor) {
				n := times(h, in.w).Add(x).Tanh()
				return n, n
			})[1:]
		},
		"one thing in every place": func(in inputs) []*sinter.Tensor {
			in.x = in.w // is scanned, too
			return scan(in, false, func(h, x *sinter.Tensor) (_, _ *sinter.Tensor) {
				n := times(h.Add(x), in.w).Tanh()
				return n, in.w.Sum().Mul(n)
			})
		},
		"what the body hands through": func(in inputs) []*sinter.Tensor {
			return scan(in, false, func(h, x *sinter.Tensor) (_, _ *sinter.Tensor) { return x, h })
		},
		"a counter beside the state": func(in inputs) []*sinter.Tensor {
			zero := sinter.ScalarOf(sinter.Int64, 0)
			last, ys := sinter.Scan(func(c, x tensors) (tensors, tensors) {
				n := c[1].Mul(x[0]).Add(times(c[1], in.w)).Add(c[0].To(sinter.Float64)).Tanh()
				return tensors{c[0].Add(sinter.ScalarOf(sinter.Int64, 1)), n}, tensors{c[0], n}
			}, tensors{zero, in.h}, tensors{in.x}, false)
			return tensors{last[1], ys[1]}
		},
		"a loop in a loop": func(in inputs) []*sinter.Tensor {
			return scan(in, false, func(h, x *sinter.Tensor) (_, _ *sinter.Tensor) {
				last, _ := sinter.Scan(func(c, r tensors) (tensors, tensors) {
					return tensors{c[0].Mul(in.b).Add(r[0].Mul(x)).Tanh()}, nil
				}, tensors{h}, tensors{in.w}, true)
				return last[0], last[0].Mul(in.h)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			shapes := [][]int{{5, 3}, {3}, {3, 3}, {3}}
			var center [][]float64
			for i, sh := range shapes {
				center = append(center, noisy(uint32(i), sh...))
			}
			build := func(v [][]float64) (objective *sinter.Tensor, xs tensors) {
				for i, sh := range shapes {
					xs = append(xs, sinter.FromFloat64s(v[i], sh...))
				}
				objective = sinter.ScalarOf(sinter.Float64, 0)
				for i, y := range f(inputs{xs[0], xs[1], xs[2], xs[3]}) {
					weight := sinter.FromFloat64s(noisy(uint32(50+i), y.Shape()...), y.Shape()...)
					objective = objective.Add(y.Mul(weight).Sum())
				}
				return objective, xs
			}
			// second is a function of the gradients.
			second := func(v [][]float64) (*sinter.Tensor, tensors) {
				y, xs := build(v)
				sum := sinter.ScalarOf(sinter.Float64, 0)
				for i, g := range grad(y, xs...) {
					weight := sinter.FromFloat64s(noisy(uint32(70+i), g.Shape()...), g.Shape()...)
					sum = sum.Add(g.Mul(g.Add(weight)).Sum())
				}
				return sum, xs
			}
			for order, of := range []func(v [][]float64) (*sinter.Tensor, tensors){build, second} {
				y, xs := of(center)
				grads := grad(y, xs...)
				if err := sinter.Eval(grads...); err != nil {
					t.Fatal(err)
				}
				for i := range shapes {
					for j, g := range grads[i].Float64s() {
						if order == 1 && j%3 != 1 {
							continue // some will do
						}
						var at [2]float64
						for k, d := range []float64{step, -step} {
							v := slices.Clone(center)
							v[i] = slices.Clone(v[i])
							v[i][j] += d
							y, _ := of(v)
							at[k] = y.Float()
						}
						if numeric := (at[0] - at[1]) / (2 * step); !(math.Abs(numeric-g) <= 1e-7*max(1, math.Abs(g))) {
							t.Errorf("%s derivative by element %d of %s: %.10g, central differences give %.10g", []string{"first", "second"}[order], j, []string{"x", "h", "w", "b"}[i], g, numeric)
						}
					}
				}
			}
		})
	}
}

// Gradients that are nil: of what the loop does not depend on, or only through integers.
func TestScanGradientsThatAreNone(t *testing.T) {
	x, h, other := sinter.FromFloat64s(noisy(1, 4), 4), sinter.ScalarOf(sinter.Float64, 1), sinter.FromFloat64s(noisy(2, 4), 4)
	last, ys := sinter.Scan(func(c, x tensors) (tensors, tensors) {
		return tensors{c[0].Add(x[0])}, tensors{x[1].To(sinter.Int64).To(sinter.Float64).Add(c[0])}
	}, tensors{h}, tensors{x, other}, false)
	g := sinter.Grad(last[0].Add(ys[0].Sum()), x, other, h)
	if g[0] == nil || g[2] == nil {
		t.Error("no gradient of what is added")
	}
	if g[1] != nil {
		t.Errorf("a gradient through integers: %v", g[1])
	}
	if got := fmt.Sprint(g[0].Float64s()); got != "[4 3 2 1]" {
		t.Errorf("gradient of a running sum and its last value: %s", got)
	}
}
