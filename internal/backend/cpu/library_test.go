package cpu

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/sinter-dl/sinter/internal/backend/cpu/gemm"
	"github.com/sinter-dl/sinter/internal/backend/cpu/pool"
	"github.com/sinter-dl/sinter/internal/backend/cpu/vec"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// tensor holds values as float64, which is exact for the small integers that the
// tests use.
type tensor struct {
	dtype dtype.DType
	shape []int
	v     []float64
}

func newTensor(d dtype.DType, shape ...int) tensor {
	return tensor{d, shape, make([]float64, product(shape))}
}

// random fills a tensor with numbers that its type holds exactly.
func random(r *rand.Rand, d dtype.DType, shape ...int) tensor {
	t := newTensor(d, shape...)
	for i := range t.v {
		switch {
		case d == dtype.Bool:
			t.v[i] = float64(r.IntN(2))
		case d == dtype.Uint8:
			t.v[i] = float64(r.IntN(5))
		case d.IsFloat():
			t.v[i] = float64(r.IntN(65)-32) / 16
		default:
			t.v[i] = float64(r.IntN(9) - 4)
		}
	}
	return t
}

func (t tensor) encode() []byte {
	b := make([]byte, len(t.v)*t.dtype.Size())
	for i, v := range t.v {
		p := b[i*t.dtype.Size():]
		switch t.dtype {
		case dtype.Bool, dtype.Uint8, dtype.Int8:
			p[0] = byte(int(v))
		case dtype.Int32:
			binary.LittleEndian.PutUint32(p, uint32(int32(v)))
		case dtype.Int64:
			binary.LittleEndian.PutUint64(p, uint64(int64(v)))
		case dtype.Float16:
			binary.LittleEndian.PutUint16(p, dtype.Float16FromFloat32(float32(v)))
		case dtype.BFloat16:
			binary.LittleEndian.PutUint16(p, dtype.BFloat16FromFloat32(float32(v)))
		case dtype.Float32:
			binary.LittleEndian.PutUint32(p, math.Float32bits(float32(v)))
		case dtype.Float64:
			binary.LittleEndian.PutUint64(p, math.Float64bits(v))
		}
	}
	return b
}

func decode(d dtype.DType, shape []int, b []byte) tensor {
	t := newTensor(d, shape...)
	for i := range t.v {
		p := b[i*d.Size():]
		switch d {
		case dtype.Bool, dtype.Uint8:
			t.v[i] = float64(p[0])
		case dtype.Int8:
			t.v[i] = float64(int8(p[0]))
		case dtype.Int32:
			t.v[i] = float64(int32(binary.LittleEndian.Uint32(p)))
		case dtype.Int64:
			t.v[i] = float64(int64(binary.LittleEndian.Uint64(p)))
		case dtype.Float16:
			t.v[i] = float64(dtype.Float16ToFloat32(binary.LittleEndian.Uint16(p)))
		case dtype.BFloat16:
			t.v[i] = float64(dtype.BFloat16ToFloat32(binary.LittleEndian.Uint16(p)))
		case dtype.Float32:
			t.v[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(p)))
		case dtype.Float64:
			t.v[i] = math.Float64frombits(binary.LittleEndian.Uint64(p))
		}
	}
	return t
}

func contiguous(shape []int) []int {
	s := make([]int, len(shape))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		s[i] = n
		n *= shape[i]
	}
	return s
}

// single is the program of one library operation over whole tensors: leaves are
// the operands, outputs the results.
func single(d *Device, l *kernel.Library, in []tensor, out []tensor) *kernel.Program {
	p := &kernel.Program{Leaves: len(in), Outputs: len(out)}
	for i, t := range in {
		p.Slots = append(p.Slots, kernel.Slot{Kind: kernel.Leaf, Index: i, Bytes: len(t.v) * t.dtype.Size()})
		if len(l.In) < len(in) {
			l.In = append(l.In, kernel.Operand{Slot: i, DType: t.dtype, Shape: t.shape, Stride: contiguous(t.shape)})
		}
	}
	for i, t := range out {
		p.Slots = append(p.Slots, kernel.Slot{Kind: kernel.Output, Index: i, Bytes: len(t.v) * t.dtype.Size()})
		l.Out = append(l.Out, kernel.Operand{Slot: len(in) + i, DType: t.dtype, Shape: t.shape, Stride: contiguous(t.shape)})
	}
	l.Name, l.Scratch = l.Op.String(), len(p.Slots)
	const before = 64 // the scratch memory is not the arena's first slot
	p.Arena = before + d.Workspace(l)
	p.Slots = append(p.Slots, kernel.Slot{Kind: kernel.Arena, Offset: before, Bytes: p.Arena - before})
	p.Steps = []kernel.Step{l}
	return p
}

// execute runs a program on fresh buffers, twice, so that a second run cannot
// depend on what the first one left behind.
func execute(t testing.TB, d *Device, p *kernel.Program, in []tensor, out []tensor) [][]byte {
	t.Helper()
	e, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var leaves, outputs []device.Buffer
	for i, x := range in {
		data := x.encode()
		odd := append(make([]byte, 1+i%3), data...)[1+i%3:] // not aligned
		b, _ := d.Wrap(odd)
		leaves = append(leaves, b)
	}
	for _, x := range out {
		b, err := d.Alloc(len(x.v) * x.dtype.Size())
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.(*buffer).bytes() {
			b.(*buffer).bytes()[i] = 0xa5
		}
		outputs = append(outputs, b)
	}
	var first, res [][]byte
	for range 2 {
		first, res = res, nil
		if err := e.Run(leaves, outputs); err != nil {
			t.Fatal(err)
		}
		for i, o := range outputs {
			b := make([]byte, len(out[i].v)*out[i].dtype.Size())
			if err := d.Download(b, o); err != nil {
				t.Fatal(err)
			}
			res = append(res, b)
		}
	}
	for i := range first {
		if !bytes.Equal(first[i], res[i]) {
			t.Fatal("a second run gave other bits")
		}
	}
	return res
}

// results computes an operation with one worker and with three, and wants the same
// bits and the same workspace.
func results(t testing.TB, op ir.Op, attr ir.Attr, in []tensor, out ...tensor) []tensor {
	t.Helper()
	return resultsOf(t, kernel.Library{Op: op, Attr: attr}, in, out...)
}

func resultsOf(t testing.TB, l kernel.Library, in []tensor, out ...tensor) []tensor {
	t.Helper()
	var first [][]byte
	arena := -1
	for _, workers := range []int{1, 3} {
		wp := pool.New(workers)
		defer wp.Close()
		d := newDevice(wp)
		lib := l
		p := single(d, &lib, in, out)
		if arena >= 0 && p.Arena != arena {
			t.Fatalf("%v needs %d bytes with %d workers, %d with one", l.Op, p.Arena, workers, arena)
		}
		arena = p.Arena
		got := execute(t, d, p, in, out)
		if first != nil {
			for i := range got {
				if !bytes.Equal(got[i], first[i]) {
					t.Fatalf("%v: other bits with %d workers than with one", l.Op, workers)
				}
			}
		}
		first = got
	}
	var res []tensor
	for i, o := range out {
		res = append(res, decode(o.dtype, o.shape, first[i]))
	}
	return res
}

// compare wants got to be want, rounded to got's type; tol is in units of its
// precision, 0 for exactly.
func compare(t testing.TB, what string, got, want tensor, tol float64) {
	t.Helper()
	eps := map[dtype.DType]float64{dtype.Float16: 1e-3, dtype.BFloat16: 8e-3, dtype.Float32: 1.2e-7, dtype.Float64: 2.3e-16}[got.dtype]
	if got.dtype == dtype.Float16 || got.dtype == dtype.BFloat16 {
		tol = max(tol, 1)
		tol = min(tol, 4)
	}
	for i := range want.v {
		g, w := got.v[i], want.v[i]
		if g == w || g != g && w != w {
			continue
		}
		if !(math.Abs(g-w) <= tol*eps*(1+math.Abs(w))) {
			t.Fatalf("%s: element %d is %v, want %v", what, i, g, w)
		}
	}
}

// eachLevel runs a test at every instruction set of this machine.
func eachLevel(t *testing.T, f func(t *testing.T)) {
	before := gemm.Level()
	defer gemm.SetLevel(before)
	for _, l := range gemm.Levels() {
		gemm.SetLevel(l)
		t.Run(l, f)
	}
}

func TestDot(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 1))
		for i, d := range append(dtype.All(), dtype.BFloat16) {
			result := d
			if i == len(dtype.All()) {
				result = dtype.Float32 // of operands that are narrower
			}
			for range 12 {
				batch := [][]int{{}, {3}, {2, 3}}[r.IntN(3)]
				m, n, k := 1+r.IntN(20), 1+r.IntN(40), 1+r.IntN(30)
				// Each operand as it lies in memory, and how it is seen.
				view := func(rows, cols int) (tensor, kernel.Operand) {
					shape := append(append([]int{}, batch...), rows, cols)
					x := random(r, d, shape...)
					o := kernel.Operand{DType: d, Shape: shape, Stride: contiguous(shape)}
					switch r.IntN(4) {
					case 0: // transposed
						o.Stride[len(batch)], o.Stride[len(batch)+1] = 1, rows
					case 1: // shared by all batches
						for i := range batch {
							o.Stride[i] = 0
						}
					case 2: // behind something else, every second column
						x = random(r, d, 2*len(x.v)+3)
						o.Offset = 3
						for i := range o.Stride {
							o.Stride[i] *= 2
						}
					}
					return x, o
				}
				x, xo := view(m, k)
				y, yo := view(k, n)
				yo.Slot = 1
				out := newTensor(result, append(append([]int{}, batch...), m, n)...)
				want := newTensor(result, out.shape...)
				for i := range want.v {
					c, row, rest := i%n, i/n%m, i/n/m
					a, b := xo.Offset, yo.Offset
					for ax := len(batch) - 1; ax >= 0; ax-- {
						a += rest % batch[ax] * xo.Stride[ax]
						b += rest % batch[ax] * yo.Stride[ax]
						rest /= batch[ax]
					}
					for l := range k {
						p := x.v[a+row*xo.Stride[len(batch)]+l*xo.Stride[len(batch)+1]]
						q := y.v[b+l*yo.Stride[len(batch)]+c*yo.Stride[len(batch)+1]]
						want.v[i] += p * q
					}
				}
				switch d {
				case dtype.Bool:
					for i, v := range want.v {
						want.v[i] = min(v, 1)
					}
				case dtype.Uint8:
					for i, v := range want.v {
						want.v[i] = float64(uint8(int(v)))
					}
				case dtype.Int8:
					for i, v := range want.v {
						want.v[i] = float64(int8(int(v)))
					}
				}
				got := resultsOf(t, kernel.Library{Op: ir.DotGeneral, In: []kernel.Operand{xo, yo}}, []tensor{x, y}, out)
				compare(t, fmt.Sprintf("%v batch %v m %d n %d k %d", d, batch, m, n, k), got[0], want, 100)
			}
		}
	})
}

// convReference computes any of the three directions by the definition: y, x and w
// meet where the attribute says so.
func convReference(at ir.ConvAttr, a, b, out tensor) tensor {
	rank := len(at.Stride)
	res := newTensor(out.dtype, out.shape...)
	var x, w, y *tensor
	switch at.Dir {
	case ir.Forward:
		x, w, y = &a, &b, &res
	case ir.InputGrad:
		y, w, x = &a, &b, &res
	case ir.WeightGrad:
		x, y, w = &a, &b, &res
	}
	kg := w.shape[0] / at.Groups
	cg := w.shape[1]
	taps, volY, volX := product(w.shape[2:]), product(y.shape[2:]), product(x.shape[2:])
	for o := range volY {
		for t := range taps {
			from, mul, inside := 0, 1, true
			oo, tt := o, t
			for i := rank - 1; i >= 0; i-- {
				p := oo%y.shape[2+i]*at.Stride[i] - at.Low[i] + tt%w.shape[2+i]*at.Dilation[i]
				oo /= y.shape[2+i]
				tt /= w.shape[2+i]
				inside = inside && p >= 0 && p < x.shape[2+i]
				from += p * mul
				mul *= x.shape[2+i]
			}
			if !inside {
				continue
			}
			for nk := range y.shape[0] * y.shape[1] {
				n, k := nk/y.shape[1], nk%y.shape[1]
				yi := nk*volY + o
				for c := range cg {
					xi := (n*x.shape[1]+k/kg*cg+c)*volX + from
					wi := (k*cg+c)*taps + t
					switch at.Dir {
					case ir.Forward:
						y.v[yi] += x.v[xi] * w.v[wi]
					case ir.InputGrad:
						x.v[xi] += y.v[yi] * w.v[wi]
					default:
						w.v[wi] += x.v[xi] * y.v[yi]
					}
				}
			}
		}
	}
	return res
}

// convCase makes the shapes of a random convolution.
func convCase(r *rand.Rand, rank int) (at ir.ConvAttr, x, w, y []int) {
	at.Groups = 1
	if r.IntN(3) == 0 {
		at.Groups = 2 + r.IntN(2)
	}
	cg, kg := 1+r.IntN(4), 1+r.IntN(5)
	if r.IntN(4) == 0 {
		cg, kg = 1, 1
		at.Groups += r.IntN(3)
	} else if r.IntN(4) == 0 {
		kg = 33
	}
	if cg > 1 && r.IntN(3) == 0 { // enough for pairs of positions
		cg, kg = 8+r.IntN(8), 8+r.IntN(14)
	}
	n := 1 + r.IntN(3)
	x, w, y = []int{n, cg * at.Groups}, []int{kg * at.Groups, cg}, []int{n, kg * at.Groups}
	for range rank {
		for {
			size, window := 1+r.IntN(40/rank), 1+r.IntN(5)
			stride, dil, low, high := 1+r.IntN(3), 1+r.IntN(2), r.IntN(4), r.IntN(4)
			if r.IntN(2) == 0 {
				stride, dil = 1, 1
			}
			switch r.IntN(6) {
			case 0, 1:
				low, high = 0, 0
			case 2:
				window, stride, dil, low, high = 3, 1, 1, 1, 1
			}
			out := (size+low+high-(window-1)*dil-1)/stride + 1
			if size+low+high < (window-1)*dil+1 {
				continue
			}
			at.Stride, at.Dilation = append(at.Stride, stride), append(at.Dilation, dil)
			at.Low, at.High = append(at.Low, low), append(at.High, high)
			x, w, y = append(x, size), append(w, window), append(y, out)
			break
		}
	}
	return
}

func TestConv(t *testing.T) {
	type question struct {
		what string
		at   ir.ConvAttr
		in   []tensor
		want tensor
	}
	var questions []question
	r := rand.New(rand.NewPCG(5, 6))
	for i := range 120 {
		at, xs, ws, ys := convCase(r, 1+i%3)
		d := []dtype.DType{dtype.Float32, dtype.Float32, dtype.Float64, dtype.BFloat16, dtype.Float16}[r.IntN(5)]
		x, w, y := random(r, d, xs...), random(r, d, ws...), random(r, d, ys...)
		for dir, in := range [][]tensor{{x, w}, {y, w}, {x, y}} {
			at.Dir = ir.Direction(dir)
			out := []tensor{y, x, w}[dir]
			at.Size = nil
			if dir > 0 {
				at.Size = out.shape[2:]
			}
			what := fmt.Sprintf("%v conv %+v x %v w %v y %v", d, at, xs, ws, ys)
			questions = append(questions, question{what, at, in, convReference(at, in[0], in[1], out)})
		}
	}
	eachLevel(t, func(t *testing.T) {
		for _, q := range questions {
			got := results(t, ir.Conv, q.at, q.in, newTensor(q.want.dtype, q.want.shape...))
			compare(t, q.what, got[0], q.want, 2000)
		}
	})
}

// What no window meets has no influence, whatever it is, and neither has what memory
// held before.
func TestConvUnmet(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for _, groups := range []int{1, 4} {
			for _, channels := range []int{4, 16} {
				at := ir.ConvAttr{Stride: []int{2, 2}, Low: []int{0, 0}, High: []int{0, 0}, Dilation: []int{1, 1}, Groups: groups}
				x := newTensor(dtype.Float32, 2, channels, 10, 10) // the last row and column are not met
				w, y := newTensor(dtype.Float32, channels, channels/groups, 3, 3), newTensor(dtype.Float32, 2, channels, 4, 4)
				for i := range x.v {
					x.v[i] = 1
					if i%10 == 9 || i/10%10 == 9 {
						x.v[i] = []float64{math.NaN(), math.Inf(1)}[i%2]
					}
				}
				for _, v := range [][]float64{w.v, y.v} {
					for i := range v {
						v[i] = 1
					}
				}
				for _, v := range results(t, ir.Conv, at, []tensor{x, w}, newTensor(dtype.Float32, y.shape...))[0].v {
					if v != float64(9*channels/groups) {
						t.Fatalf("%d channels in %d groups: a position is %v", channels, groups, v)
					}
				}
				at.Dir, at.Size = ir.WeightGrad, []int{3, 3}
				for _, v := range results(t, ir.Conv, at, []tensor{x, y}, newTensor(dtype.Float32, w.shape...))[0].v {
					if v != 2*4*4 {
						t.Fatalf("%d channels in %d groups: the gradient of a weight is %v", channels, groups, v)
					}
				}
			}
		}
	})
}

func TestWindow(t *testing.T) {
	defer vec.Use(vec.Current())
	r := rand.New(rand.NewPCG(7, 8))
	for i := range 400 {
		vec.Use(vec.Levels()[i%len(vec.Levels())])
		d := dtype.All()[1+r.IntN(8)]
		if r.IntN(3) == 0 {
			d = dtype.Float32
		}
		rank := 1 + i%3
		at := ir.Window{}
		xs, ys := []int{1 + r.IntN(3), 1 + r.IntN(3)}, []int{}
		largest := []int{12, 12, 40}[r.IntN(3)]
		ys = append(ys, xs...)
		for range rank {
			for {
				size, window, stride, dil, low, high := 1+r.IntN(largest/rank), 1+r.IntN(3), 1+r.IntN(3), 1+r.IntN(2), r.IntN(3), r.IntN(3)
				switch i % 8 {
				case 0, 4:
					window, stride, dil, low, high = 2, 2, 1, 0, 0
				case 1:
					window, stride, dil, low, high = 3, 2, 1, 1, 1
				case 2:
					window, stride, dil, low, high = 3, 1, 1, 1, 1
				case 3:
					window, stride, dil, high = 2, 2, 1, size%2 // the last one half outside
				}
				if size+low+high < (window-1)*dil+1 {
					continue
				}
				at.Size, at.Stride, at.Dilation = append(at.Size, window), append(at.Stride, stride), append(at.Dilation, dil)
				at.Low, at.High = append(at.Low, low), append(at.High, high)
				xs, ys = append(xs, size), append(ys, (size+low+high-(window-1)*dil-1)/stride+1)
				break
			}
		}
		x := random(r, d, xs...)
		if d.IsFloat() && r.IntN(2) == 0 {
			for range 1 + len(x.v)/20 {
				x.v[r.IntN(len(x.v))] = []float64{math.NaN(), math.Inf(1), math.Inf(-1)}[r.IntN(3)]
			}
		}
		sum, top, arg := newTensor(d, ys...), newTensor(d, ys...), newTensor(dtype.Int32, ys...)
		plane := product(xs[2:])
		for o := range sum.v {
			s, m, at0, seen := 0.0, math.Inf(-1), -1, false
			for tap := range product(at.Size) {
				p, mul, inside := 0, 1, true
				oo, tt := o%product(ys[2:]), tap
				for a := rank - 1; a >= 0; a-- {
					q := oo%ys[2+a]*at.Stride[a] - at.Low[a] + tt%at.Size[a]*at.Dilation[a]
					oo /= ys[2+a]
					tt /= at.Size[a]
					inside = inside && q >= 0 && q < xs[2+a]
					p += q * mul
					mul *= xs[2+a]
				}
				if inside {
					v := x.v[o/product(ys[2:])*plane+p]
					s += v
					if !seen || v > m || v != v && m == m {
						m, at0, seen = v, p, true
					}
				}
			}
			sum.v[o], top.v[o], arg.v[o] = s, m, float64(at0)
			if !seen && !d.IsFloat() {
				top.v[o] = map[dtype.DType]float64{dtype.Uint8: 0, dtype.Int8: -128, dtype.Int32: math.MinInt32, dtype.Int64: math.MinInt64}[d]
			}
		}
		what := fmt.Sprintf("%v window %+v of %v", d, at, xs)
		compare(t, what+" sum", results(t, ir.ReduceWindowSum, at, []tensor{x}, newTensor(d, ys...))[0], sum, 10)
		compare(t, what+" max", results(t, ir.ReduceWindowMax, at, []tensor{x}, newTensor(d, ys...))[0], top, 0)
		compare(t, what+" argmax", results(t, ir.ReduceWindowArgMax, at, []tensor{x}, newTensor(dtype.Int32, ys...))[0], arg, 0)
	}
}

// Zeros keep their sign as it has always been: a maximum is the first of equals,
// but of 2×2 windows side by side it is 0 rather than -0, and these begin their sum
// with an element and not with 0.
func TestWindowZeros(t *testing.T) {
	defer vec.Use(vec.Current())
	for _, l := range vec.Levels() {
		vec.Use(l)
		for _, d := range []dtype.DType{dtype.Float32, dtype.Float64} {
			for _, c := range []struct {
				size, low, high int
				sum, top        string // by window, signs only
			}{
				{size: 2, sum: "-++", top: "-++"},
				{size: 2, low: 1, sum: "+++", top: "---"},
				{size: 3, high: 1, sum: "+++", top: "--+"},
			} {
				x := newTensor(d, 1, 1, 2, 6)
				for i := range x.v {
					if i != 4 && i != 9 {
						x.v[i] = math.Copysign(0, -1)
					}
				}
				at := ir.Window{Size: []int{2, c.size}, Stride: []int{2, 2}, Low: []int{0, c.low}, High: []int{0, c.high}, Dilation: []int{1, 1}}
				n := (6+c.low+c.high-c.size)/2 + 1
				for op, want := range map[ir.Op]string{ir.ReduceWindowSum: c.sum, ir.ReduceWindowMax: c.top} {
					got := ""
					for _, v := range results(t, op, at, []tensor{x}, newTensor(d, 1, 1, 1, n))[0].v {
						got += map[bool]string{true: "-", false: "+"}[math.Signbit(v)]
					}
					if got != want {
						t.Errorf("%v, %v of windows of 2×%d, padding %d, %d: signs %s, want %s", d, op, c.size, c.low, c.high, got, want)
					}
				}
			}
		}
	}
}

func TestGatherScatter(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for range 150 {
		d := dtype.All()[1+r.IntN(8)]
		dims := func(n int) []int {
			s := make([]int, n)
			for i := range s {
				s[i] = 1 + r.IntN(4)
			}
			return s
		}
		b, p, i, q := dims(r.IntN(2)), dims(r.IntN(2)), dims(r.IntN(3)), dims(r.IntN(3))
		if r.IntN(4) == 0 { // many planes, as pooling has them
			b, p = []int{3 + r.IntN(4), 5 + r.IntN(4)}, p[:0]
			if r.IntN(2) == 0 {
				q = q[:0]
			}
		}
		n := 1 + r.IntN(5)
		if r.IntN(3) == 0 {
			q = []int{40 + r.IntN(40)}
		}
		join := func(parts ...[]int) (s []int) {
			for _, x := range parts {
				s = append(s, x...)
			}
			return
		}
		at := ir.Index{Axis: len(b) + len(p), Batch: len(b)}
		data := random(r, d, join(b, p, []int{n}, q)...)
		index := newTensor([]dtype.DType{dtype.Int32, dtype.Int64}[r.IntN(2)], join(b, i)...)
		for j := range index.v {
			index.v[j] = float64(r.IntN(n+2) - 1) // some outside
		}
		updates := random(r, d, join(b, p, i, q)...)
		nb, np, ni, nq := product(b), product(p), product(i), product(q)
		gathered := newTensor(d, updates.shape...)
		written, added := newTensor(d, data.shape...), newTensor(d, data.shape...)
		copy(written.v, data.v)
		copy(added.v, data.v)
		for u := range nb * np * ni * nq {
			bp, ii, qq := u/nq/ni, u/nq%ni, u%nq
			j := int(index.v[bp/np*ni+ii])
			if j < 0 || j >= n {
				continue
			}
			at := (bp*n+j)*nq + qq
			gathered.v[u] = data.v[at]
			written.v[at] = updates.v[u]
			added.v[at] += updates.v[u]
		}
		for j, v := range added.v {
			switch d {
			case dtype.Uint8:
				added.v[j] = float64(uint8(int(v)))
			case dtype.Int8:
				added.v[j] = float64(int8(int(v)))
			}
		}
		what := fmt.Sprintf("%v data %v index %v %+v", d, data.shape, index.shape, at)
		compare(t, "gather "+what, results(t, ir.Gather, at, []tensor{data, index}, newTensor(d, updates.shape...))[0], gathered, 0)
		compare(t, "scatter "+what, results(t, ir.Scatter, at, []tensor{data, index, updates}, newTensor(d, data.shape...))[0], written, 0)
		compare(t, "scatter_add "+what, results(t, ir.ScatterAdd, at, []tensor{data, index, updates}, newTensor(d, data.shape...))[0], added, 10)
	}
}

func TestDynamicSlice(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for range 100 {
		rank := r.IntN(4)
		shape, size := make([]int, rank), make([]int, rank)
		start := newTensor(dtype.Int64, rank)
		clamped := make([]int, rank)
		for i := range shape {
			shape[i] = 1 + r.IntN(6)
			size[i] = 1 + r.IntN(shape[i])
			s := r.IntN(12) - 4
			start.v[i] = float64(s)
			clamped[i] = min(max(s, 0), shape[i]-size[i])
		}
		d := dtype.All()[1+r.IntN(8)]
		data, update := random(r, d, shape...), random(r, d, size...)
		slice, updated := newTensor(d, size...), newTensor(d, shape...)
		copy(updated.v, data.v)
		for i := range slice.v {
			at, mul, rest := 0, 1, i
			for a := rank - 1; a >= 0; a-- {
				at += (clamped[a] + rest%size[a]) * mul
				rest /= size[a]
				mul *= shape[a]
			}
			slice.v[i] = data.v[at]
			updated.v[at] = update.v[i]
		}
		compare(t, "dynamic_slice", results(t, ir.DynamicSlice, ir.Extent{Size: size}, []tensor{data, start}, newTensor(d, size...))[0], slice, 0)
		compare(t, "dynamic_update_slice", results(t, ir.DynamicUpdateSlice, nil, []tensor{data, update, start}, newTensor(d, shape...))[0], updated, 0)
	}
}

func TestAlongAxis(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	for i := range 150 {
		d := dtype.All()[r.IntN(9)]
		shape := []int{1 + r.IntN(4), 1 + r.IntN(90), 1 + r.IntN(90)}
		if i%3 == 0 {
			shape = []int{1, 300, 2}
		}
		axis := r.IntN(3)
		x := random(r, d, shape...)
		if d.IsFloat() {
			for range 3 {
				x.v[r.IntN(len(x.v))] = []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1)}[r.IntN(4)]
			}
		}
		a := newAlong(shape, axis)
		line := func(o, in int) (l []float64) {
			for j := range a.n {
				l = append(l, x.v[(o*a.n+j)*a.inner+in])
			}
			return
		}
		less := func(p, q float64) bool { return p < q || q != q && p == p }
		outShape := append(append([]int{}, shape[:axis]...), shape[axis+1:]...)
		top, bottom := newTensor(dtype.Int64, outShape...), newTensor(dtype.Int64, outShape...)
		orders := [2]tensor{newTensor(dtype.Int64, shape...), newTensor(dtype.Int64, shape...)}
		for o := range a.outer {
			for in := range a.inner {
				l := line(o, in)
				hi, lo := 0, 0
				for j, v := range l {
					if less(l[hi], v) {
						hi = j
					}
					if l[lo] == l[lo] && (v != v || v < l[lo]) {
						lo = j
					}
					// The rank of an element is what stands before it.
					for k, descending := range []bool{false, true} {
						rank := 0
						for m, w := range l {
							before := less(w, v)
							if descending {
								before = less(v, w)
							}
							if before || m < j && !less(v, w) && !less(w, v) {
								rank++
							}
						}
						orders[k].v[(o*a.n+rank)*a.inner+in] = float64(j)
					}
				}
				top.v[o*a.inner+in], bottom.v[o*a.inner+in] = float64(hi), float64(lo)
			}
		}
		what := fmt.Sprintf("%v %v axis %d", d, shape, axis)
		compare(t, "argmax "+what, results(t, ir.ArgMax, ir.Axis{Axis: axis}, []tensor{x}, newTensor(dtype.Int64, outShape...))[0], top, 0)
		compare(t, "argmin "+what, results(t, ir.ArgMin, ir.Axis{Axis: axis}, []tensor{x}, newTensor(dtype.Int64, outShape...))[0], bottom, 0)
		for k, descending := range []bool{false, true} {
			got := results(t, ir.Sort, ir.Order{Axis: axis, Descending: descending}, []tensor{x}, newTensor(dtype.Int64, shape...))
			compare(t, fmt.Sprintf("sort descending=%v %s", descending, what), got[0], orders[k], 0)
		}
		if d == dtype.Bool || d == dtype.Int8 || d == dtype.Uint8 {
			continue
		}
		x = random(r, d, shape...)
		for _, at := range []ir.Cumulate{{Axis: axis}, {Axis: axis, Exclusive: true}, {Axis: axis, Reverse: true}, {Axis: axis, Reverse: true, Exclusive: true}} {
			want := newTensor(d, shape...)
			for o := range a.outer {
				for in := range a.inner {
					sum := 0.0
					for j := range a.n {
						if at.Reverse {
							j = a.n - 1 - j
						}
						p := (o*a.n+j)*a.inner + in
						if at.Exclusive {
							want.v[p] = sum
						}
						sum += x.v[p]
						if !at.Exclusive {
							want.v[p] = sum
						}
					}
				}
			}
			compare(t, fmt.Sprintf("cumsum %+v %s", at, what), results(t, ir.CumSum, at, []tensor{x}, newTensor(d, shape...))[0], want, 100)
		}
	}
}

// The body of the scan is a matrix product, carry·w, with the slice and the carry
// handed to gathers: library operations alone, so that this test needs nothing
// else.
func TestScan(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	for _, steps := range []int{0, 1, 2, 5} {
		for _, reverse := range []bool{false, true} {
			carry, w := random(r, dtype.Float64, 2, 2), random(r, dtype.Float64, 2, 2)
			picks := newTensor(dtype.Int64, steps, 3)
			for i := range picks.v {
				picks.v[i] = float64(r.IntN(2))
			}
			mat := func(slot int, shape ...int) kernel.Operand {
				return kernel.Operand{Slot: slot, DType: dtype.Float64, Shape: shape, Stride: contiguous(shape)}
			}
			body := &kernel.Program{
				Leaves: 3, Outputs: 2, Arena: 64,
				Slots: []kernel.Slot{
					{Kind: kernel.Leaf, Index: 0, Bytes: 32}, {Kind: kernel.Leaf, Index: 1, Bytes: 24}, {Kind: kernel.Leaf, Index: 2, Bytes: 32},
					{Kind: kernel.Output, Index: 0, Bytes: 32}, {Kind: kernel.Output, Index: 1, Bytes: 48},
				},
				Steps: []kernel.Step{
					&kernel.Library{Name: "step", Op: ir.DotGeneral, In: []kernel.Operand{mat(0, 2, 2), mat(2, 2, 2)}, Out: []kernel.Operand{mat(3, 2, 2)}, Scratch: -1},
					&kernel.Library{Name: "pick", Op: ir.Gather, Attr: ir.Index{}, Scratch: -1, Out: []kernel.Operand{mat(4, 3, 2)},
						In: []kernel.Operand{mat(3, 2, 2), {Slot: 1, DType: dtype.Int64, Shape: []int{3}, Stride: []int{1}}}},
				},
			}
			last, picked := newTensor(dtype.Float64, 2, 2), newTensor(dtype.Float64, steps, 3, 2)
			copy(last.v, carry.v)
			for s := range steps {
				if reverse {
					s = steps - 1 - s
				}
				next := make([]float64, 4)
				for i := range next {
					next[i] = last.v[i/2*2]*w.v[i%2] + last.v[i/2*2+1]*w.v[2+i%2]
				}
				copy(last.v, next)
				for i := range 3 {
					copy(picked.v[(s*3+i)*2:][:2], last.v[int(picks.v[s*3+i])*2:])
				}
			}
			l := kernel.Library{Op: ir.Scan, Attr: &ir.Loop{Carries: 1, Inputs: 1, Steps: steps, Reverse: reverse}, Body: body}
			got := resultsOf(t, l, []tensor{carry, picks, w}, newTensor(dtype.Float64, 2, 2), newTensor(dtype.Float64, steps, 3, 2))
			compare(t, "carry", got[0], last, 100)
			compare(t, "results", got[1], picked, 100)
		}
	}
}

// carry·w, large enough for several workers: with w packed before the loop, with a
// trail, with the last carry beside it, without allocating.
func TestScanOfProducts(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 18))
	const rows, units = 40, 180
	for _, d := range []dtype.DType{dtype.Float32, dtype.Float64} {
		for i := range 8 {
			reverse, last, turned := i&1 != 0, i&2 != 0, i&4 != 0
			steps := 3 + i%4 // w is packed from 4 steps on
			carry, w := random(r, d, rows, units), random(r, d, units, units)
			for k := range w.v {
				w.v[k] /= 8 // so that the carry neither grows nor vanishes
			}
			w = decode(d, w.shape, w.encode())
			mat := func(slot int, shape ...int) kernel.Operand {
				return kernel.Operand{Slot: slot, DType: d, Shape: shape, Stride: contiguous(shape)}
			}
			right := mat(2, units, units)
			if turned {
				right.Stride = []int{1, units}
			}
			state := rows * units * d.Size()
			body := &kernel.Program{
				Leaves: 3, Outputs: 1,
				Slots: []kernel.Slot{
					{Kind: kernel.Leaf, Index: 0, Bytes: state}, {Kind: kernel.Leaf, Index: 1, Bytes: d.Size()},
					{Kind: kernel.Leaf, Index: 2, Bytes: units * units * d.Size()}, {Kind: kernel.Output, Bytes: state},
				},
				Steps: []kernel.Step{&kernel.Library{Name: "step", Op: ir.DotGeneral, Scratch: -1,
					In: []kernel.Operand{mat(0, rows, units), right}, Out: []kernel.Operand{mat(3, rows, units)}}},
			}
			trail := newTensor(d, steps+1, rows, units)
			row := func(step int) []float64 {
				if reverse {
					step = steps - step
				}
				return trail.v[step*rows*units:][:rows*units]
			}
			copy(row(0), carry.v)
			for step := range steps {
				from, to := row(step), row(step+1)
				for i := range rows {
					for k, x := range from[i*units:][:units] {
						for j := range units {
							if turned {
								to[i*units+j] += x * w.v[j*units+k]
							} else {
								to[i*units+j] += x * w.v[k*units+j]
							}
						}
					}
				}
			}
			l := kernel.Library{Op: ir.Scan, Attr: &ir.Loop{Carries: 1, Inputs: 1, Steps: steps, Reverse: reverse}, Body: body}
			in, out := []tensor{carry, newTensor(d, steps), w}, []tensor{trail}
			if last {
				final := newTensor(d, rows, units)
				copy(final.v, row(steps))
				out = []tensor{final, trail}
			} else {
				l.Out = []kernel.Operand{{Slot: -1, DType: d, Shape: carry.shape, Stride: contiguous(carry.shape)}}
			}
			for k, got := range resultsOf(t, l, in, out...) {
				compare(t, fmt.Sprintf("%v, %d steps, case %d, result %d", d, steps, i, k), got, out[k], 1000)
			}
			wp := pool.New(2)
			run := prepared(t, newDevice(wp), &l, in, out...)
			if n := testing.AllocsPerRun(5, run); n >= 1 {
				t.Errorf("%v allocations per run", n)
			}
			wp.Close()
		}
	}
}

func TestEmpty(t *testing.T) {
	none := newTensor(dtype.Float32, 0, 3)
	results(t, ir.DotGeneral, nil, []tensor{none, newTensor(dtype.Float32, 3, 2)}, newTensor(dtype.Float32, 0, 2))
	got := results(t, ir.DotGeneral, nil, []tensor{newTensor(dtype.Float32, 2, 0), newTensor(dtype.Float32, 0, 2)}, newTensor(dtype.Float32, 2, 2))
	compare(t, "empty product", got[0], newTensor(dtype.Float32, 2, 2), 0)
	results(t, ir.Sort, ir.Order{}, []tensor{none}, newTensor(dtype.Int64, 0, 3))
	results(t, ir.CumSum, ir.Cumulate{}, []tensor{none}, none)
	results(t, ir.ArgMax, ir.Axis{Axis: 1}, []tensor{none}, newTensor(dtype.Int64, 0))
	results(t, ir.Gather, ir.Index{}, []tensor{newTensor(dtype.Float32, 2, 3), newTensor(dtype.Int64, 0)}, none)
	results(t, ir.ScatterAdd, ir.Index{}, []tensor{newTensor(dtype.Float32, 2, 3), newTensor(dtype.Int64, 0), none}, newTensor(dtype.Float32, 2, 3))
	at := ir.ConvAttr{Stride: []int{1}, Low: []int{0}, High: []int{0}, Dilation: []int{1}, Groups: 1, Dir: ir.WeightGrad, Size: []int{2}}
	got = results(t, ir.Conv, at, []tensor{newTensor(dtype.Float32, 0, 2, 5), newTensor(dtype.Float32, 0, 3, 4)}, newTensor(dtype.Float32, 3, 2, 2))
	compare(t, "gradient of nothing", got[0], newTensor(dtype.Float32, 3, 2, 2), 0)
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(19, 20))
	wp := pool.New(2)
	defer wp.Close()
	d := newDevice(wp)
	f := dtype.Float32
	at := ir.ConvAttr{Stride: []int{1, 1}, Low: []int{1, 1}, High: []int{1, 1}, Dilation: []int{1, 1}, Groups: 1}
	weights := at
	weights.Dir, weights.Size = ir.WeightGrad, []int{3, 3}
	x, w, y := random(r, f, 4, 8, 20, 20), random(r, f, 8, 8, 3, 3), random(r, f, 4, 8, 20, 20)
	single, wide, strided := at, at, at
	single.Groups, wide.Groups, strided.Groups = 8, 8, 8
	wide.Low, wide.High = []int{2, 2}, []int{2, 2}
	strided.Stride = []int{2, 2}
	back := func(a ir.ConvAttr, d ir.Direction, size ...int) ir.ConvAttr {
		a.Dir, a.Size = d, size
		return a
	}
	w3, w5, y2 := random(r, f, 8, 1, 3, 3), random(r, f, 8, 1, 5, 5), random(r, f, 4, 8, 10, 10)
	index := newTensor(dtype.Int64, 7)
	pool2 := ir.Window{Size: []int{2, 2}, Stride: []int{2, 2}, Low: []int{0, 0}, High: []int{0, 0}, Dilation: []int{1, 1}}
	for _, c := range []struct {
		op   ir.Op
		attr ir.Attr
		in   []tensor
		out  tensor
	}{
		{ir.DotGeneral, nil, []tensor{random(r, f, 200, 200), random(r, f, 200, 200)}, newTensor(f, 200, 200)},
		{ir.DotGeneral, nil, []tensor{random(r, f, 9, 20, 20), random(r, f, 9, 20, 20)}, newTensor(f, 9, 20, 20)},
		{ir.Conv, at, []tensor{x, w}, y},
		{ir.Conv, weights, []tensor{x, y}, w},
		{ir.Conv, back(strided, ir.Forward), []tensor{x, w3}, y2},
		{ir.Conv, back(strided, ir.InputGrad, 20, 20), []tensor{y2, w3}, x},
		{ir.Conv, back(strided, ir.WeightGrad, 3, 3), []tensor{x, y2}, w3},
		{ir.Conv, single, []tensor{x, w3}, y},
		{ir.Conv, back(single, ir.WeightGrad, 3, 3), []tensor{x, y}, w3},
		{ir.Conv, wide, []tensor{x, w5}, y},
		{ir.Conv, back(wide, ir.WeightGrad, 5, 5), []tensor{x, y}, w5},
		{ir.ReduceWindowMaxGrad, pool2, []tensor{x, y2}, x},
		{ir.ArgMax, ir.Axis{Axis: 1}, []tensor{x}, newTensor(dtype.Int64, 4, 20, 20)},
		{ir.Sort, ir.Order{Axis: 3}, []tensor{x}, newTensor(dtype.Int64, 4, 8, 20, 20)},
		{ir.CumSum, ir.Cumulate{Axis: 2}, []tensor{x}, x},
		{ir.ScatterAdd, ir.Index{}, []tensor{x, index, newTensor(f, 7, 8, 20, 20)}, x},
		{ir.ScatterAdd, ir.Index{Axis: 2, Batch: 2}, []tensor{newTensor(f, 4, 8, 400), newTensor(dtype.Int32, 4, 8, 100), newTensor(f, 4, 8, 100)}, newTensor(f, 4, 8, 400)},
		{ir.ReduceWindowMax, pool2, []tensor{x}, newTensor(f, 4, 8, 10, 10)},
		{ir.ReduceWindowArgMax, pool2, []tensor{x}, newTensor(dtype.Int32, 4, 8, 10, 10)},
	} {
		run := prepared(t, d, &kernel.Library{Op: c.op, Attr: c.attr}, c.in, c.out)
		if n := testing.AllocsPerRun(10, run); n >= 1 {
			t.Errorf("%v: %v allocations per run", c.op, n)
		}
	}
}

func TestBuffers(t *testing.T) {
	d := newDevice(pool.New(1))
	for _, n := range []int{0, 1, 1000, 3 << 20} {
		b, err := d.Alloc(n)
		if err != nil {
			t.Fatal(err)
		}
		if b.Bytes() != n || uintptr(b.(*buffer).p)%64 != 0 {
			t.Errorf("Alloc(%d) gave %d bytes at %p", n, b.Bytes(), b.(*buffer).p)
		}
		data := make([]byte, n)
		for i := range data {
			data[i] = byte(i)
		}
		back := make([]byte, n)
		if err := d.Upload(b, data); err != nil {
			t.Fatal(err)
		}
		if err := d.Download(back, b); err != nil || !bytes.Equal(back, data) {
			t.Errorf("%d bytes did not come back: %v", n, err)
		}
		if err := d.Upload(b, make([]byte, n+1)); err == nil {
			t.Error("too long an upload was taken")
		}
		b.Free()
	}
	if _, err := d.Alloc(-1); err == nil {
		t.Error("a negative size was taken")
	}
}

// What a caller binds wrongly is an error, never a fault.
func TestRunErrors(t *testing.T) {
	d := newDevice(pool.New(1))
	l := &kernel.Library{Op: ir.CumSum, Attr: ir.Cumulate{}}
	x := newTensor(dtype.Float32, 8)
	e, err := d.Compile(single(d, l, []tensor{x}, []tensor{x}))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	good, _ := d.Alloc(32)
	short, _ := d.Alloc(31)
	if err := e.Run([]device.Buffer{good}, nil); err == nil {
		t.Error("a missing output was taken")
	}
	if err := e.Run([]device.Buffer{good}, []device.Buffer{short}); err == nil {
		t.Error("a short buffer was taken")
	}
	if err := e.Run([]device.Buffer{good}, []device.Buffer{nil}); err == nil {
		t.Error("no buffer was taken for one")
	}
	if err := e.Run([]device.Buffer{good}, []device.Buffer{good}); err != nil {
		t.Error(err)
	}
}
