package simd_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	. "github.com/sinter-dl/sinter/internal/backend/cpu/emit"
	"github.com/sinter-dl/sinter/internal/backend/cpu/native"
	"github.com/sinter-dl/sinter/internal/backend/cpu/simd"
	"github.com/sinter-dl/sinter/internal/backend/cpu/vec"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
)

// atEveryWidth runs a test with vectors of each width that the processor has.
func atEveryWidth(t *testing.T, f func(t *testing.T, width int)) {
	if !native.Available() {
		t.Skip("no machine code can be made here")
	}
	before := vec.Current()
	defer vec.Use(before)
	for _, l := range vec.Levels() {
		if width := map[vec.Level]int{vec.AVX2: 8, vec.AVX512: 16}[l]; width > 0 {
			vec.Use(l)
			t.Run(fmt.Sprint(width), func(t *testing.T) { f(t, width) })
		}
	}
}

// state is all vector registers and, for AVX-512, mask registers 4 to 7, before and
// after a piece of code.
type state struct {
	vectors [32][16]float32
	masks   [4]uint64
	memory  [16]float32
}

// compile makes a function of code: it loads all registers from one state, runs the
// code and stores them to another.
func compile(t *testing.T, v *simd.V, code func()) func(from, to *state) {
	t.Helper()
	registers := map[int]int{16: 32, 8: 16}[v.W]
	at := func(base Reg, i int) Mem { return Mem{Base: base, Disp: int32(64 * i)} }
	mask := func(base Reg, k int) Mem {
		return Mem{Base: base, Disp: int32(unsafe.Offsetof(state{}.masks)) + int32(8*(k-4))}
	}
	v.Args(AX)
	v.I(MOVQ, Mem{Base: AX, Disp: 8}, DI)
	v.I(MOVQ, Mem{Base: AX}, AX)
	for r := range registers {
		v.Load(at(AX, r), r, false)
	}
	for k := 4; k < 8 && v.W == 16; k++ {
		v.I(KMOVQ, mask(AX, k), K(k))
	}
	code()
	for r := range registers {
		v.Store(r, at(DI, r), false)
	}
	for k := 4; k < 8 && v.W == 16; k++ {
		v.I(KMOVQ, K(k), mask(DI, k))
	}
	v.Return()
	bytes, err := v.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b, err := native.Map(bytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return func(from, to *state) {
		*to = *from
		native.Call(b.Entry(0), unsafe.Pointer(&[2]*state{from, to}))
	}
}

// random is a state of values of all sizes and kinds.
func random(r *rand.Rand) *state {
	s := new(state)
	for i := range s.vectors {
		for j := range s.vectors[i] {
			switch x := &s.vectors[i][j]; r.IntN(8) {
			case 0:
				*x = []float32{0, float32(math.Copysign(0, -1)), 1, -1, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), 1e-40}[r.IntN(8)]
			case 1:
				*x = math.Float32frombits(r.Uint32())
			default:
				*x = float32(r.NormFloat64() * 5)
			}
		}
	}
	for i := range s.masks {
		s.masks[i] = r.Uint64()
	}
	return s
}

func bits(x []float32) []uint32 { return unsafe.Slice((*uint32)(unsafe.Pointer(&x[0])), len(x)) }

// onlyChanged tells whether nothing but the registers named differs.
func onlyChanged(t *testing.T, from, to *state, registers ...int) {
	t.Helper()
	if from.masks != to.masks {
		t.Error("masks 4 to 7 are not what they were")
	}
	for i := range from.vectors {
		if !slices.Contains(registers, i) && !slices.Equal(bits(from.vectors[i][:]), bits(to.vectors[i][:])) {
			t.Errorf("register %d is not what it was", i)
		}
	}
}

// A function has the same bits as the routine that was compiled ahead of time,
// whatever its registers are, and destroys none but those it is given.
func TestUnary(t *testing.T) {
	atEveryWidth(t, func(t *testing.T, width int) {
		r := rand.New(rand.NewPCG(1, 2))
		for op, m := range simd.Unary {
			f := vec.Unary(op, dtype.Float32)
			for range 20 {
				regs := r.Perm(map[int]int{16: 32, 8: 16}[width])[:2+m.Temps]
				d, x := regs[0], regs[1]
				v := simd.New(width)
				run := compile(t, v, func() { m.Emit(v, d, x, regs[2:]) })
				from, to := random(r), new(state)
				run(from, to)
				want := make([]float32, width)
				f(&vec.Args{Dst: unsafe.Pointer(&want[0]), A: unsafe.Pointer(&from.vectors[x]), N: width, Rows: 1})
				if got := to.vectors[d][:width]; !slices.Equal(bits(got), bits(want)) {
					t.Fatalf("%v of %v is %v, want %v", op, from.vectors[x][:width], got, want)
				}
				onlyChanged(t, from, to, append(slices.Clone(regs[2:]), d)...)
			}
		}
	})
}

func TestBinary(t *testing.T) {
	atEveryWidth(t, func(t *testing.T, width int) {
		r := rand.New(rand.NewPCG(3, 4))
		for _, b := range []struct {
			op    ir.Op
			temps int
			emit  func(v *simd.V, d, x, y int, t []int)
		}{
			{ir.Pow, simd.PowTemps, simd.Pow},
			{ir.Max, 1, func(v *simd.V, d, x, y int, t []int) { v.Max(x, y, d, t[0]) }},
			{ir.Min, 1, func(v *simd.V, d, x, y int, t []int) { v.Min(x, y, d, t[0]) }},
		} {
			f := vec.Binary(b.op, dtype.Float32, 0)
			for range 50 {
				regs := r.Perm(map[int]int{16: 32, 8: 16}[width])[:3+b.temps]
				d, x, y := regs[0], regs[1], regs[2]
				v := simd.New(width)
				run := compile(t, v, func() { b.emit(v, d, x, y, regs[3:]) })
				from, to := random(r), new(state)
				run(from, to)
				want := make([]float32, width)
				f(&vec.Args{Dst: unsafe.Pointer(&want[0]), A: unsafe.Pointer(&from.vectors[x]), B: unsafe.Pointer(&from.vectors[y]), N: width, Rows: 1})
				if got := to.vectors[d][:width]; !slices.Equal(bits(got), bits(want)) {
					t.Fatalf("%v of %v and %v is %v, want %v", b.op, from.vectors[x][:width], from.vectors[y][:width], got, want)
				}
				onlyChanged(t, from, to, append(slices.Clone(regs[3:]), d)...)
			}
		}
	})
}

// Loads and stores under a mask of any number of lanes touch these lanes only.
func TestMask(t *testing.T) {
	atEveryWidth(t, func(t *testing.T, width int) {
		for n := range width + 1 {
			v := simd.New(width)
			run := compile(t, v, func() {
				v.I(MOVL, Imm(n), CX)
				v.Mask(CX, DX)
				v.Load(Mem{Base: AX}, 3, true)
				v.Store(4, Mem{Base: DI, Disp: int32(unsafe.Offsetof(state{}.memory))}, true)
			})
			from, to := random(rand.New(rand.NewPCG(5, uint64(n)))), new(state)
			run(from, to)
			for i := range width {
				want := from.vectors[0][i]
				if i >= n {
					want = 0
				}
				if math.Float32bits(to.vectors[3][i]) != math.Float32bits(want) {
					t.Errorf("mask of %d: lane %d is loaded as %g, want %g", n, i, to.vectors[3][i], want)
				}
				if want = from.vectors[4][i]; i >= n {
					want = 0
				}
				if math.Float32bits(to.memory[i]) != math.Float32bits(want) {
					t.Errorf("mask of %d: lane %d is stored as %g, want %g", n, i, to.memory[i], want)
				}
			}
		}
	})
}

// All lanes are combined, into each of them.
func TestFold(t *testing.T) {
	atEveryWidth(t, func(t *testing.T, width int) {
		v := simd.New(width)
		run := compile(t, v, func() { v.Fold(func(x, y, d int) { v.Op(VADDPS, y, x, d) }, 5, 6) })
		from, to := new(state), new(state)
		sum := float32(0)
		for i := range width {
			from.vectors[5][i] = float32(int(1) << i)
			sum += from.vectors[5][i]
		}
		run(from, to)
		for i := range width {
			if to.vectors[5][i] != sum {
				t.Errorf("lane %d is %g, want %g", i, to.vectors[5][i], sum)
			}
		}
	})
}

// Rounding to the half types, NaN and overflow included.
func TestRoundHalf(t *testing.T) {
	atEveryWidth(t, func(t *testing.T, width int) {
		r := rand.New(rand.NewPCG(7, 8))
		v := simd.New(width)
		run := compile(t, v, func() {
			v.RoundBF16(0, 1, 2, 3)
			v.RoundF16(0, 4)
		})
		for range 200 {
			from, to := random(r), new(state)
			run(from, to)
			for i := range width {
				x := from.vectors[0][i]
				for _, c := range []struct{ got, want float32 }{
					{to.vectors[1][i], dtype.BFloat16ToFloat32(dtype.BFloat16FromFloat32(x))},
					{to.vectors[4][i], dtype.Float16ToFloat32(dtype.Float16FromFloat32(x))},
				} {
					if c.got != c.want && (x == x || c.got == c.got) {
						t.Fatalf("%g is rounded to %g, want %g", x, c.got, c.want)
					}
				}
			}
		}
	})
}
