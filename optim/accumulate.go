package optim

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/ir"
)

// Gradients can be added up over several losses before one update is made of them, as
// calling backward several times before step does in PyTorch. Where a batch is cut into
// parts and each part's mean loss is given the number of its examples as its weight, the
// update is that of the whole batch, up to rounding, in the memory that a part takes and
// once more that of the parameters:
//
//	for batch := range loader.Batches(ctx) { // of 16 examples
//		loss := nn.CrossEntropy(net.Forward(batch.X), batch.Y)
//		if err := opt.Accumulate(loss, float64(batch.Size)); err != nil {
//			return err
//		}
//		if opt.Accumulated() == 64 {
//			if _, err := opt.Apply(); err != nil {
//				return err
//			}
//		}
//	}
//
// The one exception is a layer that looks at the batch as a whole: batch norm takes
// means and deviations over a part, not over all, and updates its running statistics
// once for each part. GroupNorm and LayerNorm do not.

// gathering is what has been accumulated since the last update.
type gathering struct {
	loss   *sinter.Variable // weighted sum; nil before the first use
	weight float64          // sum of the weights
	adding float64          // weight of the loss that is being added
	unused map[*param]bool  // that no loss so far depends on
	traces []*stepTrace     // of updates, the latest used first
}

// Accumulate evaluates loss, a float scalar, and the tensors in also, and adds the
// loss's gradients, weight times, to those that [Optimizer.Apply] makes an update of.
// The sums are float32 at least. A loss or gradients that are not finite are noticed by
// Apply; other errors are those of [Optimizer.Step], and nothing has been added then.
func (o *Optimizer) Accumulate(loss *sinter.Tensor, weight float64, also ...*sinter.Tensor) (err error) {
	defer ir.Recover(&err)
	if err := o.weigh(weight); err != nil {
		return err
	}
	r, err := o.gather(loss)
	if err != nil {
		return err
	}
	if err := o.precision.EvalAssign(r.assigned, append([]*sinter.Tensor{loss}, also...)...); err != nil {
		return fmt.Errorf("optim: step %d: %w", o.steps, err)
	}
	o.gathered(r)
	return nil
}

// weigh notes the weight of the next loss to add.
func (o *Optimizer) weigh(weight float64) error {
	if !(weight > 0) || math.IsInf(weight, 0) {
		return fmt.Errorf("optim: a loss of weight %v; weights are positive, as the number of examples is", weight)
	}
	o.gathering.adding = weight
	return nil
}

// gather adds the gradients of a loss, and their addition to the sums, to the graph.
func (o *Optimizer) gather(loss *sinter.Tensor) (*record, error) {
	if err := o.trainable(loss); err != nil {
		return nil, err
	}
	g := &o.gathering
	if g.loss == nil {
		g.loss = sinter.NewVariable("gradients.loss", sinter.Scalar(0))
	}
	r := &record{scalars: newScalars(o)}
	grads := o.differentiate(r, o.scaler.apply(loss))
	if len(r.used) == 0 {
		return nil, errUnrelated
	}
	weight := sinter.RuntimeScalarFunc(sinter.Float32, func() float64 { return g.adding })
	add := func(v *sinter.Variable, x *sinter.Tensor) {
		d := v.DType()
		v.Assign(v.Value().Add(x.To(d).Mul(weight.To(d))))
		r.assigned = append(r.assigned, v)
	}
	add(g.loss, loss)
	for i, p := range r.used {
		if p.sum == nil {
			v := p.variable
			p.sum = sinter.NewVariable(v.Name+".grad", sinter.Zeros(v.DType().Compute(), v.Shape()...))
		}
		add(p.sum, grads[i])
	}
	return r, nil
}

var (
	errUnrelated = errors.New("optim: the loss depends on none of the optimizer's variables")
	errPending   = errors.New("optim: Step after Accumulate; Apply makes an update of what has been accumulated, ZeroGrad forgets it")
)

// gathered counts a loss whose gradients have been added.
func (o *Optimizer) gathered(r *record) {
	g := &o.gathering
	if g.weight == 0 {
		g.unused = make(map[*param]bool)
		for _, p := range o.params {
			g.unused[p] = true
		}
	}
	g.weight += g.adding
	for _, p := range r.used {
		delete(g.unused, p)
	}
}

// Accumulated is the sum of the weights of the losses since the last update.
func (o *Optimizer) Accumulated() float64 { return o.gathering.weight }

// Apply makes one update of what [Optimizer.Accumulate] has added up, divided by the
// sum of the weights, and returns the mean loss, weighted as the gradients are. Clipping
// and the check for what is not finite are applied to the whole, and a schedule counts
// one step. The sums are zero afterwards, whether there was an update or not. Errors are
// those of [Optimizer.Step].
func (o *Optimizer) Apply() (loss *sinter.Tensor, err error) {
	defer ir.Recover(&err)
	g := &o.gathering
	if g.weight == 0 {
		return nil, errors.New("optim: Apply without gradients; Accumulate adds some")
	}
	t := o.applying()
	out, err := t.step.Call()
	if err != nil {
		return nil, fmt.Errorf("optim: step %d: %w", o.steps, err)
	}
	g.weight = 0
	return out[0], o.concluded(t.record, out[0], out[1:])
}

// applying is the compiled update of the parameters whose gradients have been
// accumulated.
func (o *Optimizer) applying() *stepTrace {
	g := &o.gathering
	var used []*param
	var unused []*sinter.Variable
	for _, p := range o.params {
		switch {
		case !g.unused[p]:
			used = append(used, p)
		case p.variable.Trainable:
			unused = append(unused, p.variable)
		}
	}
	for i, t := range g.traces {
		if t.record == nil || !slices.Equal(t.record.used, used) {
			continue
		}
		g.traces = slices.Delete(g.traces, i, i+1)
		if t.holds(o) {
			t.record.unused = unused
			g.traces = slices.Insert(g.traces, 0, t)
			return t
		}
		break
	}
	t := &stepTrace{}
	t.step = sinter.CompileAssign(func([]*sinter.Tensor) ([]*sinter.Variable, []*sinter.Tensor) {
		r := &record{used: used, unused: unused, scalars: newScalars(o)}
		share := sinter.RuntimeScalarFunc(sinter.Float32, func() float64 { return 1 / g.weight })
		grads := make([]*sinter.Tensor, len(used))
		for i, p := range used {
			grads[i] = p.sum.Value()
		}
		loss := g.loss.Value().Mul(share)
		o.change(r, loss, grads, share)
		for _, p := range used {
			p.sum.Assign(sinter.Zeros(p.sum.DType(), p.sum.Shape()...))
			r.assigned = append(r.assigned, p.sum)
		}
		g.loss.Assign(sinter.Scalar(0))
		r.assigned = append(r.assigned, g.loss)
		t.note(o, r)
		return r.assigned, append([]*sinter.Tensor{loss}, r.flags...)
	})
	g.traces = slices.Insert(g.traces, 0, t)
	if len(g.traces) > maxUpdates {
		g.traces = g.traces[:maxUpdates]
	}
	return t
}

// ZeroGrad forgets what has been accumulated since the last update.
func (o *Optimizer) ZeroGrad() error {
	g := &o.gathering
	if g.weight == 0 {
		return nil
	}
	zero := func(v *sinter.Variable) error { return v.SetBytes(make([]byte, v.Len()*v.DType().Size())) }
	for _, p := range o.params {
		if g.unused[p] {
			continue
		}
		if err := zero(p.sum); err != nil {
			return err
		}
	}
	g.weight = 0
	return zero(g.loss)
}
