package sinter

import (
	"fmt"
	"slices"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/plan"
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
	// float32, so that no scaling of the loss is needed. Attention is computed on
	// operands of bfloat16 where the device has kernels for it, which GPUs do and the
	// processor does not; its scores, softmax and sums are float32.
	BF16
	// FP16 is BF16 with float16, which has three bits more of precision and a range
	// that ends at 65504, beyond which there is infinity. Small gradients get lost in
	// it unless the loss is scaled; see optim.LossScaling.
	FP16
	// TF32 allows the operands of products to be rounded to ten bits of mantissa, which is
	// several times as fast on NVIDIA's cards since Ampere, where cuBLASLt and cuDNN are found.
	// Everything stays float32 in memory, and all else is computed in it. Devices without
	// that compute in float32: see [Precision.Computed].
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

// Computed is the precision that the device in use computes with where p is asked for; see
// [Target.Computed].
func (p Precision) Computed() Precision {
	t, err := CurrentTarget()
	if err != nil {
		t = &Target{} // nothing is computed at all
	}
	return t.Computed(p)
}

// ofProducts is what a program is planned with.
func (p Precision) ofProducts() plan.Precision {
	return plan.Precision{Low: precisions[p].low, TF32: p == TF32}
}

// Fast tells whether the device in use has units that multiply matrices in this precision,
// and products are computed in it.
// Where it has none, numbers of 16 bits take less memory but products are as fast as in
// float32.
func (p Precision) Fast() bool {
	e, err := inUse()
	return err == nil && slices.Contains(e.info.Matrix, p.String()) && p.Computed() == p
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
