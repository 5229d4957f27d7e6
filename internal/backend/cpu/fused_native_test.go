package cpu

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/sinter-dl/sinter/internal/backend/cpu/native"
	"github.com/sinter-dl/sinter/internal/backend/cpu/pool"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// interpreted compiles f as on a system that refuses executable memory.
func interpreted(f *kernel.Fused, p *pool.Pool) (*fusedKernel, error) {
	native.Refuse(true)
	defer native.Refuse(false)
	return compileFused(f, nil, p)
}

// nativeSteps counts the steps of k that are machine code, and the others.
func nativeSteps(k *fusedKernel) (code, others int) {
	for _, pp := range k.parts {
		p := pp.walk.prog
		lists := [][]step{p.body, p.final}
		for i := range p.passes {
			lists = append(lists, p.passes[i].outer, p.passes[i].inner)
		}
		for _, l := range lists {
			for i := range l {
				if l[i].kind == stepNative {
					code++
				} else {
					others++
				}
			}
		}
	}
	return
}

// wild fills memory of a float type with normal numbers and now and then what
// floats have besides.
func wild(r *rand.Rand, d dtype.DType, mem []byte) {
	odd := []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1), 1e-40, 3e38, -1e-42}
	for i := range len(mem) / d.Size() {
		v := r.NormFloat64() * 3
		if r.IntN(40) == 0 {
			v = odd[r.IntN(len(odd))]
		}
		writeNumber(mem, d, i, refValue{f: v})
	}
}

// Native code gives the bits of the interpreter, NaN where it does: on random
// kernels with numbers of all sorts.
func TestNativeRandom(t *testing.T) {
	if nativeLanes() == 0 {
		t.Skip("no native code at this level")
	}
	one := pool.New(1)
	n := 3000
	if testing.Short() {
		n = 1000
	}
	code := 0
	for seed := range uint64(n) {
		m := randomKernel(seed + 1<<32)
		for p := range m.f.Parts {
			for _, a := range m.f.Parts[p].Args {
				if a.Slot >= 0 && a.DType.IsFloat() {
					wild(m.Rand, a.DType, m.slots[a.Slot])
				}
			}
		}
		k, err := compileFused(&m.f, nil, one)
		if err != nil {
			t.Fatalf("%v\n%s", err, describe(m))
		}
		c, _ := nativeSteps(k)
		code += c
		ref, err := interpreted(&m.f, one)
		if err != nil {
			t.Fatal(err)
		}
		got, want := clones(m.slots), clones(m.slots)
		k.run(pointers(got))
		ref.run(pointers(want))
		compareSlots(t, "native", m, got, want)
		signs(t, m, got, want)
	}
	if code < n/4 {
		t.Errorf("only %d pieces of native code in %d kernels", code, n)
	}
}

// signs tells zeros of different sign apart, which compareSlots does not.
func signs(t *testing.T, m *maker, got, want [][]byte) {
	for p := range m.f.Parts {
		for _, a := range m.f.Parts[p].Args {
			if a.Slot < 0 || !a.DType.IsFloat() {
				continue
			}
			for i := range len(got[a.Slot]) / a.DType.Size() {
				g, w := readNumber(got[a.Slot], a.DType, i).f, readNumber(want[a.Slot], a.DType, i).f
				if g == w && math.Signbit(g) != math.Signbit(w) {
					t.Fatalf("%s: slot %d element %d is %v, want %v\n%s", m.f.Name, a.Slot, i, g, w, describe(m))
				}
			}
		}
	}
}

// The kernels that matter are native nearly altogether, and give the interpreter's
// bits.
func TestNativeKernels(t *testing.T) {
	if nativeLanes() == 0 {
		t.Skip("no native code at this level")
	}
	for _, c := range []struct {
		f      *kernel.Fused
		others int // steps that stay
	}{
		{adamW(100_003), 99}, {gelu(100_001), 0}, {softmax(301, 257), 0}, {softmax(3, 70_001), 3}, {softmax(500, 7), 0},
		{layerNorm(64, 1024), 0}, {layerNorm(1000, 33), 0}, {colSum(4096, 65), 99}, {biasReLU(1000, 129), 0},
	} {
		r := rand.New(rand.NewPCG(2, 2))
		slots, _ := floatSlots(5, 300_000, func(_, _ int) float32 { return float32(r.NormFloat64()) })
		p := pool.New(2)
		k, err := compileFused(c.f, nil, p)
		if err != nil {
			t.Fatal(err)
		}
		ref, err := interpreted(c.f, p)
		if err != nil {
			t.Fatal(err)
		}
		code, others := nativeSteps(k)
		t.Logf("%s: %d pieces of native code, %d other steps", c.f.Name, code, others)
		if others > c.others {
			t.Errorf("%s: %d steps are interpreted, at most %d need be", c.f.Name, others, c.others)
		}
		got, want := clones(slots), clones(slots)
		k.run(pointers(got))
		ref.run(pointers(want))
		for s := range got {
			if !bytes.Equal(got[s], want[s]) {
				t.Errorf("%s: slot %d differs from the interpreter's", c.f.Name, s)
			}
		}
		p.Close()
	}
}
