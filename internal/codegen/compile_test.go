package codegen_test

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/internal/backend/null"
	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/codegen/cudatest"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/graphtest"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/plan"
	"github.com/sinter-dl/sinter/internal/testenv"
)

// lowered makes the fused kernels of a graph's program.
func lowered(t testing.TB, target *codegen.Target, outputs ...*ir.Node) (ls []codegen.Launch) {
	t.Helper()
	p := plan.Build(outputs, ir.Collect(outputs).Leaves(), null.New(), plan.Precision{})
	for _, s := range p.Steps {
		f, ok := s.(*kernel.Fused)
		if l, library := s.(*kernel.Library); library {
			f, ok = l.Epilogue, l.Epilogue != nil
		}
		if !ok {
			continue
		}
		l, err := codegen.Fused(f, p.Slots, target)
		if err != nil {
			t.Fatal(err)
		}
		ls = append(ls, l...)
	}
	return ls
}

func variable(d dtype.DType, sh ...int) *ir.Node { return ir.NewInput(d, sh, &ir.Storage{}) }

func apply(op ir.Op, in ...*ir.Node) *ir.Node { return ir.New(op, nil, in...) }

// classes are graphs that become the kernels that matter, in sizes at which vectors,
// tiles, warps and slices are used.
func classes(d dtype.DType) map[string][]*ir.Node {
	wide := func(x *ir.Node) *ir.Node { return ir.To(x, dtype.Float32) }
	full := func(v float64, sh []int) *ir.Node { return ir.Full(dtype.Float32, v, sh) }
	m := make(map[string][]*ir.Node)

	x, y := variable(d, 4096, 4096), variable(d, 4096, 4096)
	m["add"] = []*ir.Node{apply(ir.Add, x, y)}
	u := wide(x)
	m["gelu"] = []*ir.Node{ir.To(apply(ir.Mul, u, apply(ir.Add, full(0.5, u.Shape), apply(ir.Erf, u))), d)}
	m["transpose"] = []*ir.Node{apply(ir.Add, ir.Permute(x, []int{1, 0}), y)}
	bits := ir.NewRNGBits(ir.RNG{Seed: 1, Site: 2}, x.Shape, variable(dtype.Int64))
	kept := apply(ir.Lt, bits, ir.Full(dtype.Int32, 1000, x.Shape))
	m["dropout"] = []*ir.Node{apply(ir.Select, kept, x, ir.Full(d, 0, x.Shape)), kept}

	small := wide(variable(d, 64, 2048, 7, 7))
	m["channels of odd size"] = []*ir.Node{ir.To(apply(ir.Mul, small, ir.BroadcastTo(variable(dtype.Float32, 2048), small.Shape, []int{1})), d)}

	softmax := func(x *ir.Node, axes ...int) *ir.Node {
		top := ir.Unreduce(ir.Fold(ir.ReduceMax, x, axes), x.Shape, axes)
		e := apply(ir.Exp, apply(ir.Sub, x, top))
		return apply(ir.Div, e, ir.Unreduce(ir.Fold(ir.ReduceSum, e, axes), x.Shape, axes))
	}
	for _, n := range []int{10, 768, 4096, 50257, 1 << 20} {
		v := wide(variable(d, max(1, 1<<24/n), n))
		m[fmt.Sprintf("softmax of %d", n)] = []*ir.Node{ir.To(softmax(v, 1), d)}
	}
	m["softmax along the first axis"] = []*ir.Node{softmax(wide(x), 0)}
	v := wide(variable(d, 16384, 768))
	mean := func(x *ir.Node) *ir.Node {
		s := ir.Fold(ir.ReduceSum, x, []int{1})
		return ir.Unreduce(apply(ir.Div, s, full(float64(x.Shape[1]), s.Shape)), x.Shape, []int{1})
	}
	c := apply(ir.Sub, v, mean(v))
	scale := apply(ir.Rsqrt, apply(ir.Add, mean(apply(ir.Mul, c, c)), full(1e-5, c.Shape)))
	gain := ir.Broadcast(variable(dtype.Float32, 768), c.Shape)
	m["layer norm"] = []*ir.Node{ir.To(apply(ir.Mul, apply(ir.Mul, c, scale), gain), d)}
	m["columns"] = []*ir.Node{ir.Fold(ir.ReduceSum, v, []int{0}), ir.Fold(ir.ReduceSum, apply(ir.Mul, v, v), []int{0})}
	m["everything"] = []*ir.Node{ir.Fold(ir.ReduceSum, apply(ir.Mul, v, v), []int{0, 1})}
	image := wide(variable(d, 64, 128, 28, 28))
	m["channels"] = []*ir.Node{ir.Fold(ir.ReduceSum, image, []int{0, 2, 3}), ir.Fold(ir.ReduceMax, image, []int{0, 2, 3})}

	var updates []*ir.Node
	rate := variable(dtype.Float32)
	for _, sh := range [][]int{{768, 3072}, {3072}, {50257, 768}, {7}, {1}} {
		w, g, mo := variable(dtype.Float32, sh...), variable(d, sh...), variable(dtype.Float32, sh...)
		next := apply(ir.Add, apply(ir.Mul, mo, full(0.9, sh)), wide(g))
		after := apply(ir.Sub, w, apply(ir.Mul, next, ir.Broadcast(rate, sh)))
		updates = append(updates, ir.New(ir.Assign, ir.Target{Storage: w.Storage}, w, after), ir.New(ir.Assign, ir.Target{Storage: mo.Storage}, mo, next), ir.To(after, dtype.BFloat16))
	}
	m["update"] = updates

	var norms []*ir.Node
	for _, sh := range [][]int{{768, 3072}, {3072}, {50257, 768}, {7}, {1}} {
		g := wide(variable(d, sh...))
		axes := []int{0, 1}[:len(sh)]
		norms = append(norms, ir.Fold(ir.ReduceSum, apply(ir.Mul, g, g), axes))
	}
	m["norms"] = norms
	return m
}

// texts are the kernels of all classes, and of random graphs.
func texts(t *testing.T, target *codegen.Target) (kernels []*codegen.Kernel) {
	for _, d := range []dtype.DType{dtype.Float32, dtype.BFloat16, dtype.Float16} {
		for _, outputs := range classes(d) {
			for _, l := range lowered(t, target, outputs...) {
				kernels = append(kernels, l.Kernel)
			}
		}
	}
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 1))
		for _, l := range lowered(t, target, graphtest.Random(r, 2+r.IntN(40), false)...) {
			kernels = append(kernels, l.Kernel)
		}
	}
	return kernels
}

// What is written for NVIDIA's GPUs compiles for them.
func TestCUDA(t *testing.T) { cudatest.Check(t, texts) }

// The dialect of the simulated driver is C++.
func TestSim(t *testing.T) {
	path, err := exec.LookPath("g++")
	testenv.Require(t, "g++", err == nil, "no g++")
	target := cudatest.Target(90)
	target.Dialect = codegen.Sim
	text := shim + codegen.Module(texts(t, &target), &target)
	cmd := exec.Command(path, "-std=c++17", "-fsyntax-only", "-Wno-unknown-pragmas", "-x", "c++", "-")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out[:min(len(out), 3000)])
	}
}

// shim is what the simulator declares in front of a module.
const shim = `
struct dim3 { unsigned x, y, z; };
extern dim3 threadIdx, blockIdx, blockDim, gridDim;
void __syncthreads(); void __syncwarp();
template <class T> T __shfl_xor_sync(unsigned, T v, int m) { return v; }
template <class T> T __shfl_down_sync(unsigned, T v, int m) { return v; }
template <class T> T __shfl_sync(unsigned, T v, int m) { return v; }
`

// Equal structure is equal text: layers of one shape share a kernel, wherever their
// operands lie; other extents of what lies without gaps share it too.
func TestShared(t *testing.T) {
	target := cudatest.Target(90)
	name := func(outputs ...*ir.Node) string {
		ls := lowered(t, &target, outputs...)
		if len(ls) != 1 {
			t.Fatalf("%d launches", len(ls))
		}
		return ls[0].Kernel.Name
	}
	norm := func(rows int) string {
		x := variable(dtype.Float32, rows, 512)
		return name(apply(ir.Sub, x, ir.Unreduce(ir.Fold(ir.ReduceMax, x, []int{1}), x.Shape, []int{1})))
	}
	if a, b := norm(4096), norm(4096); a != b {
		t.Errorf("%s and %s", a, b)
	}
	add := func(n int) string { return name(apply(ir.Add, variable(dtype.Float32, n), variable(dtype.Float32, n))) }
	if a, b := add(1<<20), add(1<<22); a != b {
		t.Errorf("%s and %s", a, b)
	}
	if a, b := add(1<<20), add(1<<20+1); a == b {
		t.Errorf("%s has a rest and has none", a)
	}
}

// A kernel that has too many parameters is an error, not a launch that fails.
func TestParameters(t *testing.T) {
	target := cudatest.Target(90)
	target.ParamBytes = 1024
	var x []*ir.Node
	for range 200 {
		x = append(x, variable(dtype.Float32, 5))
	}
	p := plan.Build([]*ir.Node{ir.New(ir.Concatenate, ir.Axis{}, x...)}, ir.Collect(x).Leaves(), null.New(), plan.Precision{})
	for _, s := range p.Steps {
		ls, err := codegen.Fused(s.(*kernel.Fused), p.Slots, &target)
		if err != nil {
			t.Logf("%v", err)
			continue
		}
		for _, l := range ls {
			if n := 8 * len(l.Args); n > target.ParamBytes {
				t.Errorf("%s has %d bytes of parameters", l.Kernel.Name, n)
			}
		}
	}
}
