package lt

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/sinter-dl/sinter/devicetest"
	"github.com/sinter-dl/sinter/internal/backend/cuda/card"
	"github.com/sinter-dl/sinter/internal/backend/cuda/standin"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dl/cublaslt"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/scalar"
)

// open makes a Planner on the stand-in. When the test ends, nothing that was created may
// be left.
func open(t *testing.T, o Options) (*Planner, *standin.Library) {
	t.Helper()
	lib := standin.Open(t, "cublaslt")
	fns, err := cublaslt.Load(lib)
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

// device is a device whose products are the Planner's. It counts them, by epilogue, and
// the reasons for which others are not.
func newDevice(p *Planner) (d *standin.Device, done map[cublaslt.Epilogue]int, not map[string]int) {
	done, not = make(map[cublaslt.Epilogue]int), make(map[string]int)
	return &standin.Device{
		Unread:  Unread,
		Scratch: p.Workspace,
		Plan: func(l *kernel.Library, unread bool) (standin.Routine, error) {
			r, why, err := p.Plan(l, Way{Unread: unread})
			if r == nil {
				not[why]++
				return nil, err
			}
			done[r.d.Epilogue]++
			return r, err
		},
	}, done, not
}

// The conformance suite's products, computed by the stand-in from what its descriptors
// say. Most have to be the library's; that those are which are not is looked at, too.
func TestConformance(t *testing.T) {
	p, lib := open(t, Options{ReLU: true})
	d, done, not := newDevice(p)
	devicetest.Run(t, d, "dot")
	t.Logf("done, by epilogue: %v", done)
	for why, n := range not {
		t.Logf("%d are not: %s", n, why)
		if why == "" || !strings.HasPrefix(why, "no products of") && !strings.HasPrefix(why, "a product over") && !strings.HasPrefix(why, "no leading") {
			t.Errorf("%d products are not the library's: %q", n, why)
		}
	}
	if calls := lib.Calls("cublasLtMatmul"); calls < 200 || done[cublaslt.Default] < 100 {
		t.Errorf("%d products took %d calls", done[cublaslt.Default], calls)
	}
}

// The same on memory that is aligned to its elements only, as in the body of a loop.
func TestMisaligned(t *testing.T) {
	p, _ := open(t, Options{})
	d, _, _ := newDevice(p)
	d.Misalign = 8
	devicetest.Run(t, d, "dot")
}

// operand is a contiguous one.
func operand(slot int, d dtype.DType, sh ...int) kernel.Operand {
	o := kernel.Operand{Slot: slot, DType: d, Shape: sh, Stride: make([]int, len(sh))}
	n := 1
	for i := len(sh) - 1; i >= 0; i-- {
		o.Stride[i], n = n, n*sh[i]
	}
	return o
}

// The record of a Linear layer's product x·wᵀ + b: what is called, in which order, with
// which bytes.
func TestRecord(t *testing.T) {
	p, lib := open(t, Options{})
	lib.Clear()
	w := operand(1, dtype.BFloat16, 24, 32)
	w.Stride = []int{1, 24} // w [32, 24], transposed
	l := &kernel.Library{Name: "linear", Op: ir.DotGeneral, Scratch: 4,
		In: []kernel.Operand{operand(0, dtype.BFloat16, 8, 24), w}, Out: []kernel.Operand{operand(2, dtype.Float32, 8, 32)}}
	l.Epilogue = &kernel.Fused{
		Code: []kernel.Instr{
			{Kind: kernel.Load, DType: dtype.Float32, Arg: 0},
			{Kind: kernel.Load, DType: dtype.Float32, Arg: 1},
			{Kind: kernel.Apply, Op: ir.Add, DType: dtype.Float32, X: [3]int{0, 1}},
			{Kind: kernel.Store, DType: dtype.Float32, X: [3]int{2}, Arg: 0},
		},
		Parts: []kernel.Part{{Outer: []int{8, 32}, Args: []kernel.Arg{
			{Slot: 2, DType: dtype.Float32, Stride: []int{32, 1}},
			{Slot: 3, DType: dtype.Float32, Stride: []int{0, 1}},
		}}},
	}
	r, why, err := p.Plan(l, Way{})
	if r == nil {
		t.Fatal(why, err)
	}
	memory := make([]float32, 4096)
	base := (uintptr(unsafe.Pointer(&memory[0])) + 63) &^ 63
	at := []uintptr{base, base + 4096, base + 8192, base + 6144, base + 9216}
	if len(r.Args()) != len(at) || !r.Epilogue() {
		t.Fatalf("arguments %v, epilogue %v", r.Args(), r.Epilogue())
	}
	if err := r.Run(at, 0); err != nil {
		t.Fatal(err)
	}
	r.Close()
	word := func(n uint64) string {
		s := ""
		for range 8 {
			s += fmt.Sprintf("%02x", byte(n))
			n >>= 8
		}
		return s
	}
	want := []string{
		"cublasLtMatmulDescCreate 68 0", // float32 sums, float32 factors
		"cublasLtMatmulDescSetAttribute 3=01000000",
		"cublasLtMatmulDescSetAttribute 4=00000000",
		"cublasLtMatmulDescSetAttribute 7=04000000",  // bias
		"cublasLtMatmulDescSetAttribute 26=00000000", // of float32
		"cublasLtMatmulDescSetAttribute 8=1000100000000000",
		"cublasLtMatrixLayoutCreate 14 24 32 24", // w, to be transposed
		"cublasLtMatrixLayoutCreate 14 24 8 24",  // x
		"cublasLtMatrixLayoutCreate 0 32 8 32",
		"cublasLtMatrixLayoutCreate 0 32 8 32",
		"cublasLtMatmulPreferenceCreate",
		"cublasLtMatmulPreferenceSetAttribute 1=" + word(256<<10),
		"cublasLtMatmulPreferenceSetAttribute 3=02000000",
		"cublasLtMatmulPreferenceSetAttribute 5=40000000",
		"cublasLtMatmulPreferenceSetAttribute 6=40000000",
		"cublasLtMatmulPreferenceSetAttribute 7=40000000",
		"cublasLtMatmulPreferenceSetAttribute 8=40000000",
		"cublasLtMatmulAlgoGetHeuristic 1",
		"cublasLtMatmulPreferenceDestroy",
		"cublasLtMatmulDescSetAttribute 8=" + word(uint64(at[3])),
		"cublasLtMatmul algo 1 workspace 262144",
		"cublasLtMatrixLayoutDestroy", "cublasLtMatrixLayoutDestroy", "cublasLtMatrixLayoutDestroy", "cublasLtMatrixLayoutDestroy",
		"cublasLtMatmulDescDestroy",
	}
	if got := lib.Record(); !slices.Equal(got, want) {
		t.Errorf("the calls are\n%s\nand should be\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A call that fails, at any place, is an error, and nothing is left of what came before.
func TestFailures(t *testing.T) {
	p, lib := open(t, Options{})
	lib.Clear()
	before := lib.Live()
	l := &kernel.Library{Name: "product", Op: ir.DotGeneral, Scratch: -1,
		In: []kernel.Operand{operand(0, dtype.Float32, 2, 8, 24), operand(1, dtype.Float32, 2, 24, 16)}, Out: []kernel.Operand{operand(2, dtype.Float32, 2, 8, 16)}}
	r, why, err := p.Plan(l, Way{})
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
		for i := range n {
			if strings.HasSuffix(name, "Destroy") {
				continue // there is nobody to tell
			}
			clear(p.chosen)
			lib.Fail(name, 14, i)
			r, why, err := p.Plan(l, Way{})
			var status cublaslt.Status
			if r != nil || why != "" || !errors.As(err, &status) || status != 14 {
				t.Errorf("call %d of %s fails: %v, %q, %v", i, name, r, why, err)
			}
			if lib.Live() != before {
				t.Fatalf("call %d of %s fails: %d objects are left", i, name, lib.Live()-before)
			}
			lib.Clear()
		}
	}
	// No algorithm is no error.
	clear(p.chosen)
	lib.Fail("cublasLtMatmulAlgoGetHeuristic", 15, 0)
	if r, why, err := p.Plan(l, Way{}); r != nil || why == "" || err != nil {
		t.Errorf("no algorithm: %v, %q, %v", r, why, err)
	}
}

type cache map[string][]byte

func (c cache) Get(key string) ([]byte, bool) { d, ok := c[key]; return d, ok }
func (c cache) Put(key string, data []byte)   { c[key] = slices.Clone(data) }

// Timing takes the fastest algorithm, writes it down, and does not time again.
func TestTimed(t *testing.T) {
	times, slow := 0, []time.Duration{3, 1, 2}
	var sizes []int
	o := Options{Cache: make(cache), Name: "card", Timed: func(bytes []int, f func(at []uintptr, stream uintptr) error) (time.Duration, error) {
		sizes = bytes
		var at []uintptr
		var keep [][]float64
		for _, n := range bytes {
			m := make([]float64, n/8+9)
			keep = append(keep, m)
			at = append(at, (uintptr(unsafe.Pointer(&m[0]))+63)&^63)
		}
		err := f(at, 0)
		times++
		_ = keep
		return slow[times-1], err
	}}
	l := &kernel.Library{Name: "product", Op: ir.DotGeneral, Scratch: 3,
		In: []kernel.Operand{operand(0, dtype.Float16, 2, 8, 24), operand(1, dtype.Float16, 2, 24, 16)}, Out: []kernel.Operand{operand(2, dtype.Float16, 2, 8, 16)}}
	for i := range 2 {
		p, lib := open(t, o)
		lib.Clear()
		r, why, err := p.Plan(l, Way{})
		if r == nil {
			t.Fatal(why, err)
		}
		if r.algo[24] != 2 || times != 3 { // the stand-in's second
			t.Errorf("algorithm %d after %d timings", r.algo[24], times)
		}
		if i == 1 && lib.Calls("cublasLtMatmulAlgoGetHeuristic") != 0 {
			t.Error("asked for algorithms though one is in the cache")
		}
		r.Close()
	}
	// right, left, result, workspace
	if want := []int{2 * 2 * 24 * 16, 2 * 2 * 8 * 24, 2 * 2 * 8 * 16, 256<<10 + workAlign}; !slices.Equal(sizes, want) {
		t.Errorf("memory for timing: %v, want %v", sizes, want)
	}
}

// Probe tells libraries apart whose rectifiers keep what is not a number, and those that
// take it for zero.
func TestProbe(t *testing.T) {
	for _, keeps := range []bool{true, false} {
		p, lib := open(t, Options{ReLU: !keeps})
		lib.KeepsNaN(keeps)
		if err := p.Probe(host{}, 0); err != nil {
			t.Fatal(err)
		}
		if p.ReLU != keeps {
			t.Errorf("a rectifier that keeps what is not a number (%v) is found to (%v)", keeps, p.ReLU)
		}
		lib.KeepsNaN(true)
	}
}

type host struct{}

var kept [][]byte

func (host) Put(data []byte) (uintptr, error) {
	m := make([]byte, len(data)+64)
	at := -uintptr(unsafe.Pointer(&m[0])) & 63
	copy(m[at:], data)
	kept = append(kept, m)
	return uintptr(unsafe.Pointer(&m[at])), nil
}

func (host) Get(into []byte, addr uintptr) error {
	for _, m := range kept {
		if begin := uintptr(unsafe.Pointer(&m[0])); addr >= begin && addr < begin+uintptr(len(m)) {
			copy(into, m[addr-begin:])
			return nil
		}
	}
	return errors.New("no such memory")
}

// What a card cannot do is not asked of the library.
func TestCards(t *testing.T) {
	for _, c := range []struct {
		arch int
		d    dtype.DType
		tf32 bool
		want cublaslt.Compute // 0: not the library's
	}{
		{70, dtype.BFloat16, false, 0},
		{75, dtype.BFloat16, false, 0},
		{80, dtype.BFloat16, false, cublaslt.Compute32F},
		{70, dtype.Float16, false, cublaslt.Compute32F},
		{70, dtype.Float32, true, cublaslt.Compute32FPedantic},
		{80, dtype.Float32, true, cublaslt.Compute32FFastTF32},
		{90, dtype.Float32, false, cublaslt.Compute32FPedantic},
		{60, dtype.Float32, false, 0},
		{90, dtype.Float64, true, cublaslt.Compute64F},
		{90, dtype.Int32, false, 0},
	} {
		p, _ := open(t, Options{Card: card.Of(c.arch)})
		l := &kernel.Library{Op: ir.DotGeneral, Scratch: -1, In: []kernel.Operand{operand(0, c.d, 4, 4), operand(1, c.d, 4, 4)}, Out: []kernel.Operand{operand(2, c.d, 4, 4)}}
		d, why := p.describe(l, c.tf32)
		if (why == "") != (c.want != 0) || why == "" && d.Compute != c.want {
			t.Errorf("sm_%d, %v: %v %q, want %v", c.arch, c.d, d.Compute, why, c.want)
		}
	}
}

// Which epilogues are the library's.
func TestMatch(t *testing.T) {
	const tanh = 0.7978845608028654
	for _, c := range []struct {
		name   string
		d      dtype.DType // of the result
		unread bool
		code   func(b *builder)
		want   cublaslt.Epilogue // 0: none
		beta   bool
	}{
		{"convert", dtype.BFloat16, true, func(b *builder) { b.store(b.half(b.product())) }, cublaslt.Default, false},
		{"convert, but the product is read", dtype.BFloat16, false, func(b *builder) { b.store(b.half(b.product())) }, 0, false},
		{"bias", dtype.Float32, true, func(b *builder) { b.store(b.op(ir.Add, b.product(), b.bias())) }, cublaslt.Bias, false},
		{"bias of another type", dtype.BFloat16, true, func(b *builder) { b.store(b.half(b.op(ir.Add, b.product(), b.biasOf(dtype.Float32)))) }, 0, false},
		{"residual and bias", dtype.Float32, true, func(b *builder) { b.store(b.op(ir.Add, b.rows(), b.op(ir.Add, b.product(), b.bias()))) }, cublaslt.Bias, true},
		{"residual", dtype.Float32, true, func(b *builder) { b.store(b.op(ir.Add, b.rows(), b.product())) }, cublaslt.Default, true},
		{"difference", dtype.Float32, true, func(b *builder) { b.store(b.op(ir.Sub, b.product(), b.rows())) }, 0, false},
		{"rounded and kept wide", dtype.Float32, true, func(b *builder) { b.store(b.wide(b.halfOf(dtype.BFloat16, b.product()))) }, 0, false},
		{"relu", dtype.Float32, true, func(b *builder) {
			x := b.op(ir.Add, b.product(), b.bias())
			b.store(b.op(ir.Select, b.op(ir.Le, x, b.imm(0)), b.imm(0), x))
		}, cublaslt.ReLUBias, false},
		{"relu by maximum", dtype.Float32, true, func(b *builder) { b.store(b.op(ir.Max, b.product(), b.imm(0))) }, cublaslt.ReLU, false},
		{"relu up to 6", dtype.Float32, true, func(b *builder) { b.store(b.op(ir.Min, b.op(ir.Max, b.product(), b.imm(0)), b.imm(6))) }, 0, false},
		{"leaky relu", dtype.Float32, true, func(b *builder) {
			b.store(b.op(ir.Max, b.product(), b.op(ir.Mul, b.product(), b.imm(0.01))))
		}, 0, false},
		{"gelu", dtype.BFloat16, true, func(b *builder) {
			b.store(b.half(b.gelu(b.op(ir.Add, b.product(), b.wide(b.bias())))))
		}, cublaslt.GELUBias, false},
		{"gelu by tanh", dtype.BFloat16, true, func(b *builder) {
			x := b.product()
			u := b.op(ir.Mul, b.imm(tanh), b.op(ir.Add, x, b.op(ir.Mul, b.imm(0.044715), b.op(ir.Mul, x, b.op(ir.Mul, x, x)))))
			b.store(b.half(b.op(ir.Mul, b.op(ir.Mul, b.imm(0.5), x), b.op(ir.Add, b.imm(1), b.op(ir.Tanh, u)))))
		}, cublaslt.GELU, false},
		{"gelu in float32", dtype.Float32, true, func(b *builder) { b.store(b.gelu(b.product())) }, 0, false},
		{"exact gelu", dtype.BFloat16, true, func(b *builder) {
			x := b.product()
			b.store(b.half(b.op(ir.Mul, b.op(ir.Mul, x, b.imm(0.5)), b.op(ir.Add, b.op(ir.Erf, b.op(ir.Mul, x, b.imm(math.Sqrt(0.5)))), b.imm(1)))))
		}, 0, false},
		{"silu", dtype.BFloat16, true, func(b *builder) {
			b.store(b.half(b.op(ir.Mul, b.product(), b.op(ir.Logistic, b.product()))))
		}, 0, false},
		{"gelu and its operand", dtype.BFloat16, true, func(b *builder) {
			x := b.half(b.op(ir.Add, b.product(), b.wide(b.bias())))
			y := b.half(b.gelu(b.wide(x)))
			b.store(x)
			b.store(y)
		}, cublaslt.GELUAuxBias, false},
		{"gelu and its operand, in the other order", dtype.BFloat16, true, func(b *builder) {
			x := b.half(b.product())
			y := b.half(b.gelu(b.wide(x)))
			b.store(y)
			b.store(x)
		}, cublaslt.GELUAux, false},
		{"gelu and its square", dtype.BFloat16, true, func(b *builder) {
			y := b.gelu(b.product())
			b.store(b.half(y))
			b.store(b.half(b.op(ir.Mul, y, y)))
		}, 0, false},
		{"gradient of gelu", dtype.BFloat16, true, func(b *builder) {
			x, p := b.wide(b.rows()), b.product()
			k1, k2 := b.imm(0.044715*2*tanh), b.imm(2*tanh)
			a := b.op(ir.Add, b.op(ir.Mul, b.op(ir.Mul, x, x), k1), k2)
			s := b.op(ir.Logistic, b.op(ir.Mul, x, a))
			ds := b.op(ir.Mul, b.op(ir.Mul, p, x), b.op(ir.Mul, s, b.op(ir.Sub, b.imm(1), s)))
			last := b.op(ir.Mul, b.op(ir.Mul, b.op(ir.Mul, ds, x), k1), x)
			b.store(b.half(b.op(ir.Add, b.op(ir.Add, b.op(ir.Add, b.op(ir.Mul, p, s), b.op(ir.Mul, ds, a)), last), last)))
		}, cublaslt.DGELU, false},
		{"gradient of silu", dtype.BFloat16, true, func(b *builder) {
			x, p := b.wide(b.rows()), b.product()
			s := b.op(ir.Logistic, x)
			b.store(b.half(b.op(ir.Mul, p, b.op(ir.Add, s, b.op(ir.Mul, x, b.op(ir.Mul, s, b.op(ir.Sub, b.imm(1), s)))))))
		}, 0, false},
		{"what is not finite is left out", dtype.Float32, true, func(b *builder) {
			x := b.product()
			b.store(b.op(ir.Select, b.op(ir.Eq, x, x), x, b.imm(0)))
		}, 0, false},
		{"bounded, very far out", dtype.Float32, true, func(b *builder) { b.store(b.op(ir.Min, b.product(), b.imm(1e15))) }, 0, false},
		{"dropout", dtype.Float32, true, func(b *builder) {
			b.f.Code = append(b.f.Code, kernel.Instr{Kind: kernel.Index, DType: dtype.Int64, Arg: 0})
			b.store(b.product())
		}, 0, false},
	} {
		for _, batch := range [][]int{nil, {3}, {2, 2}} {
			p, _ := open(t, Options{ReLU: true})
			d := dtype.BFloat16
			if c.d == dtype.Float32 {
				d = c.d
			}
			sh := func(m, n int) []int { return append(slices.Clone(batch), m, n) }
			l := &kernel.Library{Name: c.name, Op: ir.DotGeneral, Scratch: -1,
				In: []kernel.Operand{operand(0, d, sh(8, 24)...), operand(1, d, sh(24, 16)...)}, Out: []kernel.Operand{operand(2, dtype.Float32, sh(8, 16)...)}}
			if len(batch) == 2 { // so that it takes several calls
				l.In[0].Stride[0], l.In[0].Stride[1] = l.In[0].Stride[1], l.In[0].Stride[0]
			}
			b := &builder{d: c.d, out: l.Out[0], f: &kernel.Fused{Parts: []kernel.Part{{Outer: sh(8, 16)}}}}
			c.code(b)
			l.Epilogue = b.f
			r, why, err := p.Plan(l, Way{Unread: c.unread})
			if r == nil {
				t.Fatal(c.name, why, err)
			}
			var got cublaslt.Epilogue
			if r.Epilogue() {
				got = r.d.Epilogue
			}
			if got != c.want || r.Epilogue() && r.d.Beta != c.beta {
				t.Errorf("%s: epilogue %d, beta %v, want %d, %v", c.name, got, r.d.Beta, c.want, c.beta)
			}
			r.Close()
			if c.want != 0 {
				compare(t, p, l, b)
			}
		}
	}
}

// compare runs a product with its epilogue by the library, and element by element.
func compare(t *testing.T, p *Planner, l *kernel.Library, b *builder) {
	t.Helper()
	n := l.Out[0].Elements()
	program := &kernel.Program{Steps: []kernel.Step{l}, Leaves: 4, Outputs: 2, Arena: 4 * n}
	var leaves []device.Buffer
	r := rand.New(rand.NewPCG(1, 2))
	d, done, _ := newDevice(p)
	for i, size := range []int{l.In[0].Elements(), l.In[1].Elements(), 16, n} {
		of := b.d
		if i < 2 {
			of = l.In[0].DType
		}
		data := make([]byte, size*of.Size())
		for j := range size {
			scalar.Put(of, data, j, scalar.Number{F: float64(r.IntN(33)-16) / 16})
		}
		leaf, err := d.Wrap(data)
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, leaf)
	}
	size := b.d.Size() * n
	program.Slots = []kernel.Slot{
		{Kind: kernel.Leaf, Index: 0, Bytes: leaves[0].Bytes()}, {Kind: kernel.Leaf, Index: 1, Bytes: leaves[1].Bytes()},
		{Kind: kernel.Arena, Bytes: 4 * n},
		{Kind: kernel.Leaf, Index: 2, Bytes: leaves[2].Bytes()}, {Kind: kernel.Leaf, Index: 3, Bytes: leaves[3].Bytes()},
		{Kind: kernel.Output, Index: 0, Bytes: size}, {Kind: kernel.Output, Index: 1, Bytes: size},
	}
	var results [2][]byte
	for i := range results {
		if i == 1 {
			d.Plan = func(*kernel.Library, bool) (standin.Routine, error) { return nil, nil }
		}
		e, err := d.Compile(program)
		if err != nil {
			t.Fatal(err)
		}
		var outputs []device.Buffer
		for range 2 {
			o, _ := d.Alloc(size)
			outputs = append(outputs, o)
		}
		if err := e.Run(leaves, outputs); err != nil {
			t.Fatal(err)
		}
		e.Close()
		for _, o := range outputs {
			data := make([]byte, size)
			d.Download(data, o)
			results[i] = append(results[i], data...)
		}
	}
	if len(done) != 1 || done[cublaslt.Default] > 0 && l.Epilogue == nil {
		t.Fatalf("%s: done %v", l.Name, done)
	}
	within := 1e-5
	if b.d != dtype.Float32 {
		within = 1.0 / 64 // the operand of GELU is rounded once less
	}
	for i := range n * b.stores {
		got, want := scalar.Get(b.d, results[0], i).F, scalar.Get(b.d, results[1], i).F
		if !(math.Abs(got-want) <= within*max(math.Abs(want), 0.125)) {
			t.Fatalf("%s %v: element %d is %v, want %v", l.Name, l.Out[0].Shape, i, got, want)
		}
	}
}

// builder writes epilogues over slot 2 […, 8, 16]: 3 is a bias, 4 a matrix, 5 and 6 are
// results.
type builder struct {
	f      *kernel.Fused
	out    kernel.Operand
	d      dtype.DType // of bias, matrix and results
	stores int
}

func (b *builder) add(in kernel.Instr) int {
	b.f.Code = append(b.f.Code, in)
	return len(b.f.Code) - 1
}
func (b *builder) load(slot int, d dtype.DType, stride ...int) int {
	part := &b.f.Parts[0]
	part.Args = append(part.Args, kernel.Arg{Slot: slot, DType: d, Stride: stride})
	return b.add(kernel.Instr{Kind: kernel.Load, DType: d, Arg: len(part.Args) - 1})
}
func (b *builder) across() []int {
	s := make([]int, len(b.out.Shape))
	s[len(s)-1] = 1
	return s
}
func (b *builder) product() int             { return b.load(2, dtype.Float32, b.out.Stride...) }
func (b *builder) bias() int                { return b.load(3, b.d, b.across()...) }
func (b *builder) biasOf(d dtype.DType) int { return b.load(3, d, b.across()...) }
func (b *builder) rows() int                { return b.load(4, b.d, b.out.Stride...) }
func (b *builder) half(x int) int           { return b.halfOf(b.d, x) }
func (b *builder) wide(x int) int           { return b.halfOf(dtype.Float32, x) }
func (b *builder) halfOf(d dtype.DType, x int) int {
	return b.add(kernel.Instr{Kind: kernel.Apply, Op: ir.Convert, DType: d, X: [3]int{x}})
}
func (b *builder) imm(v float64) int {
	return b.add(kernel.Instr{Kind: kernel.Imm, DType: dtype.Float32, Bits: ir.FloatBits(dtype.Float32, v)})
}
func (b *builder) op(op ir.Op, x ...int) int {
	in := kernel.Instr{Kind: kernel.Apply, Op: op, DType: dtype.Float32}
	if op == ir.Le || op == ir.Eq {
		in.DType = dtype.Bool
	}
	copy(in.X[:], x)
	return b.add(in)
}
func (b *builder) gelu(x int) int {
	u := b.op(ir.Mul, x, b.op(ir.Add, b.op(ir.Mul, b.op(ir.Mul, x, x), b.imm(0.044715*1.5957691216057308)), b.imm(1.5957691216057308)))
	return b.op(ir.Mul, x, b.op(ir.Logistic, u))
}
func (b *builder) store(x int) {
	part := &b.f.Parts[0]
	part.Args = append(part.Args, kernel.Arg{Slot: 5 + b.stores, DType: b.d, Stride: b.out.Stride})
	b.stores++
	b.add(kernel.Instr{Kind: kernel.Store, DType: b.d, X: [3]int{x}, Arg: len(part.Args) - 1})
}
