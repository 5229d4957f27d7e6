package sinter

import (
	"fmt"
	"runtime"
	"slices"

	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/ir"
)

// Variable is a tensor that can be assigned: a parameter, a running mean, a moment of
// an optimizer. It owns its memory for life; an assignment overwrites it.
//
// An assignment is lazy like everything else. It is carried out together with other
// values by [EvalAssign], an optimizer's step, or the evaluation of a tensor that
// [Tensor.AlsoAssign] has tied it to. Of several assignments before that, only the
// last one is carried out.
type Variable struct {
	Name      string // for messages and files; models name it after its place
	Trainable bool   // whether optimizers update it

	dtype   DType
	shape   []int
	storage *ir.Storage
	leaf    *Tensor  // what the memory holds now
	value   *Tensor  // leaf, or what has been assigned and not yet carried out
	pending *ir.Node // the assignment of value
}

// NewVariable is a trainable variable with the given initial value, which is
// evaluated now. It panics if that fails.
func NewVariable(name string, init *Tensor) *Variable {
	v := &Variable{Name: name, Trainable: true, dtype: init.DType(), shape: init.Shape()}
	data := init.mustBytes()
	v.storage = newStorage(&memory{variable: v}, name)
	evaluation.Lock()
	defer evaluation.Unlock()
	if err := v.put(data); err != nil {
		panic(fmt.Errorf("sinter: making variable %s: %w", name, err))
	}
	v.reset()
	return v
}

// put makes data the content of the variable's memory, which is on the device in use then.
func (v *Variable) put(data []byte) error {
	e, err := inUse()
	if err != nil {
		return err
	}
	return memoryOf(v.storage).put(e, v.storage, data)
}

// reset makes the memory's content the value; what was to be assigned is not.
func (v *Variable) reset() {
	if v.pending != nil {
		v.pending.Withdraw()
	}
	v.leaf = &Tensor{ir.NewInput(v.dtype, v.shape, v.storage)}
	v.value, v.pending = v.leaf, nil
}

// Value is the variable's tensor: what was assigned last, else what its memory holds.
// It is the same tensor until the next assignment, so that [Grad] finds it.
func (v *Variable) Value() *Tensor {
	v.renew()
	return v.value
}

// renew makes another leaf if a compiled function has overwritten the memory.
func (v *Variable) renew() {
	if v.pending == nil && v.leaf.node.Version != v.storage.Version {
		v.reset()
	}
}

// Shape is the extents of the axes.
func (v *Variable) Shape() []int { return slices.Clone(v.shape) }

// DType is the type of the elements.
func (v *Variable) DType() DType { return v.dtype }

// Len is the number of elements.
func (v *Variable) Len() int { return v.leaf.Len() }

// Assign gives the variable a new value of the same shape and type.
func (v *Variable) Assign(t *Tensor) {
	if t.node.DType != v.dtype || !slices.Equal(t.node.Shape, v.shape) {
		ir.Fail("Assign", "%s is %v%v and cannot take a value of %v%v", v.label(), v.dtype, v.shape, t.node.DType, t.node.Shape)
	}
	if v.pending != nil {
		v.pending.Withdraw() // what it assigned may still be an operand of t
	}
	v.renew()
	if t == v.leaf {
		v.value, v.pending = v.leaf, nil
		return
	}
	v.value = t
	v.pending = ir.New(ir.Assign, ir.Target{Storage: v.storage}, v.leaf.node, t.node)
	if v.pending.WithSite(t.node); v.pending.Anonymous() { // a leaf has no place
		ir.Stamp(v.pending, ir.Here())
	}
}

func (v *Variable) label() string {
	if v.Name == "" {
		return "a variable"
	}
	return "variable " + v.Name
}

// AlsoAssign is t, with the addition that evaluating it for the first time assigns
// value to v. From now on value is the value of v.
func (t *Tensor) AlsoAssign(v *Variable, value *Tensor) *Tensor {
	v.Assign(value)
	if v.pending == nil {
		return t
	}
	n := *t.node
	n.Effects = slices.DeleteFunc(slices.Clone(n.Effects), func(e *ir.Node) bool { return e.Op == ir.OpInvalid })
	n.Effects = append(n.Effects, v.pending)
	return &Tensor{&n}
}

// EvalAssign evaluates the tensors and carries out the assignments of the variables,
// all in one program. If it fails, the assignments are dropped.
func EvalAssign(vars []*Variable, ts ...*Tensor) error {
	return FP32.EvalAssign(vars, ts...)
}

// done is called when an assignment has been carried out. Nodes that it is tied to may
// be evaluated again, as part of something else; the assignment is not repeated.
func (v *Variable) done(assign *ir.Node) {
	x := assign.In[1]
	assign.Withdraw()
	v.storage.Version++
	if x.Op != ir.Input {
		x.Materialize(v.storage)
	}
	if x.Storage == v.storage {
		v.leaf, v.pending = v.value, nil
		return
	}
	v.reset() // x has memory of its own
}

// SetBytes overwrites the variable with raw elements as [FromBytes] takes them.
func (v *Variable) SetBytes(data []byte) error {
	if want := v.Len() * v.dtype.Size(); len(data) != want {
		return fmt.Errorf("sinter: %s is %v%v and takes %d bytes, got %d", v.label(), v.dtype, v.shape, want, len(data))
	}
	evaluation.Lock()
	defer evaluation.Unlock()
	if err := v.put(data); err != nil {
		return fmt.Errorf("sinter: setting %s: %w", v.label(), err)
	}
	v.storage.Version++
	v.reset()
	return nil
}

// Bytes is a copy of the variable's elements as they lie in memory, with what has
// been assigned. It panics with what EvalAssign would return as an error.
func (v *Variable) Bytes() []byte {
	if v.pending != nil {
		if err := EvalAssign([]*Variable{v}); err != nil {
			panic(err)
		}
	}
	return v.Value().mustBytes()
}

// SnapshotVariables copies the elements of variables as they are now, with what has been
// assigned, to host memory of their sizes: dst[i] is that of vars[i]. It may return before
// all is copied, and wait returns after, with an error if dst is not what the variables
// were: until then dst must not be used. Meanwhile
// programs run and the variables can be assigned; what is about to overwrite one that has
// not been copied waits for that. A checkpoint is made of it.
func SnapshotVariables(vars []*Variable, dst [][]byte) (wait func() error, err error) {
	var pending []*Variable
	for i, v := range vars {
		if want := v.Len() * v.dtype.Size(); len(dst[i]) != want {
			return nil, fmt.Errorf("sinter: %s is %v%v and has %d bytes, not %d", v.label(), v.dtype, v.shape, want, len(dst[i]))
		}
		if v.pending != nil {
			pending = append(pending, v)
		}
	}
	if len(pending) > 0 {
		if err := EvalAssign(pending); err != nil {
			return nil, err
		}
	}
	evaluation.Lock()
	defer evaluation.Unlock()
	e, err := inUse()
	if err != nil {
		return nil, err
	}
	src := make([]device.Buffer, len(vars))
	for i, v := range vars {
		if src[i], err = memoryOf(v.storage).bound(e, v.storage); err != nil {
			return nil, fmt.Errorf("sinter: reading %s: %w", v.label(), err)
		}
	}
	later, ok := e.dev.(device.Snapshotter)
	if !ok {
		for i, v := range vars {
			if err := e.download(dst[i], src[i]); err != nil {
				return nil, fmt.Errorf("sinter: reading %s: %w", v.label(), err)
			}
		}
		return func() error { return nil }, nil
	}
	copied, err := later.Snapshot(dst, src)
	if err != nil {
		return nil, fmt.Errorf("sinter: reading variables: %w", err)
	}
	if !e.info.HostMemory {
		for _, d := range dst {
			e.downloaded.Add(int64(len(d)))
		}
	}
	e.snapshots.Go(func() {
		_ = copied()            // what it returns is for the caller
		runtime.KeepAlive(vars) // and with them the memory that is read
	})
	return func() error {
		if err := copied(); err != nil {
			return fmt.Errorf("sinter: reading variables: %w", err)
		}
		return nil
	}, nil
}
