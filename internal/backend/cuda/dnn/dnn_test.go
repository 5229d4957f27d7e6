package dnn

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/sinter-dl/sinter/devicetest"
	"github.com/sinter-dl/sinter/internal/backend/cuda/card"
	"github.com/sinter-dl/sinter/internal/backend/cuda/standin"
	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/dl/cudnn"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/scalar"
)

// open makes a Planner on the stand-in. When the test ends, nothing that was created may
// be left.
func open(t *testing.T, o Options) (*Planner, *standin.Library) {
	t.Helper()
	lib := standin.Open(t, "cudnn")
	fns, err := cudnn.Load(lib)
	if err != nil {
		t.Fatal(err)
	}
	if o.Card.Arch == 0 {
		o.Card = card.Of(90)
	}
	before := lib.Live()
	p, err := New(fns, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if n := lib.Live(); n != before {
			t.Errorf("%d objects are left", n-before)
		}
	})
	return p, lib
}

// The conformance suite's convolutions, computed by the stand-in from what its
// descriptors say.
func TestConformance(t *testing.T) {
	p, lib := open(t, Options{})
	done, not := 0, make(map[string]int)
	devicetest.Run(t, &standin.Device{
		Scratch: p.Workspace,
		Plan: func(l *kernel.Library, unread bool) (standin.Routine, error) {
			r, why, err := p.Plan(l, unread, false)
			if r == nil {
				not[why]++
				return nil, err
			}
			done++
			return r, err
		},
	}, "conv")
	for why, n := range not {
		t.Logf("%d are not: %s", n, why)
		if why == "" || !strings.Contains(why, "float64") && why != "a convolution of nothing" && why != "no workspace" {
			t.Errorf("%d convolutions are not the library's: %q", n, why)
		}
	}
	if done < 250 || lib.Calls("cudnnBackendExecute") < done {
		t.Errorf("%d convolutions, %d executions", done, lib.Calls("cudnnBackendExecute"))
	}
}

func operand(slot int, d dtype.DType, sh ...int) kernel.Operand {
	return kernel.Operand{Slot: slot, DType: d, Shape: sh, Stride: contiguous(sh)}
}

// forward is a convolution of x [2, 3, 9, 8] by w [4, 3, 3, 3].
func forward(d, result dtype.DType) *kernel.Library {
	return &kernel.Library{Name: "conv", Op: ir.Conv, Scratch: 3,
		Attr: ir.ConvAttr{Stride: []int{2, 1}, Low: []int{1, 0}, High: []int{0, 2}, Dilation: []int{1, 2}, Groups: 1, Result: result},
		In:   []kernel.Operand{operand(0, d, 2, 3, 9, 8), operand(1, d, 4, 3, 3, 3)},
		Out:  []kernel.Operand{operand(2, result, 2, 4, 4, 6)}}
}

// The record of a convolution.
func TestRecord(t *testing.T) {
	p, lib := open(t, Options{})
	lib.Clear()
	r, why, err := p.Plan(forward(dtype.BFloat16, dtype.BFloat16), false, false)
	if r == nil {
		t.Fatal(why, err)
	}
	memory := make([]float64, 1<<21)
	base := (uintptr(unsafe.Pointer(&memory[0])) + 63) &^ 63
	if err := r.Run([]uintptr{base, base + 4096, base + 8192, base + 16384}, 0); err != nil {
		t.Fatal(err)
	}
	r.Close()
	tensor := func(id int, dims, strides string) []string {
		return []string{"cudnnBackendCreateDescriptor 17", "cudnnBackendSetAttribute 901 type 1 count 1: 9",
			"cudnnBackendSetAttribute 902 type 3 count 4: " + dims, "cudnnBackendSetAttribute 903 type 3 count 4: " + strides,
			fmt.Sprintf("cudnnBackendSetAttribute 906 type 3 count 1: %d", id), "cudnnBackendSetAttribute 900 type 3 count 1: 16", "cudnnBackendFinalize 17"}
	}
	want := slices.Concat(
		tensor(1, "2 3 9 8", "216 72 8 1"), tensor(2, "4 3 3 3", "27 9 3 1"), tensor(3, "2 4 4 6", "96 24 6 1"),
		[]string{"cudnnBackendCreateDescriptor 1",
			"cudnnBackendSetAttribute 100 type 1 count 1: 0", // sums of float32
			"cudnnBackendSetAttribute 101 type 7 count 1: 1", // cross-correlation
			"cudnnBackendSetAttribute 106 type 3 count 1: 2",
			"cudnnBackendSetAttribute 102 type 3 count 2: 1 2",
			"cudnnBackendSetAttribute 103 type 3 count 2: 2 1",
			"cudnnBackendSetAttribute 105 type 3 count 2: 1 0",
			"cudnnBackendSetAttribute 104 type 3 count 2: 0 2",
			"cudnnBackendFinalize 1",
			"cudnnBackendCreateDescriptor 10",
			"cudnnBackendSetAttribute 704 type 15 count 1:", "cudnnBackendSetAttribute 703 type 15 count 1:", "cudnnBackendSetAttribute 705 type 15 count 1:",
			"cudnnBackendSetAttribute 700 type 4 count 1: 1", "cudnnBackendSetAttribute 701 type 4 count 1: 0",
			"cudnnBackendSetAttribute 702 type 15 count 1:", "cudnnBackendFinalize 10",
			"cudnnBackendCreateDescriptor 15", "cudnnBackendSetAttribute 801 type 15 count 1:", "cudnnBackendSetAttribute 800 type 0 count 1:", "cudnnBackendFinalize 15",
			"cudnnBackendCreateDescriptor 4", "cudnnBackendSetAttribute 201 type 15 count 1:", "cudnnBackendSetAttribute 200 type 8 count 1: 3", "cudnnBackendFinalize 4",
			"cudnnBackendGetAttribute 202 type 15 count 0",
			"cudnnBackendCreateDescriptor 3", "cudnnBackendCreateDescriptor 3", "cudnnBackendCreateDescriptor 3", "cudnnBackendCreateDescriptor 3",
			"cudnnBackendGetAttribute 202 type 15 count 4",
			"cudnnBackendCreateDescriptor 2", "cudnnBackendGetAttribute 300 type 15 count 1", "cudnnBackendGetAttribute 1303 type 11 count 32", // not deterministic
			"cudnnBackendCreateDescriptor 2", "cudnnBackendGetAttribute 300 type 15 count 1", "cudnnBackendGetAttribute 1303 type 11 count 32",
			"cudnnBackendCreateDescriptor 5", "cudnnBackendSetAttribute 400 type 0 count 1:", "cudnnBackendSetAttribute 401 type 15 count 1:", "cudnnBackendFinalize 5",
			"cudnnBackendGetAttribute 402 type 3 count 1"},
		slices.Repeat([]string{"cudnnBackendDestroyDescriptor"}, 3+3+1+4+2),
		[]string{"cudnnSetStream", "cudnnBackendCreateDescriptor 16",
			"cudnnBackendSetAttribute 1000 type 3 count 3: 1 2 3", "cudnnBackendSetAttribute 1001 type 6 count 3:", "cudnnBackendSetAttribute 1003 type 6 count 1:",
			"cudnnBackendFinalize 16", "cudnnBackendExecute engine 1", "cudnnBackendDestroyDescriptor",
			"cudnnBackendDestroyDescriptor"},
	)
	if got := lib.Record(); !slices.Equal(got, want) {
		t.Errorf("the calls are\n%s\nand should be\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Engines that may be used for which types, and that a plan comes back from the cache.
func TestEngines(t *testing.T) {
	c := make(cache)
	for _, test := range []struct {
		d      dtype.DType
		tf32   bool
		engine int
	}{
		{dtype.Float32, false, 3}, {dtype.Float32, true, 1}, {dtype.BFloat16, false, 1},
	} {
		for again := range 2 {
			p, lib := open(t, Options{Cache: c})
			lib.Clear()
			r, why, err := p.Plan(forward(test.d, dtype.Float32), false, test.tf32)
			if r == nil {
				t.Fatal(why, err)
			}
			memory := make([]float64, 1<<21)
			base := (uintptr(unsafe.Pointer(&memory[0])) + 63) &^ 63
			if err := r.Run([]uintptr{base, base + 4096, base + 8192, base + 16384}, 0); err != nil {
				t.Fatal(err)
			}
			r.Close()
			want := fmt.Sprintf("cudnnBackendExecute engine %d", test.engine)
			if again == 1 {
				want = "cudnnBackendExecute engine 3" // as the stand-in reads what it has written
				if lib.Calls("cudnnBackendFinalize") != 2 {
					t.Errorf("%v: %d descriptors for a plan that is remembered", test.d, lib.Calls("cudnnBackendFinalize"))
				}
			}
			if !slices.Contains(lib.Record(), want) {
				t.Errorf("%v, TF32 %v: not %s\n%s", test.d, test.tf32, want, strings.Join(lib.Record(), "\n"))
			}
		}
	}
	// What the cache holds may be of no use.
	for key := range c {
		c[key] = []byte("of another version")
	}
	p, _ := open(t, Options{Cache: c})
	r, why, err := p.Plan(forward(dtype.Float32, dtype.Float32), false, false)
	if r == nil {
		t.Fatal(why, err)
	}
	r.Close()
}

type cache map[string][]byte

func (c cache) Get(key string) ([]byte, bool) { d, ok := c[key]; return d, ok }
func (c cache) Put(key string, data []byte)   { c[key] = slices.Clone(data) }

// A call that fails, at any place, is an error, and nothing is left of what came before.
func TestFailures(t *testing.T) {
	p, lib := open(t, Options{})
	before := lib.Live()
	l := forward(dtype.Float32, dtype.Float32)
	lib.Clear()
	r, why, err := p.Plan(l, false, false)
	if r == nil {
		t.Fatal(why, err)
	}
	r.Close()
	calls := make(map[string]int)
	for _, line := range lib.Record() {
		name, _, _ := strings.Cut(line, " ")
		calls[name]++
	}
	for name, n := range calls {
		if name == "cudnnBackendDestroyDescriptor" {
			continue // there is nobody to tell
		}
		for i := range n {
			lib.Fail(name, 4000, i)
			r, why, err := p.Plan(l, false, false)
			var s cudnn.Status
			if r != nil || why != "" || !errors.As(err, &s) || s != 4000 {
				t.Errorf("call %d of %s fails: %v, %q, %v", i, name, r, why, err)
			}
			if lib.Live() != before {
				t.Fatalf("call %d of %s fails: %d objects are left", i, name, lib.Live()-before)
			}
			lib.Clear()
		}
	}
	// Where heuristics have nothing, the next ones are asked; where none has, it is said.
	lib.Fail("cudnnBackendFinalize", 3000, calls["cudnnBackendFinalize"]-2)
	if r, why, err := p.Plan(l, false, false); r == nil {
		t.Errorf("without the first heuristics: %q, %v", why, err)
	} else {
		r.Close()
	}
	lib.Fail("cudnnBackendFinalize", 3000, 0)
	if r, why, err := p.Plan(l, false, false); r != nil || why == "" || err != nil {
		t.Errorf("not supported: %v, %q, %v", r, why, err)
	}
}

// attend is attention with its gradient, by definition: q, k, v, dy → y, sums, dq, dk, dv.
func attend(b, h, t, s, d, e int, a ir.Attention, q, k, v, dy func(b, h, i, j int) float64) (y, sums, dq, dk, dv map[[4]int]float64) {
	y, sums, dq, dk, dv = make(map[[4]int]float64), make(map[[4]int]float64), make(map[[4]int]float64), make(map[[4]int]float64), make(map[[4]int]float64)
	for b := range b {
		for h := range h {
			for i := range t {
				w := make([]float64, s)
				sum := 0.0
				for j := range s {
					if a.Causal && j > i {
						continue
					}
					for c := range d {
						w[j] += q(b, h, i, c) * k(b, h, j, c) * a.Scale
					}
					w[j] = math.Exp(w[j])
					sum += w[j]
				}
				sums[[4]int{b, h, i}] = math.Log(sum)
				delta := 0.0
				for c := range e {
					at := [4]int{b, h, i, c}
					for j := range s {
						y[at] += w[j] / sum * v(b, h, j, c)
						dv[[4]int{b, h, j, c}] += w[j] / sum * dy(b, h, i, c)
					}
					delta += y[at] * dy(b, h, i, c)
				}
				for j := range s {
					dw := -delta
					for c := range e {
						dw += dy(b, h, i, c) * v(b, h, j, c)
					}
					ds := w[j] / sum * dw * a.Scale
					for c := range d {
						dq[[4]int{b, h, i, c}] += ds * k(b, h, j, c)
						dk[[4]int{b, h, j, c}] += ds * q(b, h, i, c)
					}
				}
			}
		}
	}
	return
}

// Attention and its gradient against the definition: packed in one matrix as a projection
// gives them, and apart, with different numbers of queries and keys, of elements of keys
// and values.
func TestAttention(t *testing.T) {
	p, _ := open(t, Options{})
	for _, c := range []struct {
		b, h, t, s, d, e int
		causal, packed   bool
		kind             dtype.DType
	}{
		{2, 3, 10, 10, 16, 16, true, true, dtype.BFloat16},
		{2, 3, 10, 10, 8, 8, false, true, dtype.Float16},
		{1, 2, 5, 9, 16, 8, true, false, dtype.BFloat16},
		{2, 1, 7, 3, 8, 24, false, false, dtype.Float16},
	} {
		a := ir.Attention{Scale: 0.3, Causal: c.causal}
		name := fmt.Sprintf("%+v", c)
		r := rand.New(rand.NewPCG(3, 4))
		var slots [][]byte
		fill := func(d dtype.DType, n int) int {
			m := aligned(n * d.Size())
			for i := range n {
				scalar.Put(d, m, i, scalar.Number{F: float64(r.IntN(33)-16) / 16})
			}
			slots = append(slots, m)
			return len(slots) - 1
		}
		// q, k and v as views [B, H, T, D].
		var q, k, v kernel.Operand
		if c.packed {
			n := c.h * c.d
			all := fill(c.kind, c.b*c.t*3*n)
			for i, o := range []*kernel.Operand{&q, &k, &v} {
				*o = kernel.Operand{Slot: all, DType: c.kind, Offset: i * n, Shape: []int{c.b, c.h, c.t, c.d}, Stride: []int{c.t * 3 * n, c.d, 3 * n, 1}}
			}
		} else {
			q = operand(fill(c.kind, c.b*c.h*c.t*c.d), c.kind, c.b, c.h, c.t, c.d)
			k = operand(fill(c.kind, c.b*c.h*c.s*c.d), c.kind, c.b, c.h, c.s, c.d)
			v = operand(fill(c.kind, c.b*c.h*c.s*c.e), c.kind, c.b, c.h, c.s, c.e)
		}
		y := operand(fill(c.kind, c.b*c.t*c.h*c.e), c.kind, c.b, c.t, c.h, c.e)
		sum := operand(fill(dtype.Float32, c.b*c.h*c.t), dtype.Float32, c.b, c.h, c.t)
		dy := operand(fill(c.kind, c.b*c.t*c.h*c.e), c.kind, c.b, c.t, c.h, c.e)
		element := func(o *kernel.Operand) func(b, h, i, j int) float64 {
			return func(b, h, i, j int) float64 {
				at := o.Offset + b*o.Stride[0] + h*o.Stride[1] + i*o.Stride[2] + j*o.Stride[3]
				return scalar.Get(o.DType, slots[o.Slot], at).F
			}
		}
		swapped := func(o kernel.Operand) *kernel.Operand {
			o.Stride = []int{o.Stride[0], o.Stride[2], o.Stride[1], o.Stride[3]}
			return &o
		}
		wantY, wantSum, wantDQ, wantDK, wantDV := attend(c.b, c.h, c.t, c.s, c.d, c.e, a, element(&q), element(&k), element(&v), element(swapped(dy)))

		run := func(l *kernel.Library) {
			t.Helper()
			l.Name, l.Op, l.Scratch = name, ir.Composite, len(slots)
			slots = append(slots, aligned(p.Workspace(l)))
			for twice := range 2 {
				r, why, err := p.Plan(l, false, false)
				if r == nil {
					t.Fatal(name, why, err)
				}
				if err := r.Run(addresses(slots, r.Args()), 0); err != nil {
					t.Fatal(name, twice, err)
				}
				r.Close()
			}
		}
		same := func(what string, o kernel.Operand, want map[[4]int]float64, from, d int) {
			t.Helper()
			for at, w := range want {
				i := o.Offset
				switch {
				case what == "sum":
					i += at[0]*o.Stride[0] + at[1]*o.Stride[1] + at[2]
				case len(o.Shape) == 3:
					i += from + at[0]*o.Stride[0] + at[2]*o.Stride[1] + at[1]*d + at[3]
				default:
					i += at[0]*o.Stride[0] + at[2]*o.Stride[1] + at[1]*o.Stride[2] + at[3]
				}
				// Weights and their gradients are rounded before they are multiplied.
				if got := scalar.Get(o.DType, slots[o.Slot], i).F; !(math.Abs(got-w) <= 0.02*max(1, math.Abs(w))) {
					t.Fatalf("%s: %s%v is %v, want %v", name, what, at, got, w)
				}
			}
		}
		run(&kernel.Library{Attr: &ir.Region{Name: "attention", Attr: a}, In: []kernel.Operand{q, k, v}, Out: []kernel.Operand{y, sum}})
		same("y", y, wantY, 0, 0)
		same("sum", sum, wantSum, 0, 0)
		out := []kernel.Operand{operand(fill(c.kind, c.b*c.t*3*c.h*c.d), c.kind, c.b, c.t, 3*c.h*c.d)}
		if !c.packed {
			out = []kernel.Operand{
				operand(fill(c.kind, c.b*c.t*c.h*c.d), c.kind, c.b, c.t, c.h, c.d),
				operand(fill(c.kind, c.b*c.s*c.h*c.d), c.kind, c.b, c.s, c.h, c.d),
				operand(fill(c.kind, c.b*c.s*c.h*c.e), c.kind, c.b, c.s, c.h, c.e),
			}
		}
		run(&kernel.Library{Attr: &ir.Region{Name: "attention_grad", Attr: a}, In: []kernel.Operand{q, k, v, y, sum, dy}, Out: out})
		n := c.h * c.d
		if c.packed {
			out = append(out, out[0], out[0])
		}
		same("dq", out[0], wantDQ, 0, c.d)
		same("dk", out[1], wantDK, n, c.d)
		same("dv", out[2], wantDV, 2*n, c.d)
		// Where nobody reads the sums, they are not asked for.
		unread := sum
		unread.Slot = -1
		run(&kernel.Library{Attr: &ir.Region{Name: "attention", Attr: a}, In: []kernel.Operand{q, k, v}, Out: []kernel.Operand{y, unread}})
		same("y", y, wantY, 0, 0)
	}
}

func aligned(n int) []byte {
	m := make([]byte, n+64)
	at := int(-uintptr(unsafe.Pointer(&m[0])) & 63)
	return m[at : at+n]
}

func addresses(slots [][]byte, args []codegen.Arg) (at []uintptr) {
	for _, a := range args {
		at = append(at, uintptr(unsafe.Pointer(unsafe.SliceData(slots[a.Slot][a.Offset:]))))
	}
	return at
}

// What cuDNN is not asked for.
func TestRefused(t *testing.T) {
	p, _ := open(t, Options{})
	const b, h, n, d = 1, 2, 16, 16
	in := func(d0 dtype.DType, d int) []kernel.Operand {
		return []kernel.Operand{operand(0, d0, b, h, n, d), operand(1, d0, b, h, n, d), operand(2, d0, b, h, n, d)}
	}
	out := func(d0 dtype.DType, d int) []kernel.Operand {
		return []kernel.Operand{operand(3, d0, b, n, h, d), operand(4, dtype.Float32, b, h, n)}
	}
	a := &ir.Region{Name: "attention", Attr: ir.Attention{Scale: 1}}
	masked := append(in(dtype.BFloat16, d), operand(5, dtype.Bool, 1, 1, n, n))
	crooked := in(dtype.BFloat16, d)
	crooked[1].Offset = 1
	gaps := in(dtype.BFloat16, d)
	gaps[0].Stride = []int{h * n * 20, n * 20, 20, 1}
	for name, l := range map[string]*kernel.Library{
		"float32":        {Attr: a, In: in(dtype.Float32, d), Out: out(dtype.Float32, d)},
		"12 elements":    {Attr: a, In: in(dtype.BFloat16, 12), Out: out(dtype.BFloat16, 12)},
		"512 elements":   {Attr: a, In: in(dtype.BFloat16, 512), Out: out(dtype.BFloat16, 512)},
		"a mask":         {Attr: a, In: masked, Out: out(dtype.BFloat16, d)},
		"not aligned":    {Attr: a, In: crooked, Out: out(dtype.BFloat16, d)},
		"rows of 20":     {Attr: a, In: gaps, Out: out(dtype.BFloat16, d)},
		"another region": {Attr: &ir.Region{Name: "layer_norm"}, In: in(dtype.BFloat16, d), Out: out(dtype.BFloat16, d)},
	} {
		l.Op, l.Scratch = ir.Composite, 6
		if r, why, err := p.Plan(l, false, false); r != nil || why == "" || err != nil {
			t.Errorf("%s: %v, %q, %v", name, r, why, err)
		}
	}
	old, _ := open(t, Options{Card: card.Of(70)})
	l := &kernel.Library{Op: ir.Composite, Attr: a, In: in(dtype.Float16, d), Out: out(dtype.Float16, d), Scratch: 6}
	if r, why, err := old.Plan(l, false, false); r != nil || !strings.Contains(why, "Volta") || err != nil {
		t.Errorf("on a V100: %v, %q, %v", r, why, err)
	}
}

// A result that is rounded, and that nothing else reads, is written rounded.
func TestRounding(t *testing.T) {
	p, _ := open(t, Options{})
	l := forward(dtype.BFloat16, dtype.Float32)
	l.Epilogue = &kernel.Fused{
		Code: []kernel.Instr{
			{Kind: kernel.Load, DType: dtype.Float32, Arg: 0},
			{Kind: kernel.Apply, Op: ir.Convert, DType: dtype.BFloat16},
			{Kind: kernel.Store, DType: dtype.BFloat16, X: [3]int{1}, Arg: 1},
		},
		Parts: []kernel.Part{{Outer: []int{2, 4, 4, 6}, Args: []kernel.Arg{
			{Slot: 2, DType: dtype.Float32, Stride: []int{96, 24, 6, 1}}, {Slot: 5, DType: dtype.BFloat16, Offset: 8, Stride: []int{96, 24, 6, 1}},
		}}},
	}
	for _, unread := range []bool{true, false} {
		r, why, err := p.Plan(l, unread, false)
		if r == nil {
			t.Fatal(why, err)
		}
		if r.Epilogue() != unread || slices.Contains(r.Args(), codegen.Arg{Slot: 5, Offset: 16}) != unread {
			t.Errorf("unread %v: epilogue %v, arguments %v", unread, r.Epilogue(), r.Args())
		}
		r.Close()
	}
}
