package data

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/sinter-dl/sinter"
)

// CacheDevice copies all examples of ds to the memory of the device in use. A Loader of
// what it returns gathers its batches there: only the numbers of the examples are uploaded
// at every step. Order, batches and results are those of ds.
//
// It takes the bytes of all examples. If the device has not so much memory that reserve
// bytes are left besides, for what is to compute on it, or if ds is nothing to be kept so,
// the error is ErrNoCache with the reason. Another error is that of an example that cannot
// be read.
func CacheDevice(ctx context.Context, ds Dataset, reserve int64) (Dataset, error) {
	fields := ds.Fields()
	if _, ok := ds.(EpochDataset); ok && !steady(ds) {
		return nil, fmt.Errorf("%w on the device: the examples are drawn anew for every epoch", ErrNoCache)
	}
	if _, ok := ds.(BatchDataset); ok {
		return nil, fmt.Errorf("%w on the device: batches are changed as a whole by the host", ErrNoCache)
	}
	size := 0
	for _, f := range fields {
		if f.Ragged {
			return nil, fmt.Errorf("%w on the device: examples differ in the length of their %q", ErrNoCache, f.Name)
		}
		size += f.Bytes()
	}
	d, err := sinter.Device()
	if err != nil {
		return nil, err
	}
	free := d.Free
	if free < 0 {
		free = d.Total
	}
	if bytes := int64(size) * int64(ds.Len()); free > 0 && bytes+reserve > free {
		return nil, fmt.Errorf("%w on the device: %d examples of %d bytes take %d MiB and the computation %d MiB, and %s has %d MiB free",
			ErrNoCache, ds.Len(), size, bytes>>20, reserve>>20, d.Name, free>>20)
	}
	c := &deviceCache{Dataset: ds}
	if err := c.load(ctx, fields, size); err != nil {
		return nil, err
	}
	return c, nil
}

// deviceCache is a Dataset whose fields are tensors as well, with an axis of examples in
// front.
type deviceCache struct {
	Dataset
	fields []*sinter.Tensor
}

// Of is the dataset that was copied.
func (c *deviceCache) Of() Dataset { return c.Dataset }

// pieceBytes is about how much of the examples is read before it is uploaded.
var pieceBytes = 16 << 20

// load reads the examples and uploads them a piece at a time: the host never holds all of
// them.
func (c *deviceCache) load(ctx context.Context, fields []Field, size int) error {
	up := make([]*sinter.Uploader, len(fields))
	rows := max(1, pieceBytes/max(1, size)/sinter.UploadRows) * sinter.UploadRows
	piece := make([][]byte, len(fields))
	for f, field := range fields {
		var err error
		if up[f], err = sinter.NewUploader(field.DType, slices.Concat([]int{c.Len()}, field.Shape)...); err != nil {
			return err
		}
		piece[f] = make([]byte, min(rows, c.Len())*field.Bytes())
	}
	for from := 0; from < c.Len(); from += rows {
		n := min(rows, c.Len()-from)
		if err := c.read(ctx, fields, from, n, piece); err != nil {
			return err
		}
		for f, field := range fields {
			if field.Bytes() == 0 {
				continue
			}
			if err := up[f].Write(from, piece[f][:n*field.Bytes()]); err != nil {
				return err
			}
		}
	}
	for _, u := range up {
		c.fields = append(c.fields, u.Tensor())
	}
	return nil
}

// read reads n examples, several side by side.
func (c *deviceCache) read(ctx context.Context, fields []Field, from, n int, piece [][]byte) error {
	workers := max(1, min(runtime.GOMAXPROCS(0), n))
	errs := make([]error, workers) // each of the first example of its worker
	at := make([]int, workers)
	var done sync.WaitGroup
	for w := range workers {
		done.Go(func() {
			dst := make([][]byte, len(fields))
			for k := w; k < n; k += workers {
				at[w] = k
				if ctx.Err() != nil {
					errs[w] = context.Cause(ctx)
					return
				}
				for f := range fields {
					size := fields[f].Bytes()
					dst[f] = piece[f][k*size : (k+1)*size : (k+1)*size]
				}
				if err := c.Read(from+k, dst); err != nil {
					errs[w] = &ExampleError{Index: int64(from + k), Err: err}
					return
				}
			}
		})
	}
	done.Wait()
	var first error
	for w, before := 0, n; w < workers; w++ {
		if errs[w] != nil && at[w] < before {
			first, before = errs[w], at[w]
		}
	}
	return first
}

// gatherer makes batches of a deviceCache.
type gatherer struct {
	gather *sinter.Compiled
	index  *sinter.HostBuffer
	in     []*sinter.Tensor // the fields, and the numbers of the examples
	out    []*sinter.Tensor
}

func newGatherer(c *deviceCache, rows int) *gatherer {
	n := len(c.fields)
	return &gatherer{
		index: sinter.NewHostBuffer(sinter.Int64, rows),
		in:    append(slices.Clone(c.fields), nil),
		gather: sinter.Compile(func(in []*sinter.Tensor) []*sinter.Tensor {
			out := make([]*sinter.Tensor, n)
			for f := range out {
				out[f] = in[f].IndexSelect(0, in[n])
			}
			return out
		}),
	}
}

// batch is that of the examples at positions at…at+n−1 of the order.
func (g *gatherer) batch(order []int, at, n int) (Batch, error) {
	g.index.Reuse()
	numbers := g.index.Int64s()
	for k := range n {
		numbers[k] = int64(at + k)
		if order != nil {
			numbers[k] = int64(order[at+k])
		}
	}
	g.in[len(g.in)-1] = g.index.Tensor(n)
	out, err := g.gather.CallInto(g.out, g.in...)
	if err != nil {
		return Batch{}, err
	}
	g.out = out
	b := Batch{Size: n, Fields: slices.Clone(out), X: out[0]}
	if len(out) > 1 {
		b.Y = out[1]
	}
	return b, nil
}

// gathered is Batches for examples that are on the device.
func (l *Loader) gathered(ctx context.Context, ds *deviceCache, begin LoaderState, yield func(Batch) bool) {
	order, err := l.sample(ds, begin.Epoch)
	if err != nil {
		l.err = err
		return
	}
	l.running = true
	defer func() { l.running = false }()
	n := l.drawn()
	for at, index := begin.Examples, begin.Batches; ; index++ {
		if l.err = cancelled(ctx, begin.Epoch); l.err != nil {
			return
		}
		size := min(l.Batch, n-at)
		if size <= 0 || size < l.Batch && l.DropLast {
			l.state = l.next
			return
		}
		b, err := l.gatherer.batch(order, at, size)
		if err != nil {
			l.err = fmt.Errorf("data: gathering batch %d of epoch %d: %w", index, begin.Epoch, err)
			return
		}
		b.Index = index
		at += size
		l.state = LoaderState{Epoch: begin.Epoch, Batches: index + 1, Examples: at}
		if !yield(b) {
			return
		}
	}
}
