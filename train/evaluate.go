package train

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/nn"
)

// Evaluate measures the mean loss and the metrics of model on a dataset, with the
// model in evaluation mode, in which it is left.
func (t *Trainer) Evaluate(ctx context.Context, model nn.Module, set data.Dataset) (loss float64, metrics []Value, err error) {
	return t.measure(ctx, model, set, func(data.Batch, *sinter.Tensor) {})
}

// measure is Evaluate; visit sees each batch with the model's output.
func (t *Trainer) measure(ctx context.Context, model nn.Module, set data.Dataset, visit func(data.Batch, *sinter.Tensor)) (loss float64, metrics []Value, err error) {
	defer ir.Recover(&err)
	if t.Loss == nil {
		return 0, nil, errors.New("train: the Trainer has no Loss")
	}
	reset(t.Metrics)
	var sum float64
	var count int
	loader := t.ordered(set)
	loader.SkipBad = t.Loader.SkipBad
	err = t.forward(ctx, model, loader, func(in []*sinter.Tensor) []*sinter.Tensor {
		loss, pred := t.measured(model, in)
		return []*sinter.Tensor{loss, pred}
	}, func(batch data.Batch, out []*sinter.Tensor) error {
		l, pred := out[0], out[1]
		sum += l.Float() * float64(batch.Size)
		count += batch.Size
		for _, m := range t.Metrics {
			m.Update(pred, batch.Y)
		}
		visit(batch, pred)
		return nil
	})
	if err != nil {
		return 0, nil, fmt.Errorf("evaluating: %w", err)
	}
	if bad := loader.Bad(); len(bad) > 0 {
		t.warn(fmt.Sprintf("evaluated without %d of %d examples; the first: %v", loader.BadCount(), set.Len(), bad[0]))
	}
	return sum / float64(count), values(t.Metrics), nil
}

// Predict gives the model's output for every example of a dataset, in order,
// along the first axis.
func (t *Trainer) Predict(ctx context.Context, model nn.Module, set data.Dataset) (out *sinter.Tensor, err error) {
	defer ir.Recover(&err)
	var rows []float32
	var shape []int
	err = t.forward(ctx, model, t.ordered(set), func(in []*sinter.Tensor) []*sinter.Tensor {
		return []*sinter.Tensor{model.Forward(in[0])}
	}, func(_ data.Batch, out []*sinter.Tensor) error {
		pred := out[0]
		rows = append(rows, pred.Floats()...)
		if last := shape; last != nil && !slices.Equal(last[1:], pred.Shape()[1:]) {
			return fmt.Errorf("the outputs of two batches have the shapes %v and %v, which cannot be put together", last, pred.Shape())
		}
		shape = pred.Shape()
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("predicting: %w", err)
	}
	return sinter.FromFloats(rows, append([]int{set.Len()}, shape[1:]...)...), nil
}

// ordered deals a dataset out in its own order.
func (t *Trainer) ordered(set data.Dataset) *data.Loader {
	l := &data.Loader{Batch: t.batch(), Workers: t.Loader.Workers, Prefetch: t.Loader.Prefetch, Collate: t.Loader.Collate}
	if set != nil {
		l.Dataset = set
	}
	if pad, ok := l.Collate.(data.Pad); ok {
		pad.Bucket = 0
		l.Collate = pad
	}
	return l
}

// forward hands what f makes of each batch's inputs to visit, evaluated.
func (t *Trainer) forward(ctx context.Context, model nn.Module, loader *data.Loader, f func(in []*sinter.Tensor) []*sinter.Tensor, visit func(batch data.Batch, out []*sinter.Tensor) error) error {
	if loader.Dataset == nil || loader.Dataset.Len() == 0 {
		return errors.New("there are no examples")
	}
	nn.Eval(model)
	compute := func(in ...*sinter.Tensor) ([]*sinter.Tensor, error) {
		out := f(in)
		return out, t.Precision.Eval(out...)
	}
	if t.Compile {
		compute = t.Precision.Compile(f).Call
	}
	for batch := range loader.Batches(ctx) {
		out, err := compute(inputs(batch)...)
		if err == nil {
			err = visit(batch, out)
		}
		if err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return loader.Err()
}
