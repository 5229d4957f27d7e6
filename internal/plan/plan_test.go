package plan

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/internal/backend/null"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/fuse"
	"github.com/sinter-dl/sinter/internal/graphtest"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/rewrite"
)

const f32 = dtype.Float32

// greedy is a device whose library operations want workspace.
type greedy struct{ *null.Device }

func (greedy) Workspace(l *kernel.Library) int { return 40 + 4*l.Out[0].Elements() }

func input(name string, sh ...int) *ir.Node {
	return ir.NewInput(f32, sh, &ir.Storage{Name: name})
}

func op(o ir.Op, in ...*ir.Node) *ir.Node { return ir.New(o, nil, in...) }

func planned(t *testing.T, target Target, outputs ...*ir.Node) *kernel.Program {
	t.Helper()
	p := Build(outputs, ir.Collect(outputs).Leaves(), target, Precision{})
	if err := null.Verify(p); err != nil {
		t.Fatalf("%v\n%s", err, Print(p))
	}
	return p
}

// Programs do what their graphs mean, and no two values use one place at a time. The
// arena holds no more than all values together.
func TestRandomGraphs(t *testing.T) {
	for _, c := range []struct {
		target Target
		low    dtype.DType
	}{{null.New(), dtype.Invalid}, {greedy{null.New()}, dtype.Invalid}, {null.New(), dtype.BFloat16}} {
		target, low := c.target, c.low
		// With rounded products a program does what the rewritten graph means.
		graphtest.Check(t, 1500, true, func(_ *rand.Rand, outputs []*ir.Node) error {
			meaning := outputs
			if low != dtype.Invalid {
				meaning = rewrite.Run(outputs, target.Supports, low).Outputs
			}
			want, stores := graphtest.Eval(meaning)
			g := ir.Collect(outputs)
			leaves := g.Leaves()
			p := Build(g.Outputs, leaves, target, Precision{Low: low})
			if err := null.Verify(p); err != nil {
				return err
			}
			sum := 0
			for _, s := range p.Slots {
				if s.Kind == kernel.Arena {
					sum += (s.Bytes + alignment - 1) / alignment * alignment
				}
			}
			if p.Arena > sum {
				return fmt.Errorf("an arena of %d bytes for slots of %d", p.Arena, sum)
			}
			memory := make([][]byte, len(leaves))
			for i, l := range leaves {
				memory[i] = bytes.Clone(l.Storage.Data.([]byte))
			}
			got := graphtest.Run(p, memory)
			for i, w := range want {
				if d := graphtest.Read(w.DType, w.Shape, got[i]).Diff(w); d != "" {
					return fmt.Errorf("output %d: %s", i, d)
				}
			}
			for i, l := range leaves {
				if w, ok := stores[l.Storage]; ok {
					if d := graphtest.Read(w.DType, w.Shape, memory[i]).Diff(w); d != "" {
						return fmt.Errorf("variable %d: %s", i, d)
					}
				} else if !bytes.Equal(memory[i], l.Storage.Data.([]byte)) {
					return fmt.Errorf("leaf %d was overwritten", i)
				}
			}
			return nil
		})
	}
}

// A chain of steps, however long, takes the memory of two values, or of one if each
// step can be done in place.
func TestArenaOfChains(t *testing.T) {
	const bytes = 4 * 64 * 64
	x := input("x", 64, 64)
	for name, c := range map[string]struct {
		step func(y *ir.Node) *ir.Node
		most int
	}{
		"products": {func(y *ir.Node) *ir.Node { return ir.MatMul(y, x) }, 2 * bytes},
		"a product and a reduction": {func(y *ir.Node) *ir.Node {
			s := ir.Sum(ir.MatMul(y, x), []int{1})
			return op(ir.Add, y, ir.Unreduce(s, y.Shape, []int{1}))
		}, 3 * bytes},
		// A Barrier keeps the steps apart, which would be one kernel otherwise; each is done
		// in place.
		"elementwise": {func(y *ir.Node) *ir.Node { return op(ir.Barrier, op(ir.Exp, op(ir.Neg, y))) }, bytes},
	} {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{8, 64} {
				y := x
				for range n {
					y = c.step(y)
				}
				p := planned(t, null.New(), ir.New(ir.CumSum, ir.Cumulate{}, y))
				if len(p.Steps) < n || p.Arena > c.most {
					t.Errorf("%d steps: an arena of %d bytes, want at most %d\n%s", len(p.Steps), p.Arena, c.most, Print(p))
				}
			}
		})
	}
}

// Slots that are alive together do not overlap, others do where they fit.
func TestPlace(t *testing.T) {
	// step reads and writes whole slots.
	step := func(write int, reads ...int) kernel.Step {
		f := &kernel.Fused{Parts: make([]kernel.Part, 1)}
		for i, s := range append(reads, write) {
			f.Parts[0].Args = append(f.Parts[0].Args, kernel.Arg{Slot: s, DType: dtype.Uint8})
			kind := kernel.Load
			if i == len(reads) {
				kind = kernel.Store
			}
			f.Code = append(f.Code, kernel.Instr{Kind: kind, Arg: i})
		}
		return f
	}
	arena := func(bytes ...int) (l []kernel.Slot) {
		for _, b := range bytes {
			l = append(l, kernel.Slot{Kind: kernel.Arena, Bytes: b})
		}
		return l
	}
	for name, c := range map[string]struct {
		slots []kernel.Slot
		steps []kernel.Step
		want  int
	}{
		"one after the other":      {arena(64, 64, 64, 64), []kernel.Step{step(0), step(1, 0), step(2, 1), step(3, 2)}, 128},
		"all at once":              {arena(64, 128, 64), []kernel.Step{step(0), step(1), step(2), step(2, 0, 1)}, 256},
		"rounded up":               {arena(1, 65, 63), []kernel.Step{step(0), step(1), step(2, 0, 1)}, 256},
		"small ones in a gap":      {arena(256, 256, 64, 64), []kernel.Step{step(0), step(1, 0), step(2, 1), step(3, 2, 1)}, 512},
		"what nothing uses":        {arena(64, 1<<20, 64), []kernel.Step{step(0), step(2, 0)}, 128},
		"nothing":                  {nil, nil, 0},
		"a slot of no bytes":       {arena(0, 64), []kernel.Step{step(0), step(1, 0)}, 64},
		"read again after a while": {arena(64, 64, 64, 64), []kernel.Step{step(0), step(1, 0), step(2, 1), step(3, 2, 0)}, 192},
	} {
		t.Run(name, func(t *testing.T) {
			p := &kernel.Program{Slots: c.slots, Steps: c.steps}
			place(p)
			if p.Arena != c.want {
				t.Errorf("an arena of %d bytes, want %d", p.Arena, c.want)
			}
			life := lifetimes(p)
			for i, a := range p.Slots {
				if a.Offset%alignment != 0 || a.Offset+a.Bytes > p.Arena {
					t.Errorf("a slot at %d, of %d bytes, in an arena of %d", a.Offset, a.Bytes, p.Arena)
				}
				for j, b := range p.Slots[:i] {
					together := life[i].first <= life[j].last && life[j].first <= life[i].last
					if together && a.Offset < b.Offset+b.Bytes && b.Offset < a.Offset+a.Bytes {
						t.Errorf("slots %d and %d overlap", j, i)
					}
				}
			}
		})
	}
}

// In place or not.
func TestShare(t *testing.T) {
	arg := func(slot, offset int, stride ...int) kernel.Arg {
		return kernel.Arg{Slot: slot, DType: f32, Offset: offset, Stride: stride}
	}
	loop := func(extent []int, load, store kernel.Arg) *kernel.Fused {
		return &kernel.Fused{
			Code:  []kernel.Instr{{Kind: kernel.Load, DType: f32, Arg: 0}, {Kind: kernel.Store, DType: f32, Arg: 1}},
			Parts: []kernel.Part{{Outer: extent, Args: []kernel.Arg{load, store}}},
		}
	}
	arena := func(bytes int) kernel.Slot { return kernel.Slot{Kind: kernel.Arena, Bytes: bytes} }
	leaf, out := kernel.Slot{Kind: kernel.Leaf, Bytes: 24}, kernel.Slot{Kind: kernel.Output, Bytes: 24}
	half := arg(2, 0, 3, 1)
	half.DType = dtype.Int32
	double := arg(2, 0, 3, 1)
	double.DType = dtype.Float64
	matrix := []int{2, 3}
	for name, c := range map[string]struct {
		middle *kernel.Fused // from slot 1 to slot 2
		bytes  int           // of slot 2
		shared bool
	}{
		"the same points":              {loop(matrix, arg(1, 0, 3, 1), arg(2, 0, 3, 1)), 24, true},
		"another type of the size":     {loop(matrix, arg(1, 0, 3, 1), half), 24, true},
		"an axis of extent 1 repeated": {loop([]int{6, 1}, arg(1, 0, 1, 0), arg(2, 0, 1, 0)), 24, true},
		"transposed":                   {loop(matrix, arg(1, 0, 1, 2), arg(2, 0, 3, 1)), 24, false},
		"elsewhere":                    {loop([]int{5}, arg(1, 1, 1), arg(2, 0, 1)), 24, false},
		"larger elements":              {loop(matrix, arg(1, 0, 3, 1), double), 48, false},
		"a repeated element":           {loop(matrix, arg(1, 0, 0, 1), arg(2, 0, 3, 1)), 24, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := &kernel.Program{Slots: []kernel.Slot{leaf, arena(24), arena(c.bytes), out}, Steps: []kernel.Step{
				loop(matrix, arg(0, 0, 3, 1), arg(1, 0, 3, 1)), c.middle, loop(matrix, arg(2, 0, 3, 1), arg(3, 0, 3, 1)),
			}}
			share(p)
			a := p.Steps[1].(*kernel.Fused).Parts[0].Args
			if shared := a[0].Slot == a[1].Slot; shared != c.shared {
				t.Errorf("shared: %v", shared)
			}
		})
	}
	// Not if the operand is read later, nor if it is no one's but the caller's.
	p := &kernel.Program{Slots: []kernel.Slot{leaf, arena(24), out, arena(24)}, Steps: []kernel.Step{
		loop(matrix, arg(0, 0, 3, 1), arg(1, 0, 3, 1)), loop(matrix, arg(1, 0, 3, 1), arg(3, 0, 3, 1)),
		loop(matrix, arg(1, 0, 3, 1), arg(2, 0, 3, 1)), loop(matrix, arg(3, 0, 3, 1), arg(2, 0, 3, 1)),
	}}
	share(p)
	for i, s := range p.Steps {
		if a := s.(*kernel.Fused).Parts[0].Args; a[0].Slot == a[1].Slot {
			t.Errorf("step %d is done in place", i)
		}
	}
}

// unsized are steps that use no memory.
func unsized(after [][]int) *fuse.Result {
	r := &fuse.Result{After: after}
	for range after {
		r.Steps = append(r.Steps, &kernel.Fused{})
	}
	return r
}

// A step that frees more than it needs comes as soon as it may.
func TestScheduleFreesMemory(t *testing.T) {
	arg := func(slot int) kernel.Arg { return kernel.Arg{Slot: slot, DType: dtype.Float32, Stride: []int{1}} }
	// step is a kernel that reads some slots and writes one.
	step := func(write int, reads ...int) kernel.Step {
		k := &kernel.Fused{Parts: []kernel.Part{{Outer: []int{4}}}}
		for i, r := range append(reads, write) {
			k.Code = append(k.Code, kernel.Instr{Kind: kernel.Load, DType: dtype.Float32, Arg: i})
			k.Parts[0].Args = append(k.Parts[0].Args, arg(r))
		}
		k.Code[len(reads)].Kind = kernel.Store
		return k
	}
	r := &fuse.Result{
		Slots: []kernel.Slot{{Bytes: 100, Kind: kernel.Arena}, {Bytes: 100, Kind: kernel.Arena}, {Bytes: 10, Kind: kernel.Arena}, {Bytes: 100, Kind: kernel.Arena}},
		Steps: []kernel.Step{step(0), step(1, 0), step(3), step(2, 0, 1)},
		After: [][]int{nil, {0}, nil, {0, 1}},
	}
	if got, want := schedule(r, false), []int{0, 1, 3, 2}; !slices.Equal(got, want) {
		t.Errorf("the order is %v, want %v", got, want)
	}
	// Steps 2 and 3 are the last to use slot 0; neither alone frees anything.
	r = &fuse.Result{
		Slots: []kernel.Slot{{Bytes: 100, Kind: kernel.Arena}, {Bytes: 60, Kind: kernel.Arena}, {Bytes: 4, Kind: kernel.Arena}, {Bytes: 100, Kind: kernel.Arena}},
		Steps: []kernel.Step{step(0), step(3), step(1, 0), step(2, 0)},
		After: [][]int{nil, nil, {0}, {0}},
	}
	for pairs, want := range map[bool][]int{false: {0, 1, 2, 3}, true: {0, 2, 3, 1}} {
		if got := schedule(r, pairs); !slices.Equal(got, want) {
			t.Errorf("pairs %v: the order is %v, want %v", pairs, got, want)
		}
	}
}

func TestSchedule(t *testing.T) {
	for _, c := range []struct {
		after [][]int
		want  []int
	}{
		{nil, []int{}},
		{[][]int{nil, nil, nil}, []int{0, 1, 2}},
		{[][]int{{2}, nil, {1}}, []int{1, 2, 0}},
		// As soon as it may be, the first of the graph comes.
		{[][]int{{3}, nil, nil, {1}, nil}, []int{1, 2, 3, 0, 4}},
		// One predecessor that is named twice is waited for once.
		{[][]int{{1, 1}, nil}, []int{1, 0}},
	} {
		if got := schedule(unsized(c.after), false); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", c.after, got, c.want)
		}
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 100 {
		n := 1 + r.IntN(30)
		name := r.Perm(n) // position i of some order
		after := make([][]int, n)
		for i := range n {
			for range r.IntN(3) {
				if i > 0 {
					after[name[i]] = append(after[name[i]], name[r.IntN(i)])
				}
			}
		}
		at := make([]int, n)
		for i, s := range schedule(unsized(after), true) {
			at[s] = i
		}
		for i, l := range after {
			for _, b := range l {
				if at[b] >= at[i] {
					t.Fatalf("%v: step %d does not come after %d", after, i, b)
				}
			}
		}
	}
	defer func() {
		if r := recover(); r == nil {
			t.Error("a circle was put in order")
		}
	}()
	schedule(unsized([][]int{{1}, {2}, {0}}), true)
}

// The body of a loop is a program of its own, bound to one step of the sequences.
func TestBodies(t *testing.T) {
	carry, slice := ir.NewParam(0, f32, []int{4}), ir.NewParam(1, f32, []int{4})
	w := input("w", 4)
	next := op(ir.Add, op(ir.Mul, carry, w), slice)
	res := ir.CloseScan(ir.ScanSpec{
		Params: []*ir.Node{carry, slice}, Outs: []*ir.Node{next, op(ir.Exp, next)},
		Carries: []*ir.Node{input("h", 4)}, Inputs: []*ir.Node{input("xs", 7, 4)},
	})
	p := planned(t, greedy{null.New()}, res[0], res[1])
	if len(p.Steps) != 1 {
		t.Fatalf("%s", Print(p))
	}
	body := p.Steps[0].(*kernel.Library).Body
	if body == nil || body.Leaves != 3 || body.Outputs != 2 || len(body.Steps) != 1 || body.Arena != 0 {
		t.Errorf("%s", Print(p))
	}
	if s := Print(p); !strings.Contains(s, "program: 1 steps, 3 leaves, 2 outputs") || !strings.Contains(s, "      | program: 1 steps") {
		t.Errorf("printed as\n%s", s)
	}
}

// counting is a device that counts the programs that it holds.
type counting struct {
	*null.Device
	open int
	fail bool
}

type executable struct {
	device.Executable
	d *counting
}

func (d *counting) Compile(p *kernel.Program) (device.Executable, error) {
	if d.fail {
		return nil, fmt.Errorf("out of memory")
	}
	x, err := d.Device.Compile(p)
	d.open++
	return &executable{x, d}, err
}

func (x *executable) Close() { x.d.open-- }

func lookUp(c *Cache, outputs []*ir.Node) (*Compiled, error) {
	g, key, leaves := ir.Key(outputs)
	return c.Get(g, key, leaves, Precision{})
}

func TestCache(t *testing.T) {
	d := &counting{Device: null.New()}
	c := NewCache(d, 3)
	x := input("x", 4)
	get := func(outputs ...*ir.Node) *Compiled {
		t.Helper()
		k, err := lookUp(c, outputs)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	ops := []ir.Op{ir.Exp, ir.Neg, ir.Sqrt, ir.Tanh}
	first := get(op(ops[0], x))
	if get(op(ops[0], input("y", 4))) != first || c.Compiles != 1 {
		t.Error("an equal graph over another leaf is another program")
	}
	get(op(ops[1], x))
	get(op(ops[2], x))
	get(op(ops[0], x)) // used again, so that the second is the oldest
	get(op(ops[3], x))
	if c.Len() != 3 || d.open != 3 || c.Compiles != 4 || c.Recompiles != 0 {
		t.Errorf("%d programs, %d of them open, after %d compilations and %d recompilations", c.Len(), d.open, c.Compiles, c.Recompiles)
	}
	if get(op(ops[0], x)) != first || c.Compiles != 4 {
		t.Error("a program that was just used has gone")
	}
	if get(op(ops[1], x)); c.Compiles != 5 || d.open != 3 {
		t.Errorf("the program that was used least recently is still there: %d compilations, %d open", c.Compiles, d.open)
	}
	largest := 0
	chain := ir.MatMul(ir.MatMul(input("a", 32, 32), input("b", 32, 32)), input("c", 32, 32))
	for _, k := range []*Compiled{get(chain), get(op(ops[0], x)), get(op(ops[1], x))} {
		largest = max(largest, k.Program.Arena)
	}
	if largest != 32*32*4 || c.Arena() != largest {
		t.Errorf("the largest arena has %d bytes, the cache says %d", largest, c.Arena())
	}
	d.fail = true
	if _, err := lookUp(c, []*ir.Node{op(ir.Floor, x)}); err == nil || !strings.Contains(err.Error(), "a program of 1 kernels for null: out of memory") {
		t.Errorf("the device refused: %v", err)
	}
	if c.Len() != 3 {
		t.Errorf("%d programs are held after a refusal", c.Len())
	}
	c.Close()
	if c.Len() != 0 || d.open != 0 || c.Arena() != 0 {
		t.Errorf("after Close %d programs, %d open, %d bytes", c.Len(), d.open, c.Arena())
	}
}

// A graph that differs from an earlier one in its extents only is compiled again, and
// the first of them that changed is named.
func TestReason(t *testing.T) {
	c := NewCache(null.New(), 4)
	step := func(batch *ir.Node, w *ir.Node, axes ...int) {
		t.Helper()
		y := op(ir.Exp, ir.MatMul(batch, w))
		ir.Stamp(y, ir.Here())
		if _, err := lookUp(c, []*ir.Node{ir.Sum(y, axes)}); err != nil {
			t.Fatal(err)
		}
	}
	wantReason := func(n int, parts ...string) {
		t.Helper()
		if c.Recompiles != n {
			t.Errorf("%d recompilations, want %d", c.Recompiles, n)
		}
		for _, p := range parts {
			if !strings.Contains(c.Reason, p) {
				t.Errorf("the reason is %q, without %q", c.Reason, p)
			}
		}
	}
	w := input("w", 3, 5)
	step(input("batch", 8, 3), w, 0)
	wantReason(0)
	step(input("batch", 7, 3), w, 0)
	wantReason(1, "batch was [8 3] and is [7 3]")
	step(input("", 6, 3), w, 0) // without a name it is the operation and its place
	wantReason(2, "input", "was [7 3] and is [6 3]")
	step(input("batch", 6, 3), input("w", 3, 4), 0)
	wantReason(3, "w was [3 5] and is [3 4]")
	step(input("batch", 4, 3), input("w", 3, 4), 0)
	step(input("batch", 4, 3), input("w", 3, 4), 1) // of a square
	wantReason(5, "an attribute or the number of a leaf has changed")
	step(input("batch", 4, 3), input("w", 3, 4), 0) // it is still there
	wantReason(5)
	other := op(ir.Sqrt, input("batch", 8, 3))
	if _, err := lookUp(c, []*ir.Node{other}); err != nil {
		t.Fatal(err)
	}
	wantReason(5) // a new graph is no recompilation
}
