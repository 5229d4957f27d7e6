package indexing

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/codegen/cudatest"
	"github.com/sinter-dl/sinter/internal/dl/opencl"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/shape"
	"github.com/sinter-dl/sinter/internal/testenv"
)

// Package devicetest tests every operation on every type, with tensors that an
// interpreter can go through. The tests here are of what only large tensors come to: the
// sorting of long lines, sums in pieces, runs of many indices.

// runner runs launches on the first OpenCL device there is.
type runner struct {
	cl     *opencl.API
	device opencl.Device
	ctx    opencl.Context
	queue  opencl.Queue
	target codegen.Target

	kernels map[string]opencl.Kernel
}

func newRunner(t *testing.T) *runner {
	t.Helper()
	r := &runner{kernels: make(map[string]opencl.Kernel), target: codegen.Target{Dialect: codegen.OpenCL, Units: 2, GroupSize: 256, Warp: 1, Local: 32 << 10, ParamBytes: 1024, Float64: true}}
	var err error
	why := func() string {
		if r.cl, err = opencl.Load(); err != nil {
			return err.Error()
		}
		platforms, err := r.cl.GetPlatformIDs()
		if err != nil {
			return err.Error()
		}
		for _, p := range platforms {
			if list, _ := r.cl.GetDeviceIDs(p, opencl.DeviceAll); len(list) > 0 {
				r.device = list[0]
				return ""
			}
		}
		return "OpenCL has no device"
	}()
	testenv.Require(t, "opencl", why == "", why)
	if r.ctx, err = r.cl.CreateContext(r.device); err == nil {
		r.queue, err = r.cl.CreateCommandQueue(r.ctx, r.device, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, k := range r.kernels {
			r.cl.ReleaseKernel(k)
		}
		r.cl.ReleaseCommandQueue(r.queue)
		r.cl.ReleaseContext(r.ctx)
	})
	return r
}

// run computes an operation on operands whose contents are given.
func (r *runner) run(t *testing.T, op ir.Op, attr ir.Attr, in []kernel.Operand, data [][]byte, out kernel.Operand) []byte {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	l := &kernel.Library{Op: op, Attr: attr, In: in, Out: []kernel.Operand{out}}
	for i := range in {
		l.In[i].Slot, l.In[i].Stride = i, shape.Strides(in[i].Shape)
	}
	l.Out[0].Slot, l.Out[0].Stride, l.Scratch = len(in), shape.Strides(out.Shape), len(in)+1
	launches, _, err := Lower(l, &r.target)
	check(err)
	result := bytes.Repeat([]byte{0xee}, out.Elements()*out.DType.Size())
	scratch := bytes.Repeat([]byte{0xee}, max(1, Workspace(l, &r.target)))
	var mems []opencl.Mem
	for _, host := range append(slices.Clone(data), result, scratch) {
		m, err := r.cl.CreateBuffer(r.ctx, opencl.ReadWrite|opencl.CopyHostPtr, len(host), host)
		check(err)
		defer r.cl.ReleaseMemObject(m)
		mems = append(mems, m)
	}
	var kernels []*codegen.Kernel
	for _, launch := range launches {
		if _, ok := r.kernels[launch.Kernel.Name]; !ok {
			kernels = append(kernels, launch.Kernel)
		}
	}
	p, err := r.cl.CreateProgramWithSource(r.ctx, codegen.Module(kernels, &r.target))
	check(err)
	defer r.cl.ReleaseProgram(p)
	if err := r.cl.BuildProgram(p, r.device, strings.Join(codegen.Options(&r.target), " ")); err != nil {
		log, _ := r.cl.ProgramBuildLog(p, r.device)
		t.Fatalf("%v\n%s", err, log)
	}
	for _, k := range kernels {
		if r.kernels[k.Name], err = r.cl.CreateKernel(p, k.Name); err != nil {
			t.Fatal(err)
		}
	}
	for _, launch := range launches {
		k := r.kernels[launch.Kernel.Name]
		n := 0
		for i, a := range launch.Args {
			if launch.Kernel.Params[i].Pointer {
				check(r.cl.SetKernelArgMem(k, n, mems[a.Slot]))
				check(r.cl.SetKernelArg(k, n+1, 8, uint64(a.Offset)))
				n += 2
				continue
			}
			check(r.cl.SetKernelArg(k, n, launch.Kernel.Params[i].Bytes, a.Bits))
			n++
		}
		g := launch.Kernel.Group
		global := [3]int{launch.Grid[0] * g[0], launch.Grid[1] * g[1], launch.Grid[2] * g[2]}
		check(r.cl.EnqueueNDRangeKernel(r.queue, k, 3, global, g, nil, nil))
	}
	check(r.cl.EnqueueReadBuffer(r.queue, mems[len(in)], true, 0, result, nil, nil))
	return result
}

func raw[T any](v []T) []byte {
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func elements[T any](t *testing.T, b []byte) []T {
	t.Helper()
	v := make([]T, len(b)/int(unsafe.Sizeof(*new(T))))
	if _, err := binary.Decode(b, binary.LittleEndian, v); err != nil {
		t.Fatal(err)
	}
	return v
}

func same[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("%s: element %d of %d is %v, want %v", what, i, len(want), got[i], want[i])
		}
	}
}

func operand(d dtype.DType, sh ...int) kernel.Operand { return kernel.Operand{DType: d, Shape: sh} }

func TestLarge(t *testing.T) {
	r := newRunner(t)
	t.Run("sort", r.sortLongLines)
	t.Run("scatter", r.scatterManyIndices)
	t.Run("lines", r.longLines)
}

// Lines too long for a tile, of keys of one to eight bytes, with many ties.
func (r *runner) sortLongLines(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	testSort := func(name string, d dtype.DType, sh []int, axis int, mem []byte, less func(i, j int) bool) {
		for _, descending := range []bool{false, true} {
			got := elements[int64](t, r.run(t, ir.Sort, ir.Order{Axis: axis, Descending: descending},
				[]kernel.Operand{operand(d, sh...)}, [][]byte{mem}, operand(dtype.Int64, sh...)))
			want := make([]int64, len(got))
			a := newAlong(sh, axis)
			for line := range a.lines() {
				first := line/a.inner*a.n*a.inner + line%a.inner
				order := make([]int, a.n)
				for i := range order {
					order[i] = i
				}
				slices.SortStableFunc(order, func(i, j int) int {
					if descending {
						i, j = j, i
					}
					i, j = first+i*a.inner, first+j*a.inner
					if less(i, j) {
						return -1
					} else if less(j, i) {
						return 1
					}
					return 0
				})
				for i, at := range order {
					want[first+i*a.inner] = int64(at)
				}
			}
			same(t, fmt.Sprintf("%s%v, axis %d, descending %v", name, sh, axis, descending), got, want)
		}
	}
	floats := make([]float32, 3*5000*2)
	for i := range floats {
		floats[i] = float32(rnd.NormFloat64()) * float32(math.Pow(10, float64(rnd.IntN(40)-20)))
		if rnd.IntN(10) == 0 {
			floats[i] = []float32{0, float32(math.Copysign(0, -1)), float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 1}[rnd.IntN(6)]
		}
	}
	below := func(i, j int) bool {
		p, q := floats[i], floats[j]
		return p < q || p == p && q != q
	}
	testSort("float32", dtype.Float32, []int{3, 5000, 2}, 1, raw(floats), below)
	testSort("float32", dtype.Float32, []int{2049, 2}, 0, raw(floats[:2*2049]), below)
	small := make([]int8, 600000) // more tiles than a group has threads
	for i := range small {
		small[i] = int8(rnd.IntN(256))
	}
	testSort("int8", dtype.Int8, []int{len(small)}, 0, raw(small), func(i, j int) bool { return small[i] < small[j] })
	wide := make([]int64, 2*10000)
	for i := range wide {
		wide[i] = rnd.Int64() >> rnd.IntN(64)
		if rnd.IntN(2) == 0 {
			wide[i] = -wide[i]
		}
	}
	testSort("int64", dtype.Int64, []int{2, 10000}, 1, raw(wide), func(i, j int) bool { return wide[i] < wide[j] })
}

// More indices than a tile has, that repeat and are outside now and then: updates of one
// place are added in their order, to the bit, and the last one stays.
func (r *runner) scatterManyIndices(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for _, c := range []struct {
		data, index []int
		at          ir.Index
	}{
		{[]int{3000, 12}, []int{5000}, ir.Index{}},
		{[]int{70000, 3}, []int{9, 1000}, ir.Index{}},                      // more than 16 bits
		{[]int{3, 2, 500, 5}, []int{3, 2500}, ir.Index{Axis: 2, Batch: 1}}, // batches, and an axis between
		{[]int{2, 40, 700}, []int{1500}, ir.Index{Axis: 1}},
	} {
		x, err := newIndexed(&kernel.Library{Attr: c.at, In: []kernel.Operand{operand(dtype.Float32, c.data...), operand(dtype.Int32, c.index...)}})
		if err != nil {
			t.Fatal(err)
		}
		index := make([]int32, x.b*x.i)
		for i := range index {
			index[i] = int32(rnd.IntN(x.d))
			switch rnd.IntN(10) {
			case 0:
				index[i] = []int32{-1, int32(x.d), math.MaxInt32, math.MinInt32}[rnd.IntN(4)]
			case 1, 2, 3: // a run of many
				index[i] = int32(x.d / 3)
			}
		}
		normal := func(n int) []float32 {
			v := make([]float32, n)
			for i := range v {
				v[i] = float32(rnd.NormFloat64())
			}
			return v
		}
		data, updates := normal(x.b*x.p*x.d*x.q), normal(x.b*x.p*x.i*x.q)
		sums, last := slices.Clone(data), slices.Clone(data)
		for i, v := range updates {
			row := i / x.q
			bp, n := row/x.i, row%x.i
			if at := int(index[bp/x.p*x.i+n]); at >= 0 && at < x.d {
				place := (bp*x.d+at)*x.q + i%x.q
				sums[place] += v
				last[place] = v
			}
		}
		shapes := slices.Concat(c.data[:c.at.Axis], c.index[c.at.Batch:], c.data[c.at.Axis+1:])
		for op, want := range map[ir.Op][]float32{ir.ScatterAdd: sums, ir.Scatter: last} {
			in := []kernel.Operand{operand(dtype.Float32, c.data...), operand(dtype.Int32, c.index...), operand(dtype.Float32, shapes...)}
			got := r.run(t, op, c.at, in, [][]byte{raw(data), raw(index), raw(updates)}, operand(dtype.Float32, c.data...))
			same(t, fmt.Sprintf("%v %v %v", op, c.data, c.index), elements[float32](t, got), want)
		}
	}
}

// Lines of so many elements that their sums are cut into pieces of pieces, and so few
// that several groups look for one extreme.
func (r *runner) longLines(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	const n = 100000
	x := make([]float32, 2*n)
	for i := range x {
		x[i] = 0.5 + rnd.Float32()
	}
	in := []kernel.Operand{operand(dtype.Float32, 2, n)}
	for i := range 4 {
		a := ir.Cumulate{Axis: 1, Reverse: i&1 != 0, Exclusive: i&2 != 0}
		got := elements[float32](t, r.run(t, ir.CumSum, a, in, [][]byte{raw(x)}, in[0]))
		for line := range 2 {
			sum := 0.0
			for k := range n {
				at := line*n + k
				if a.Reverse {
					at = line*n + n - 1 - k
				}
				before := sum
				sum += float64(x[at])
				want := sum
				if a.Exclusive {
					want = before
				}
				if math.Abs(float64(got[at])-want) > 4e-7*want { // a few units in the last place
					t.Fatalf("%+v: element %d is %v, want %v", a, at, got[at], want)
				}
			}
		}
	}
	for _, c := range []struct{ first, second int }{{n / 2, n - 1}, {0, 1}, {n - 2, n - 1}, {20000, 90000}} {
		x[c.first], x[c.second] = 7, 7
		x[n+c.second] = float32(math.NaN())
		got := elements[int64](t, r.run(t, ir.ArgMax, ir.Axis{Axis: 1}, in, [][]byte{raw(x)}, operand(dtype.Int64, 2)))
		if want := []int64{int64(c.first), int64(c.second)}; !slices.Equal(got, want) {
			t.Errorf("ArgMax is %v, want %v", got, want)
		}
		x[c.first], x[c.second], x[n+c.second] = 1, 1, 1
	}
}

// The texts of all operations on all types compile for NVIDIA's GPUs.
func TestCompile(t *testing.T) {
	cudatest.Check(t, texts)
}

func texts(t *testing.T, target *codegen.Target) (kernels []*codegen.Kernel) {
	add := func(op ir.Op, attr ir.Attr, out kernel.Operand, in ...kernel.Operand) {
		t.Helper()
		launches, _, err := Lower(&kernel.Library{Op: op, Attr: attr, In: in, Out: []kernel.Operand{out}}, target)
		if err != nil {
			t.Error(err)
		}
		for _, l := range launches {
			kernels = append(kernels, l.Kernel)
		}
	}
	types := []dtype.DType{dtype.Int64, dtype.BFloat16}
	if cudatest.All() {
		types = dtype.All()
	}
	for _, d := range types {
		number := d != dtype.Bool
		for _, n := range []int{100, 600, 5000, 100000} {
			for _, q := range []int{1, 3, 64} { // elements apart, and rows in pieces of 16 bytes
				x, line, start := operand(d, n, q), operand(dtype.Int64, q), operand(dtype.Int64, 2)
				add(ir.ArgMax, ir.Axis{}, line, x)
				add(ir.ArgMin, ir.Axis{}, line, x)
				add(ir.Sort, ir.Order{}, operand(dtype.Int64, n, q), x)
				add(ir.DynamicSlice, ir.Extent{Size: []int{5, q}}, operand(d, 5, q), x, start)
				add(ir.DynamicUpdateSlice, nil, x, x, operand(d, 5, q), start)
				if number {
					add(ir.CumSum, ir.Cumulate{}, x, x)
				}
				for _, index := range []dtype.DType{dtype.Int32, dtype.Int64} {
					for _, many := range []int{2, n} {
						i, u := operand(index, many), operand(d, many, q)
						add(ir.Gather, ir.Index{}, u, x, i)
						add(ir.Scatter, ir.Index{}, x, x, i, u)
						if number {
							add(ir.ScatterAdd, ir.Index{}, x, x, i, u)
						}
					}
				}
			}
		}
		x, y := operand(d, 2, 3, 8, 8), operand(d, 2, 3, 4, 4)
		w := ir.Window{Size: []int{2, 2}, Stride: []int{2, 2}, Low: []int{0, 0}, High: []int{0, 0}, Dilation: []int{1, 1}}
		add(ir.ReduceWindowMax, w, y, x)
		add(ir.ReduceWindowArgMax, w, operand(dtype.Int32, y.Shape...), x)
		if number {
			add(ir.ReduceWindowSum, w, y, x)
			add(ir.ReduceWindowMaxGrad, w, x, x, y)
		}
	}
	long := operand(dtype.Float32, 3<<30) // places of 64 bits
	add(ir.CumSum, ir.Cumulate{}, long, long)
	add(ir.ArgMax, ir.Axis{}, operand(dtype.Int64), long)
	add(ir.Gather, ir.Index{}, operand(dtype.Float32, 10), long, operand(dtype.Int64, 10))
	add(ir.Sort, ir.Order{}, operand(dtype.Int64, 3<<29, 2), operand(dtype.Float32, 3<<29, 2))
	return kernels
}

// What is asked of a device that lacks it, and what has nowhere to put its workspace, is
// an error that says so.
func TestLowerErrors(t *testing.T) {
	target := codegen.Target{Units: 2, GroupSize: 256, Local: 32 << 10, ParamBytes: 1024}
	line := operand(dtype.Float64, 10)
	l := &kernel.Library{Op: ir.CumSum, Attr: ir.Cumulate{}, In: []kernel.Operand{line}, Out: []kernel.Operand{line}}
	if _, _, err := Lower(l, &target); err == nil || !strings.Contains(err.Error(), "float64") {
		t.Errorf("float64 on a device without: %v", err)
	}
	long := operand(dtype.Float32, 5000)
	l = &kernel.Library{Op: ir.Sort, Attr: ir.Order{}, In: []kernel.Operand{long}, Out: []kernel.Operand{operand(dtype.Int64, 5000)}, Scratch: -1}
	if _, _, err := Lower(l, &target); err == nil || !strings.Contains(err.Error(), "workspace") {
		t.Errorf("a sort without its workspace: %v", err)
	}
	// Comparing and moving needs no arithmetic.
	l = &kernel.Library{Op: ir.ArgMax, Attr: ir.Axis{}, In: []kernel.Operand{line}, Out: []kernel.Operand{operand(dtype.Int64)}, Scratch: -1}
	if _, _, err := Lower(l, &target); err != nil {
		t.Error(err)
	}
}
