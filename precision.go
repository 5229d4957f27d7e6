package sinter

import (
	"fmt"
	"slices"

	"github.com/sinter-dl/sinter/internal/dtype"
)

// Precision says what the products of float32 tensors, matrix products and
// convolutions, are computed with when a program is evaluated. It is no property of
// tensors: every tensor and variable keeps its type, and a model needs no change.
type Precision uint8

const (
	// FP32 is float32 throughout, which [Eval] computes with.
	FP32 Precision = iota
	// BF16 rounds the operands of products to bfloat16 and adds up in float32. What
	// is computed and then read by a product is stored as bfloat16, half as large.
	// Variables, losses, softmax, statistics of norms and gradients of variables stay
	// float32, so that no scaling of the loss is needed. Composites for which the
	// device has a kernel of its own compute as that kernel does.
	BF16
	// FP16 is BF16 with float16, which has three bits more of precision and a range
	// that ends at 65504, beyond which there is infinity. Small gradients get lost in
	// it unless the loss is scaled; see optim.LossScaling.
	FP16
	// TF32 allows the operands of products to be rounded to ten bits of mantissa on devices
	// with units for that. No backend does so yet: see [Precision.Computed].
	TF32
)

var precisions = [...]struct {
	name, long string
	low        DType // of the operands of products; 0: theirs
}{
	FP32: {"fp32", "float32", dtype.Invalid},
	BF16: {"bf16", "bfloat16", BFloat16},
	FP16: {"fp16", "float16", Float16},
	TF32: {"tf32", "tensorfloat32", dtype.Invalid},
}

// ParsePrecision is the inverse of String. It also knows float32, bfloat16, float16
// and tensorfloat32.
func ParsePrecision(name string) (Precision, error) {
	for i, p := range precisions {
		if name == p.name || name == p.long {
			return Precision(i), nil
		}
	}
	return FP32, fmt.Errorf("sinter: unknown precision %q; there are fp32, bf16, fp16 and tf32", name)
}

// Computed is the precision that the device in use computes with where p is asked for.
// It is p, except that TF32 is computed in float32: programs do not carry it to the
// backend of the devices that have units for it yet.
func (p Precision) Computed() Precision {
	if p == TF32 {
		return FP32
	}
	return p
}

// Fast tells whether the device in use has units that multiply matrices in this precision.
// Where it has none, numbers of 16 bits take less memory but products are as fast as in
// float32.
func (p Precision) Fast() bool {
	e, err := inUse()
	return err == nil && slices.Contains(e.info.Matrix, p.String())
}

func (p Precision) String() string {
	if int(p) >= len(precisions) {
		return fmt.Sprintf("precision(%d)", uint8(p))
	}
	return precisions[p].name
}

// Check says what is wrong with a Precision that is not among the constants.
func (p Precision) Check() error {
	if int(p) >= len(precisions) {
		return fmt.Errorf("sinter: there is no %v", p)
	}
	return nil
}

// Eval is [Eval] in this precision.
func (p Precision) Eval(ts ...*Tensor) error { return p.EvalAssign(nil, ts...) }

// EvalAssign is [EvalAssign] in this precision.
func (p Precision) EvalAssign(vars []*Variable, ts ...*Tensor) error {
	if err := p.Check(); err != nil {
		return err
	}
	return evaluate(nodes(ts), vars, p)
}

// Compile is [Compile] in this precision.
func (p Precision) Compile(f func(in []*Tensor) []*Tensor) *Compiled {
	return p.CompileAssign(func(in []*Tensor) ([]*Variable, []*Tensor) { return nil, f(in) })
}

// CompileAssign is [CompileAssign] in this precision.
func (p Precision) CompileAssign(f func(in []*Tensor) ([]*Variable, []*Tensor)) *Compiled {
	return &Compiled{f: f, precision: p}
}
