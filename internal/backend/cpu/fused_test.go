package cpu

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/backend/cpu/pool"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/philox"
)

// refValue is a value of the reference interpreter: floats in f, the rest in i.
type refValue struct {
	f float64
	i int64
}

func readNumber(mem []byte, d dtype.DType, i int) refValue {
	p := unsafe.Pointer(&mem[i*d.Size()])
	switch d {
	case dtype.Bool, dtype.Uint8:
		return refValue{i: int64(*(*uint8)(p))}
	case dtype.Int8:
		return refValue{i: int64(*(*int8)(p))}
	case dtype.Int32:
		return refValue{i: int64(*(*int32)(p))}
	case dtype.Int64:
		return refValue{i: *(*int64)(p)}
	case dtype.Float16:
		return refValue{f: float64(dtype.Float16ToFloat32(*(*uint16)(p)))}
	case dtype.BFloat16:
		return refValue{f: float64(dtype.BFloat16ToFloat32(*(*uint16)(p)))}
	case dtype.Float32:
		return refValue{f: float64(*(*float32)(p))}
	}
	return refValue{f: *(*float64)(p)}
}

func writeNumber(mem []byte, d dtype.DType, i int, v refValue) {
	p := unsafe.Pointer(&mem[i*d.Size()])
	switch d {
	case dtype.Bool, dtype.Uint8, dtype.Int8:
		*(*uint8)(p) = uint8(v.i)
	case dtype.Int32:
		*(*int32)(p) = int32(v.i)
	case dtype.Int64:
		*(*int64)(p) = v.i
	case dtype.Float16:
		*(*uint16)(p) = dtype.Float16FromFloat32(float32(v.f))
	case dtype.BFloat16:
		*(*uint16)(p) = dtype.BFloat16FromFloat32(float32(v.f))
	case dtype.Float32:
		*(*float32)(p) = float32(v.f)
	case dtype.Float64:
		*(*float64)(p) = v.f
	}
}

// rounded is v as the type stores it.
func rounded(d dtype.DType, v refValue) refValue {
	var b [8]byte
	writeNumber(b[:], d, 0, v)
	return readNumber(b[:], d, 0)
}

// reference evaluates f point by point, straight from the definition: loads see
// the memory as it was before.
func reference(f *kernel.Fused, slots [][]byte, lo, hi []int) [][]byte {
	out := make([][]byte, len(slots))
	for i := range slots {
		out[i] = bytes.Clone(slots[i])
	}
	for pi := range f.Parts {
		part := &f.Parts[pi]
		from, to := make([]int, len(part.Outer)), part.Outer
		if lo != nil {
			from, to = lo, hi
		}
		eachPoint(from, to, func(outer []int) {
			sums := map[int]refValue{}
			var eval func(i int, inner []int) refValue
			eval = func(i int, inner []int) refValue {
				in := &f.Code[i]
				at := func() int {
					a := &part.Args[in.Arg]
					e := a.Offset
					for j, p := range outer {
						e += a.Stride[j] * p
					}
					for j, p := range inner {
						e += a.Stride[len(outer)+j] * p
					}
					return e
				}
				switch in.Kind {
				case kernel.Imm:
					if in.DType.IsFloat() {
						return refValue{f: math.Float64frombits(in.Bits)}
					}
					return refValue{i: int64(in.Bits)}
				case kernel.Load:
					return readNumber(slots[part.Args[in.Arg].Slot], in.DType, at())
				case kernel.Index:
					return refValue{i: int64(at())}
				case kernel.Apply:
					var x [3]refValue
					for j, o := range in.Operands() {
						x[j] = eval(o, inner)
					}
					return rounded(in.DType, scalarApply(in, f.Code[in.X[0]].DType, x))
				case kernel.Reduce:
					if v, ok := sums[i]; ok {
						return v
					}
					var acc refValue
					first := true
					eachPoint(make([]int, len(part.Inner)), part.Inner, func(inner []int) {
						v := eval(in.X[0], inner)
						switch {
						case first:
							acc, first = v, false
						case in.Op == ir.ReduceSum:
							acc = refValue{acc.f + v.f, acc.i + v.i}
						case in.Op == ir.ReduceMax:
							acc = refValue{max(acc.f, v.f), max(acc.i, v.i)}
						default:
							acc = refValue{min(acc.f, v.f), min(acc.i, v.i)}
						}
					})
					sums[i] = rounded(in.DType, acc)
					return sums[i]
				case kernel.Store:
					writeNumber(out[part.Args[in.Arg].Slot], in.DType, at(), eval(in.X[0], inner))
				}
				return refValue{}
			}
			for i := range f.Code {
				if f.Code[i].Kind != kernel.Store {
					continue
				}
				if f.Code[f.Code[i].X[0]].Inner {
					eachPoint(make([]int, len(part.Inner)), part.Inner, func(inner []int) { eval(i, inner) })
				} else {
					eval(i, make([]int, len(part.Inner)))
				}
			}
		})
	}
	return out
}

func eachPoint(lo, hi []int, f func(p []int)) {
	p := append([]int(nil), lo...)
	var walk func(axis int)
	walk = func(axis int) {
		if axis == len(p) {
			f(p)
			return
		}
		for p[axis] = lo[axis]; p[axis] < hi[axis]; p[axis]++ {
			walk(axis + 1)
		}
	}
	walk(0)
}

// scalarApply is the meaning of an operation on numbers of type from.
func scalarApply(in *kernel.Instr, from dtype.DType, x [3]refValue) refValue {
	a, b := x[0], x[1]
	switch in.Op {
	case ir.Select:
		if a.i != 0 {
			return b
		}
		return x[2]
	case ir.RNGBits:
		return refValue{i: int64(int32(philox.Word(uint64(a.i), uint64(b.i), philox.NewKey(in.RNG.Seed, in.RNG.Site))))}
	case ir.Convert:
		switch {
		case in.DType == dtype.Bool:
			return refValue{i: btoi(a.f != 0 || a.i != 0)}
		case from.IsFloat() && in.DType.IsFloat():
			return rounded(dtype.Float32.Compute(), a)
		case from.IsFloat():
			return refValue{i: int64(a.f)}
		case in.DType.IsFloat():
			return refValue{f: float64(a.i)}
		}
		return a
	case ir.Bitcast:
		var buf [8]byte
		writeNumber(buf[:], from, 0, a)
		return readNumber(buf[:], in.DType, 0)
	}
	if from.IsFloat() {
		v := in.Op.Info().F64(a.f, b.f)
		if in.Op.IsCompare() {
			return refValue{i: int64(v)}
		}
		if from.Compute() == dtype.Float32 {
			v = float64(float32(v))
		}
		return refValue{f: v}
	}
	switch in.Op {
	case ir.Add:
		if from == dtype.Bool {
			return refValue{i: a.i | b.i}
		}
		return refValue{i: a.i + b.i}
	case ir.Sub:
		return refValue{i: a.i - b.i}
	case ir.Mul:
		return refValue{i: a.i * b.i}
	case ir.Div:
		if b.i == 0 {
			return refValue{}
		}
		return refValue{i: a.i / b.i}
	case ir.Rem:
		if b.i == 0 {
			return refValue{}
		}
		return refValue{i: a.i % b.i}
	case ir.And:
		return refValue{i: a.i & b.i}
	case ir.Or:
		return refValue{i: a.i | b.i}
	case ir.Xor:
		return refValue{i: a.i ^ b.i}
	case ir.Max:
		return refValue{i: max(a.i, b.i)}
	case ir.Min:
		return refValue{i: min(a.i, b.i)}
	case ir.Neg:
		return refValue{i: -a.i}
	case ir.Abs:
		return refValue{i: max(a.i, -a.i)}
	case ir.Not:
		if from == dtype.Bool {
			return refValue{i: a.i ^ 1}
		}
		return refValue{i: ^a.i}
	case ir.Eq:
		return refValue{i: btoi(a.i == b.i)}
	case ir.Ne:
		return refValue{i: btoi(a.i != b.i)}
	case ir.Lt:
		return refValue{i: btoi(a.i < b.i)}
	case ir.Le:
		return refValue{i: btoi(a.i <= b.i)}
	}
	panic("reference: no " + in.Op.String())
}

func btoi(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// maker builds random kernels whose values are small integers or halves of them,
// so that every order of summation gives the same bits.
type maker struct {
	*rand.Rand
	f     kernel.Fused
	slots [][]byte
}

func (m *maker) pick(l ...int) int { return l[m.IntN(len(l))] }

// layout makes an argument over the axes given by their extents in a fresh slot,
// with a random order of axes in memory, gaps and reversals. Axes not in vary are
// broadcast.
func (m *maker) layout(d dtype.DType, ext []int, vary func(axis int) bool) kernel.Arg {
	a := kernel.Arg{DType: d, Stride: make([]int, len(ext)), Slot: len(m.slots)}
	order := m.Perm(len(ext))
	if m.IntN(3) != 0 { // mostly row-major, or with two axes exchanged
		for i := range order {
			order[i] = len(ext) - 1 - i
		}
		if len(ext) > 1 && m.IntN(3) == 0 {
			i := m.IntN(len(ext) - 1)
			order[i], order[i+1] = order[i+1], order[i]
		}
	}
	stride := m.pick(1, 1, 1, 1, 2)
	for _, axis := range order {
		if !vary(axis) {
			continue
		}
		a.Stride[axis] = stride
		if m.IntN(8) == 0 && ext[axis] > 0 {
			a.Stride[axis] = -stride
			a.Offset += stride * (ext[axis] - 1)
		}
		stride *= max(1, ext[axis])
		if m.IntN(8) == 0 {
			stride += m.IntN(3)
		}
	}
	m.slots = append(m.slots, m.memory(d, stride+2))
	return a
}

func (m *maker) memory(d dtype.DType, n int) []byte {
	mem := make([]byte, n*d.Size())
	for i := range n {
		v := refValue{f: float64(m.IntN(9) - 4), i: int64(m.IntN(9) - 4)}
		if d == dtype.Bool {
			v.i &= 1
		}
		writeNumber(mem, d, i, v)
	}
	return mem
}

func (m *maker) add(in kernel.Instr) int {
	for _, x := range in.Operands() {
		if in.Kind == kernel.Apply && m.f.Code[x].Inner {
			in.Inner = true
		}
	}
	m.f.Code = append(m.f.Code, in)
	return len(m.f.Code) - 1
}

var floatOps = []ir.Op{ir.Add, ir.Sub, ir.Max, ir.Min, ir.Neg, ir.Abs, ir.Eq, ir.Lt, ir.Le, ir.Ne, ir.Floor}
var intOps = []ir.Op{ir.Add, ir.Sub, ir.Mul, ir.Max, ir.Min, ir.Neg, ir.Abs, ir.Eq, ir.Lt, ir.Div, ir.Rem, ir.And, ir.Xor, ir.Not}
var boolOps = []ir.Op{ir.And, ir.Or, ir.Xor, ir.Not, ir.Add}

// grow appends a random operation over the values in pool and returns its refValue.
func (m *maker) grow(values []int, only func(i int) bool) int {
	var l []int
	for _, v := range values {
		if only(v) {
			l = append(l, v)
		}
	}
	if len(l) == 0 {
		return -1
	}
	x := l[m.IntN(len(l))]
	d := m.f.Code[x].DType
	var same, bools []int
	for _, v := range l {
		if m.f.Code[v].DType == d {
			same = append(same, v)
		}
		if m.f.Code[v].DType == dtype.Bool {
			bools = append(bools, v)
		}
	}
	y := same[m.IntN(len(same))]
	if len(bools) > 0 && m.IntN(4) == 0 {
		return m.add(kernel.Instr{Kind: kernel.Apply, Op: ir.Select, DType: d, X: [3]int{bools[m.IntN(len(bools))], x, y}})
	}
	if m.IntN(5) == 0 {
		to := []dtype.DType{dtype.Float32, dtype.Int32, d, dtype.Bool, dtype.BFloat16, dtype.Int64}[m.IntN(6)]
		return m.add(kernel.Instr{Kind: kernel.Apply, Op: ir.Convert, DType: to, X: [3]int{x}})
	}
	ops := intOps
	switch {
	case d == dtype.Bool:
		ops = boolOps
	case d.IsFloat():
		ops = floatOps
	}
	op := ops[m.IntN(len(ops))]
	if d == dtype.Uint8 && (op == ir.Abs || op == ir.Neg) {
		op = ir.Add
	}
	if op.IsCompare() {
		d = dtype.Bool
	}
	return m.add(kernel.Instr{Kind: kernel.Apply, Op: op, DType: d, X: [3]int{x, y}})
}

func randomKernel(seed uint64) *maker {
	m := &maker{Rand: rand.New(rand.NewPCG(seed, 1))}
	reduces := m.IntN(2) == 0
	nOuter, nInner := m.IntN(4), 0
	if reduces {
		nInner = 1 + m.IntN(2)
	}
	types := []dtype.DType{dtype.Float32, dtype.Float32, dtype.Float32, dtype.Float64, dtype.Float16, dtype.BFloat16, dtype.Int32, dtype.Int64, dtype.Uint8, dtype.Int8, dtype.Bool}
	extents := func(n int, inner bool) []int {
		e := make([]int, n)
		total := 1
		for i := range e {
			e[i] = m.pick(1, 2, 3, 4, 5, 17)
			if m.IntN(40) == 0 {
				e[i] = 0
			}
			if total < 50 && m.IntN(4) == 0 {
				e[i] = m.pick(33, 64, 130, 300)
			}
			if n == 1 && m.IntN(4) == 0 {
				e[i] = m.pick(600, 2500, 4500, 9000)
			}
			total *= e[i]
		}
		return e
	}
	parts := 1
	if m.IntN(4) == 0 {
		parts = 2
	}
	var exts [][2][]int
	for range parts {
		o := extents(nOuter, false)
		var in []int
		if reduces {
			in = extents(nInner, true)
			total := 1
			for _, n := range append(append([]int(nil), o...), in...) {
				total *= max(1, n)
			}
			if total > 200_000 {
				in = make([]int, nInner)
				for i := range in {
					in[i] = 2
				}
			}
		}
		exts = append(exts, [2][]int{o, in})
		m.f.Parts = append(m.f.Parts, kernel.Part{Outer: o, Inner: in})
	}
	// arg adds one argument to all parts.
	arg := func(d dtype.DType, inner, broadcast bool) int {
		mask := m.Uint64()
		if m.IntN(2) == 0 {
			mask = ^uint64(0)
		}
		if !broadcast {
			mask = ^uint64(0)
		}
		for p := range m.f.Parts {
			ext := append(append([]int(nil), exts[p][0]...), exts[p][1]...)
			a := m.layout(d, ext, func(axis int) bool { return (axis < nOuter || inner) && mask>>axis&1 != 0 })
			m.f.Parts[p].Args = append(m.f.Parts[p].Args, a)
		}
		return len(m.f.Parts[0].Args) - 1
	}
	any := func(int) bool { return true }
	outerOnly := func(i int) bool { return !m.f.Code[i].Inner }
	innerOnly := func(i int) bool { return m.f.Code[i].Inner }

	var values []int
	d := types[m.IntN(len(types))]
	for range 1 + m.IntN(3) {
		if m.IntN(4) == 0 {
			d = types[m.IntN(len(types))]
		}
		inner := reduces && m.IntN(3) != 0
		values = append(values, m.add(kernel.Instr{Kind: kernel.Load, DType: d, Arg: arg(d, inner, true), Inner: inner}))
	}
	bits := ir.IntBits(d, 2)
	if d.IsFloat() {
		bits = ir.FloatBits(d, 2)
	} else if d == dtype.Bool {
		bits = 1
	}
	values = append(values, m.add(kernel.Instr{Kind: kernel.Imm, DType: d, Bits: bits}))
	if m.IntN(4) == 0 {
		for p := range m.f.Parts {
			s := make([]int, nOuter+nInner)
			for i := range s {
				s[i] = m.IntN(5) - 2
			}
			m.f.Parts[p].Args = append(m.f.Parts[p].Args, kernel.Arg{Slot: -1, Offset: m.IntN(5), Stride: s})
		}
		values = append(values, m.add(kernel.Instr{Kind: kernel.Index, DType: dtype.Int64, Arg: len(m.f.Parts[0].Args) - 1, Inner: reduces}))
	}
	for range 1 + m.IntN(4) {
		values = append(values, m.grow(values, any))
	}
	if reduces {
		values = append(values, m.add(kernel.Instr{Kind: kernel.Load, DType: d, Arg: arg(d, true, true), Inner: true}))
		for range 1 + m.IntN(2) {
			var l []int
			for _, v := range values {
				if innerOnly(v) {
					l = append(l, v)
				}
			}
			x := l[m.IntN(len(l))]
			op := []ir.Op{ir.ReduceSum, ir.ReduceMax, ir.ReduceMin}[m.IntN(3)]
			dx := m.f.Code[x].DType
			if dx == dtype.Bool && op == ir.ReduceSum {
				op = ir.ReduceMax
			}
			// An identity as the result would only test the reference.
			for p := range exts {
				for _, n := range exts[p][1] {
					if n == 0 {
						op = ir.ReduceSum
						if dx == dtype.Bool {
							op = ir.ReduceMax
						}
					}
				}
			}
			values = append(values, m.add(kernel.Instr{Kind: kernel.Reduce, Op: op, DType: dx, X: [3]int{x}}))
			// What follows in float32 stays exact only while sums are small.
			for range m.IntN(3) {
				values = append(values, m.grow(values, any))
			}
		}
		for range m.IntN(2) {
			if v := m.grow(values, outerOnly); v >= 0 {
				values = append(values, v)
			}
		}
	}
	// Store the last value and some others.
	for i, v := range values {
		if i < len(values)-1 && m.IntN(4) != 0 {
			continue
		}
		in := &m.f.Code[v]
		if in.Kind == kernel.Load && m.IntN(2) == 0 {
			continue
		}
		m.add(kernel.Instr{Kind: kernel.Store, DType: in.DType, X: [3]int{v}, Arg: arg(in.DType, in.Inner, false)})
	}
	// Some stores go to the slot of a load of the same type, in place.
	for i := range m.f.Code {
		st := &m.f.Code[i]
		if st.Kind != kernel.Store || m.IntN(3) != 0 {
			continue
		}
		for j := range m.f.Code {
			ld := &m.f.Code[j]
			if ld.Kind == kernel.Load && ld.DType == st.DType && ld.Inner == m.f.Code[st.X[0]].Inner && m.injective(ld) && !m.shared(ld.Arg, i) {
				st.Arg = ld.Arg
				break
			}
		}
	}
	m.f.Name = fmt.Sprintf("random %d", seed)
	return m
}

// injective tells whether a load reads every point of its space from a place of
// its own, so that it can be stored to.
func (m *maker) injective(ld *kernel.Instr) bool {
	for p := range m.f.Parts {
		part := &m.f.Parts[p]
		for axis, s := range part.Args[ld.Arg].Stride {
			if s == 0 && (axis < len(part.Outer) || ld.Inner) {
				return false
			}
		}
	}
	return true
}

// shared tells whether another store goes to an argument.
func (m *maker) shared(arg, store int) bool {
	for i := range m.f.Code {
		if m.f.Code[i].Kind == kernel.Store && i != store && m.f.Code[i].Arg == arg {
			return true
		}
	}
	return false
}

func pointers(slots [][]byte) []unsafe.Pointer {
	p := make([]unsafe.Pointer, len(slots))
	for i := range slots {
		p[i] = unsafe.Pointer(&slots[i][0])
	}
	return p
}

func clones(slots [][]byte) [][]byte {
	c := make([][]byte, len(slots))
	for i := range slots {
		c[i] = bytes.Clone(slots[i])
	}
	return c
}

func describe(m *maker) string {
	var b bytes.Buffer
	for i, in := range m.f.Code {
		name := [...]string{"load", "imm", "index", "apply", "reduce", "store"}[in.Kind]
		op := ""
		if in.Kind == kernel.Apply || in.Kind == kernel.Reduce {
			op = in.Op.String()
		}
		fmt.Fprintf(&b, "  %d: %s %s %v x=%v arg=%d inner=%v\n", i, name, op, in.DType, in.Operands(), in.Arg, in.Inner)
	}
	for _, p := range m.f.Parts {
		fmt.Fprintf(&b, "  outer %v inner %v\n", p.Outer, p.Inner)
		for i, a := range p.Args {
			fmt.Fprintf(&b, "    arg %d: %+v\n", i, a)
		}
	}
	return b.String()
}

func compareSlots(t *testing.T, what string, m *maker, got, want [][]byte) {
	t.Helper()
	for s := range got {
		if bytes.Equal(got[s], want[s]) {
			continue
		}
		var d dtype.DType
		for p := range m.f.Parts {
			for _, a := range m.f.Parts[p].Args {
				if a.Slot == s {
					d = a.DType
				}
			}
		}
		for i := range len(got[s]) / d.Size() {
			g, w := readNumber(got[s], d, i), readNumber(want[s], d, i)
			if g != w && !(g.f != g.f && w.f != w.f) {
				t.Fatalf("%s, %s: slot %d (%v) element %d is %v, want %v\n%s", m.f.Name, what, s, d, i, g, w, describe(m))
			}
		}
	}
}

// Random kernels give what the definition says, with one worker and with two, as
// a whole and box by box.
func TestFusedRandom(t *testing.T) {
	one, two := pool.New(1), pool.New(2)
	defer two.Close()
	n := 3000
	if testing.Short() {
		n = 500
	}
	for seed := range uint64(n) {
		m := randomKernel(seed)
		k, err := compileFused(&m.f, nil, one)
		if err != nil {
			t.Fatalf("%v\n%s", err, describe(m))
		}
		want := reference(&m.f, m.slots, nil, nil)
		got := clones(m.slots)
		k.run(pointers(got))
		compareSlots(t, "one worker", m, got, want)

		k, err = compileFused(&m.f, nil, two)
		if err != nil {
			t.Fatal(err)
		}
		for i := range k.regions { // go parallel however small it is
			if n := len(k.regions[i]); n > 0 && k.regions[i][n-1].part < 0 {
				k.regions[i] = k.regions[i][:n-1]
			}
		}
		again := clones(m.slots)
		k.run(pointers(again))
		for s := range got {
			if !bytes.Equal(got[s], again[s]) {
				t.Fatalf("%s: two workers give other bits than one\n%s", m.f.Name, describe(m))
			}
		}

		if len(m.f.Parts) > 1 {
			continue
		}
		outer := m.f.Parts[0].Outer
		lo, hi := make([]int, len(outer)), make([]int, len(outer))
		for i, n := range outer {
			lo[i] = m.IntN(n + 1)
			hi[i] = lo[i] + m.IntN(n-lo[i]+1)
		}
		want = reference(&m.f, m.slots, lo, hi)
		got = clones(m.slots)
		k.runBox(0, pointers(got), lo, hi)
		compareSlots(t, fmt.Sprintf("box %v %v", lo, hi), m, got, want)
	}
}
