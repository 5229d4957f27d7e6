package sinter_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/sinter-dl/sinter"
)

// A Linear of looked up rows, which multiplies the table, and one of rows in another
// order, which orders the results, give the bits of a Linear of any other rows, also
// where there is no such row; the gradients are the same sums in another order.
func TestLinearOfRows(t *testing.T) {
	const rows, width, units = 5, 6, 4
	table, w := sinter.FromFloat64s(noisy(1, rows, width), rows, width), sinter.FromFloat64s(noisy(2, units, width), units, width)
	bias := sinter.FromFloat64s(noisy(3, units), units)
	ids := make([]int64, 24)
	for i := range ids {
		ids[i] = int64(i*i%(rows+2)) - 1 // −1 and rows are no rows
	}
	for name, c := range map[string]struct {
		rows func(x *sinter.Tensor) *sinter.Tensor
		dims []int
		b    *sinter.Tensor
	}{
		"as they come":     {func(x *sinter.Tensor) *sinter.Tensor { return x }, []int{24}, bias},
		"in another order": {func(x *sinter.Tensor) *sinter.Tensor { return x.Transpose(0, 1) }, []int{4, 6}, bias},
		"without bias":     {func(x *sinter.Tensor) *sinter.Tensor { return x.Transpose(2, 0) }, []int{2, 3, 4}, nil},
		"no table":         {func(x *sinter.Tensor) *sinter.Tensor { return x.MulScalar(2).Transpose(0, 1) }, []int{3, 8}, bias},
		"other axes":       {func(x *sinter.Tensor) *sinter.Tensor { return x.MulScalar(2).Permute(2, 0, 1, 3) }, []int{3, 2, 4}, nil},
		"turned":           {func(x *sinter.Tensor) *sinter.Tensor { return x.Reshape(4, 6, 6).Transpose(1, 2) }, []int{24}, bias},
		"few":              {func(x *sinter.Tensor) *sinter.Tensor { return x.Slice(0, 0, 3) }, []int{24}, bias},
	} {
		t.Run(name, func(t *testing.T) {
			x := c.rows(sinter.Embedding(table, sinter.FromInts(ids, c.dims...)))
			plain := x.Add(sinter.ScalarOf(sinter.Float64, 0))
			var values, grads [2][]float64
			for i, x := range []*sinter.Tensor{x, plain} {
				y := sinter.Linear(x, w, c.b)
				values[i] = append(y.Float64s(), 0)
				weight := sinter.FromFloat64s(noisy(7, y.Shape()...), y.Shape()...)
				for _, g := range grad(y.Square().Mul(weight).Sum(), table, w, bias) {
					if g != nil {
						grads[i] = append(grads[i], g.Float64s()...)
					}
				}
			}
			if !slices.Equal(values[0], values[1]) {
				t.Errorf("values %v, want %v", values[0], values[1])
			}
			for i, g := range grads[0] {
				if d := math.Abs(g - grads[1][i]); len(grads[0]) != len(grads[1]) || !(d <= 1e-12) {
					t.Errorf("gradients %v, want %v", fmt.Sprint(grads[0]), fmt.Sprint(grads[1]))
					break
				}
			}
		})
	}
}
