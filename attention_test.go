package sinter_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter"
)

// attentionByHand is attention in float64 and in single operations.
func attentionByHand(q, k, v, mask *sinter.Tensor, causal bool) *sinter.Tensor {
	scores := q.MatMul(k.T()).MulScalar(1 / math.Sqrt(float64(q.Dim(-1))))
	never := sinter.Full(sinter.Float64, math.Inf(-1))
	if mask != nil && mask.DType() == sinter.Bool {
		scores = sinter.Where(mask, scores, never)
	} else if mask != nil {
		scores = scores.Add(mask.To(sinter.Float64))
	}
	if causal {
		scores = sinter.Where(sinter.Ones(sinter.Bool, q.Dim(2), k.Dim(2)).Tril(0), scores, never)
	}
	top := scores.Max(-1).Reshape(q.Dim(0), q.Dim(1), q.Dim(2), 1).Detach()
	e := scores.Sub(sinter.Where(top.IsFinite(), top, sinter.Full(sinter.Float64, 0))).Exp()
	sum := e.Sum(-1).Reshape(q.Dim(0), q.Dim(1), q.Dim(2), 1)
	return e.Div(sum.Maximum(sinter.Full(sinter.Float64, 1e-300))).MatMul(v)
}

// Attention of random shapes, layouts, masks and types, with its gradients, against
// float64.
func TestAttention(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	values := func(d sinter.DType, sh ...int) *sinter.Tensor {
		n := 1
		for _, e := range sh {
			n *= e
		}
		x := make([]float64, n)
		for i := range x {
			x[i] = r.NormFloat64()
		}
		return sinter.FromFloat64s(x, sh...).To(d)
	}
	for i := range 60 {
		types := []sinter.DType{sinter.Float32, sinter.Float32, sinter.Float64, sinter.BFloat16, sinter.Float16}
		d := types[i%len(types)]
		b, h, n, s := 1+r.IntN(3), 1+r.IntN(3), 1+r.IntN(150), 1+r.IntN(150)
		if i%7 == 0 {
			s = 250 + r.IntN(300) // several blocks of keys
		}
		if i%3 == 0 {
			s = n
		}
		dk := 1 + r.IntN(40)
		dv := dk
		if i%4 == 1 {
			dv = 1 + r.IntN(40)
		}
		causal := i%2 == 0
		// Operands lie as a projection leaves them, or one head after the other, or
		// keys are shared by all heads.
		operand := func(length, width int) *sinter.Tensor {
			switch r.IntN(3) {
			case 0:
				return values(d, b, length, h, width).Transpose(1, 2)
			case 1:
				return values(d, b, 1, length, width).BroadcastTo(b, h, length, width)
			}
			return values(d, b, h, length, width)
		}
		q, k, v := operand(n, dk), operand(s, dk), operand(s, dv)
		if s == n && dk == dv && i%5 < 3 {
			x := values(d, b, n, 3*h*dk).Chunk(3, -1)
			for j, p := range []**sinter.Tensor{&q, &k, &v} {
				*p = x[j].Reshape(b, n, h, dk).Transpose(1, 2)
			}
		}
		var mask *sinter.Tensor
		extent := func(e int) int {
			if r.IntN(2) == 0 {
				return 1
			}
			return e
		}
		shape := []int{extent(b), extent(h), extent(n), extent(s)}[r.IntN(3):]
		switch r.IntN(4) {
		case 0:
			mask = values(sinter.Float32, shape...).GtScalar(-0.5)
		case 1:
			mask = values(sinter.Float32, shape...)
			mask = sinter.Where(mask.GtScalar(-1), mask, sinter.Full(sinter.Float32, math.Inf(-1)))
		case 2:
			mask = values(sinter.Float32, shape...)
		}
		name := fmt.Sprintf("%d: %v, %d batches of %d heads, %d queries and %d keys of %d and %d elements, causal %v", i, d, b, h, n, s, dk, dv, causal)
		if mask != nil {
			name += fmt.Sprintf(", mask %v%v", mask.DType(), mask.Shape())
		}
		w := values(sinter.Float64, b, h, n, dv)
		// One cotangent of the heads together, one of them apart.
		y := sinter.Attention(q, k, v, mask, causal, 0)
		got := append(tensors{y}, sinter.VJP(y, w.To(d), q, k, v)...)
		q64, k64, v64 := q.To(sinter.Float64), k.To(sinter.Float64), v.To(sinter.Float64)
		y = attentionByHand(q64, k64, v64, mask, causal)
		want := append(tensors{y}, sinter.VJP(y, w.To(d).To(sinter.Float64), q64, k64, v64)...)
		tol := map[sinter.DType]float64{sinter.Float64: 1e-12, sinter.Float32: 1e-5, sinter.Float16: 1e-2, sinter.BFloat16: 5e-2}[d]
		for j := range got {
			if err := sinter.Eval(got[j], want[j]); err != nil {
				t.Fatal(err)
			}
			a, b := got[j].To(sinter.Float64), want[j]
			size := b.Abs().Max().Float()
			if diff := a.Sub(b).Abs().Max().Float(); !(diff <= tol*max(size, 1)) {
				t.Errorf("%s: %s differs by %g where the largest is %g", name, []string{"result", "dq", "dk", "dv"}[j], diff, size)
			}
		}
	}
}

// Queries without keys, infinite and missing scores give what the single operations
// do: zeros or NaN in their own rows and nothing elsewhere.
func TestAttentionOfWhatIsNotFinite(t *testing.T) {
	const n, d = 70, 8
	inf := float32(math.Inf(1))
	nan := float32(math.NaN())
	x := make([]float32, n*d)
	for i := range x {
		x[i] = float32(i%13)/13 - 0.5
	}
	with := func(at int, v float32) *sinter.Tensor {
		y := append([]float32(nil), x...)
		y[at] = v
		return sinter.FromFloats(y, 1, 1, n, d)
	}
	plain := with(0, x[0])
	none := sinter.Where(sinter.Arange(sinter.Int32, 0, n, 1).EqScalar(5).Reshape(n, 1), sinter.Full(sinter.Float32, math.Inf(-1)), sinter.Full(sinter.Float32, 0))
	for name, c := range map[string]struct {
		q, k, v, mask *sinter.Tensor
		bad           func(row int) bool // rows of NaN
	}{
		"a query is NaN":             {with(3*d, nan), plain, plain, nil, func(r int) bool { return r == 3 }},
		"a query is infinite":        {with(3*d, inf), plain, plain, nil, func(r int) bool { return r == 3 }},
		"a key is NaN":               {plain, with(60*d, nan), plain, nil, func(r int) bool { return r >= 60 }},
		"a key is NaN, masked":       {plain, with(60*d, nan), plain, sinter.Arange(sinter.Int32, 0, n, 1).NeScalar(60), func(int) bool { return false }},
		"a row has no keys":          {plain, plain, plain, none, func(int) bool { return false }},
		"a row has no keys, by bool": {plain, plain, plain, none.EqScalar(0), func(int) bool { return false }},
	} {
		y := sinter.Attention(c.q, c.k, c.v, c.mask, true, 0)
		grads := sinter.VJP(y, plain, c.q, c.k, c.v)
		if err := sinter.Eval(append(tensors{y}, grads...)...); err != nil {
			t.Fatal(err)
		}
		for i, v := range y.Floats() {
			row := i / d
			if (v != v) != c.bad(row) {
				t.Errorf("%s: element %d of row %d is %v", name, i%d, row, v)
				break
			}
			if row == 5 && v != 0 && strings.HasPrefix(name, "a row") {
				t.Errorf("%s: element %d of row 5 is %v", name, i%d, v)
				break
			}
		}
		if strings.HasPrefix(name, "a row") {
			for _, g := range grads {
				for i, v := range g.Floats() {
					if v != v {
						t.Fatalf("%s: a gradient is NaN at element %d", name, i)
					}
				}
			}
		}
	}
}
