package sinter

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/plan"
)

// Compiled is a function of tensors whose program is kept, so that a call neither
// records a graph nor looks for a program: it binds the inputs and runs. It is made by
// [Compile] or [CompileAssign].
type Compiled struct {
	f         func(in []*Tensor) ([]*Variable, []*Tensor)
	precision Precision

	mu     sync.Mutex // held during a call, so that none overwrites what is being traced
	traces []*trace   // the latest used first
}

// maxTraces is how many combinations of shapes and types a Compiled keeps.
const maxTraces = 32

// Compile makes f a compiled function. At the first call with inputs of given shapes
// and types, f is called with tensors that stand for them, and what it records is
// compiled as a whole; f is not called again for such inputs. So f must be a function
// of its inputs and of variables:
//
//   - Go code in f runs when it is traced, once: a branch is taken for good, a number
//     that was drawn or read there stays. [RuntimeScalarFunc] is a number that is asked
//     for at every call.
//   - Variables are read anew at every call. Assignments that are tied to results
//     ([Tensor.AlsoAssign], the running statistics and counters of layers in training)
//     are carried out at every call; so dropout advances as it does without Compile.
//     Other assignments have to be handed over, see [CompileAssign].
//   - The values of the inputs are not known in f. Evaluating what depends on them is
//     an error.
//
// After a change of mode (nn.Train, nn.Eval) or of anything else that f's Go code looks
// at, make another Compiled, or call [Compiled.Reset].
//
// A [Precision] other than float32 has a method of this name.
func Compile(f func(in []*Tensor) []*Tensor) *Compiled { return FP32.Compile(f) }

// CompileAssign is [Compile] for a function that also assigns to the variables that it
// returns, as [EvalAssign] takes them.
func CompileAssign(f func(in []*Tensor) ([]*Variable, []*Tensor)) *Compiled {
	return FP32.CompileAssign(f)
}

// Reset forgets what has been traced: the next call traces anew.
func (c *Compiled) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.traces = nil
}

// Call computes f of the inputs, which are evaluated first if they have not been. Its
// errors are those of [Eval], and a [*BuildError] if f cannot be built.
func (c *Compiled) Call(in ...*Tensor) ([]*Tensor, error) {
	var out []*Tensor
	err := c.call(&out, in, nil)
	return out, err
}

// CallInto is [Compiled.Call] that reuses the memory of results of an earlier call: out
// is what that call returned, or nil at first. The tensors in it take the new values;
// what was built on the old ones and is not evaluated can no longer be.
func (c *Compiled) CallInto(out []*Tensor, in ...*Tensor) ([]*Tensor, error) {
	err := c.call(&out, in, nil)
	return out, err
}

// CallNumbers is [Compiled.Call] of a function whose first results, as many as there are
// numbers, have one element each: these are read, and the others returned. Where there are
// no others, a call with inputs of shapes that it has seen allocates no memory.
func (c *Compiled) CallNumbers(numbers []float64, in ...*Tensor) (rest []*Tensor, err error) {
	err = c.call(&rest, in, numbers)
	return rest, err
}

// recovered makes an error of what tracing panics with.
func (c *Compiled) recovered(err *error) {
	if r := recover(); r != nil {
		e, ok := r.(error)
		if !ok || !errors.Is(e, errPlaceholder) && !errors.As(e, new(*BuildError)) {
			panic(r)
		}
		*err = e
	}
}

func (c *Compiled) call(out *[]*Tensor, in []*Tensor, numbers []float64) (err error) {
	defer c.recovered(&err)
	for i, x := range in {
		if known(x) && memoryOf(x.node.Storage).variable != nil {
			// The program may overwrite the variable while it reads the input.
			in = slices.Clone(in)
			in[i] = x.Detach()
		}
	}
	for _, x := range in {
		if !known(x) {
			if err := Eval(slices.Clone(in)...); err != nil { // the caller's slice stays where it is
				return err
			}
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.find(in)
	if t == nil {
		if t, err = c.trace(in); err != nil {
			return err
		}
	}
	if numbers != nil {
		return t.read(numbers, out, in)
	}
	return t.call(out, in)
}

// call runs the program, after what it waits for.
func (t *trace) call(out *[]*Tensor, in []*Tensor) error {
	for {
		wait, err := t.run(out, in)
		if len(wait) == 0 {
			return err
		}
		if err := EvalAssign(wait); err != nil { // the program reads what is in memory
			return err
		}
	}
}

// read is call of a program whose first results are numbers.
func (t *trace) read(numbers []float64, rest *[]*Tensor, in []*Tensor) error {
	n := len(numbers)
	if n > len(t.results) {
		ir.Fail("CallNumbers", "%d numbers are wanted of %d results", n, len(t.results))
	}
	for i, r := range t.results[:n] {
		if r.node.Elements() != 1 {
			ir.Fail("CallNumbers", "result %d is to be a number, it has shape %v", i, r.node.Shape)
		}
	}
	if t.kept == nil {
		t.kept = make([]*Tensor, len(t.results))
	}
	t.hidden = n
	clear(t.kept[n:])
	defer func() {
		t.hidden = 0
		clear(t.kept[n:])
	}()
	if err := t.call(&t.kept, in); err != nil {
		return err
	}
	word := rawBytes(t.word[:])
	for i := range numbers {
		x := t.kept[i].node
		if err := download(x, word[:x.DType.Size()]); err != nil {
			return err
		}
		numbers[i] = decode(word, x.DType)
	}
	if len(t.kept) > n {
		*rest = slices.Clone(t.kept[n:])
	}
	return nil
}

// known tells whether the value of a tensor is.
func known(t *Tensor) bool { return t.node.Op == ir.Input && len(t.node.Effects) == 0 }

// trace is a program for inputs of certain shapes and types.
type trace struct {
	inputs   []*ir.Node // that stand for the inputs
	graph    *ir.Graph
	key      []byte
	leaves   []*ir.Node
	products plan.Precision
	bind     []binding // by leaf
	results  []result
	program  *plan.Compiled
	on       *engine // whose program it is
	drafts   drafts  // of plans

	in, out []device.Buffer // kept from call to call

	// For calls that read their first results: these results, how many of them nobody
	// else sees during a call, and room for one.
	kept   []*Tensor
	hidden int
	word   [1]uint64
}

// binding is where a leaf's memory comes from at a call.
type binding struct {
	input   int // number of the input, or −1
	storage *ir.Storage
	version uint64 // that it must have, for what is neither input nor variable
}

// result is what a tensor that f returned is at a call.
type result struct {
	output int      // number of the program's output, or −1
	input  int      // else the input that was handed through, or −1
	node   *ir.Node // else a leaf that exists
}

// find is the trace for the inputs, nil if there is none.
func (c *Compiled) find(in []*Tensor) *trace {
	for i, t := range c.traces {
		if alike(t.inputs, in) {
			if i > 0 {
				copy(c.traces[1:i+1], c.traces[:i])
				c.traces[0] = t
			}
			return t
		}
	}
	return nil
}

// trace calls f with placeholders and keeps what it records.
func (c *Compiled) trace(in []*Tensor) (*trace, error) {
	if err := c.precision.Check(); err != nil {
		return nil, err
	}
	t := &trace{inputs: make([]*ir.Node, len(in)), products: c.precision.ofProducts()}
	stand := make([]*Tensor, len(in))
	for i, x := range in {
		s := newStorage(&memory{placeholder: true}, fmt.Sprintf("input %d", i))
		t.inputs[i] = ir.NewInput(x.node.DType, slices.Clone(x.node.Shape), s)
		stand[i] = &Tensor{t.inputs[i]}
	}
	vars, results := c.f(stand)

	var outputs []*ir.Node
	for _, x := range results {
		n := x.node
		r := result{output: -1, input: slices.Index(t.inputs, n), node: n}
		if n.Op != ir.Input || len(n.Effects) > 0 {
			if r.output = slices.Index(outputs, n); r.output < 0 {
				r.output = len(outputs)
				outputs = append(outputs, n)
			}
		}
		t.results = append(t.results, r)
	}
	for _, v := range vars {
		if v.pending != nil && !slices.Contains(outputs, v.pending) {
			outputs = append(outputs, v.pending)
		}
	}
	evaluation.Lock()
	defer evaluation.Unlock()
	t.graph, t.key, t.leaves = ir.Key(outputs)
	// The assignments are the trace's from now on; the variables are free of them.
	for _, n := range t.graph.Outputs {
		if n.Op == ir.Assign {
			if v := target(n); v.pending == n {
				v.value, v.pending = v.leaf, nil
			}
		}
	}
	if err := t.check(); err != nil {
		return nil, err
	}
	t.in = make([]device.Buffer, len(t.leaves))
	c.traces = slices.Insert(c.traces, 0, t)
	if len(c.traces) > maxTraces {
		c.traces = c.traces[:maxTraces]
	}
	return t, nil
}

// target is the variable that an assignment writes.
func target(assign *ir.Node) *Variable {
	return memoryOf(assign.Attr.(ir.Target).Storage).variable
}

// check finds where each leaf comes from, and refuses what cannot be repeated.
func (t *trace) check() error {
	if err := upToDate(t.graph); err != nil {
		return err
	}
	for _, l := range t.leaves {
		b := binding{input: slices.Index(t.inputs, l), storage: l.Storage, version: l.Storage.Version}
		m := memoryOf(l.Storage)
		switch {
		case b.input >= 0:
		case m.placeholder:
			return fmt.Errorf("sinter: reading %s: %w", l.Storage.Name, errPlaceholder)
		case m.variable != nil && m.variable.pending != nil:
			return fmt.Errorf("sinter: the compiled function reads %s, which has been given a value that it does not carry out; evaluate the assignment before, tie it to a result (AlsoAssign) or hand the variable over (CompileAssign)", m.variable.label())
		}
		t.bind = append(t.bind, b)
	}
	return nil
}

// errPlaceholder is evaluating what stands for the input of a compiled function.
var errPlaceholder = errors.New("the value of an input of a compiled function is not known while the function is traced")

// waiting lists the variables of the trace that wait for an assignment.
func (t *trace) waiting() (wait []*Variable) {
	for i := range t.bind {
		if v := memoryOf(t.bind[i].storage).variable; v != nil && v.pending != nil {
			wait = append(wait, v)
		}
	}
	return wait
}

// run executes the program, unless there are variables that wait for an assignment: it
// returns those then.
func (t *trace) run(results *[]*Tensor, in []*Tensor) ([]*Variable, error) {
	evaluation.Lock()
	defer evaluation.Unlock()
	if wait := t.waiting(); len(wait) > 0 {
		return wait, nil
	}
	return nil, t.execute(results, in)
}

// execute binds the leaves and runs the program. Nothing has changed if it fails.
func (t *trace) execute(results *[]*Tensor, in []*Tensor) error {
	e, err := inUse()
	if err != nil {
		return err
	}
	if t.on != e || !e.programs.Use(t.program) {
		observe(t.graph.Outputs, t.leaves, t.products)
		p, err := e.program(t.graph, t.key, t.leaves, t.products)
		if err != nil {
			return err
		}
		t.program, t.on = p, e
	}
	few, err := e.smallsOf(t.program, t.leaves)
	if err != nil {
		return err
	}
	defer func() { clear(t.in); clear(t.out) }()
	for i := range t.bind {
		b := &t.bind[i]
		s := b.storage
		if b.input >= 0 {
			n := in[b.input].node
			if err := fresh(n, n); err != nil {
				return err
			}
			s = n.Storage
		}
		m := memoryOf(s)
		if b.input < 0 && m.variable == nil && s.Version != b.version {
			return fresh(t.leaves[i], t.leaves[i])
		}
		if m.scalar != nil {
			m.renew()
		}
		buffer, err := few.bind(e, i, s)
		if err != nil {
			return fmt.Errorf("sinter: reading %s: %w", s.Name, err)
		}
		t.in[i] = buffer
	}
	if err := few.upload(e); err != nil {
		return fmt.Errorf("sinter: %w", err)
	}
	old := *results
	undo := func() {
		for k, b := range t.out {
			if t.reusable(old, k, in) != b {
				e.release(b, byResult)
			}
		}
	}
	t.out = t.out[:0]
	for _, n := range t.graph.Outputs {
		if n.Op == ir.Assign {
			continue
		}
		b := t.reusable(old, len(t.out), in)
		if b == nil {
			var err error
			if b, err = e.allocate(n.Bytes(), byResult); err != nil {
				undo()
				return noMemory(n, err)
			}
		}
		t.out = append(t.out, b)
	}
	if err := e.run(t.program, t.in, t.out); err != nil {
		undo()
		return err
	}
	for _, n := range t.graph.Outputs {
		if n.Op == ir.Assign {
			n.Attr.(ir.Target).Storage.Version++
		}
	}
	if len(old) != len(t.results) {
		*results = make([]*Tensor, len(t.results))
	}
	t.deliver(*results, in)
	return nil
}

// place is the number of the first result that is the program's output k.
func (t *trace) place(k int) int {
	return slices.IndexFunc(t.results, func(r result) bool { return r.output == k })
}

// reusable is the memory of the result of an earlier call that output k may be
// written to, or nil.
func (t *trace) reusable(old []*Tensor, k int, in []*Tensor) device.Buffer {
	if len(old) != len(t.results) {
		return nil
	}
	j := t.place(k)
	if old[j] == nil || !known(old[j]) {
		return nil
	}
	s := old[j].node.Storage
	m := memoryOf(s)
	if !m.result || m.on != t.on || m.buffer.Bytes() != t.graph.Outputs[k].Bytes() {
		return nil
	}
	for _, x := range in {
		if x.node.Storage == s {
			return nil
		}
	}
	return m.buffer
}

// deliver puts the results of a call in their places.
func (t *trace) deliver(out, in []*Tensor) {
	for j, r := range t.results {
		switch {
		case r.input >= 0:
			out[j] = in[r.input]
			continue
		case r.output < 0:
			out[j] = &Tensor{ir.NewInput(r.node.DType, r.node.Shape, r.node.Storage)}
			continue
		}
		var s *ir.Storage
		if first := t.place(r.output); first < j {
			s = out[first].node.Storage
		} else if out[j] != nil && known(out[j]) && memoryOf(out[j].node.Storage).buffer == t.out[r.output] {
			s = out[j].node.Storage // its old content is gone
			s.Version++
			if j < t.hidden { // nothing was built on it
				out[j].node.Version = s.Version
				continue
			}
		} else {
			m := &memory{result: true}
			s = newStorage(m, "")
			m.own(s, t.on, t.out[r.output], byResult)
		}
		n := ir.NewInput(r.node.DType, r.node.Shape, s)
		if out[j] == nil {
			out[j] = new(Tensor)
		}
		out[j].node = n
	}
}
