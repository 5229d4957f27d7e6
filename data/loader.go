package data

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/sinter-dl/sinter"
)

// Batch is some examples stacked along a new first axis. Its tensors are views
// of a buffer that the Loader fills again: use them within the body of the loop
// that received the batch, and evaluate there what is computed from them.
type Batch struct {
	X, Y   *sinter.Tensor   // fields 0 and 1; Y is nil if there is only one field
	Fields []*sinter.Tensor // all fields
	Size   int              // number of examples
	Index  int              // number of the batch within its epoch, from 0
}

// Loader deals a dataset out in batches. Fill in the fields, then range over
// Batches once per epoch:
//
//	loader := data.Loader{Dataset: ds, Batch: 64, Shuffle: true, Seed: 1}
//	for range epochs {
//		for batch := range loader.Batches(ctx) {
//			…
//		}
//		if err := loader.Err(); err != nil {
//			return err
//		}
//	}
//
// While the body of the loop works on one batch, a goroutine fills the next
// ones into a ring of buffers that are made once. The order of the examples
// depends on the seed and the number of the epoch alone. A Loader serves one
// loop at a time; its fields must not be changed once it has been used.
type Loader struct {
	Dataset  Dataset
	Batch    int    // examples per batch
	Shuffle  bool   // a new order every epoch; else the dataset's own
	Seed     uint64 // of the order
	DropLast bool   // leave out a last batch that is not full
	Prefetch int    // batches made ahead of the one in use; 0 means 2

	epoch, skip int
	err         error
	running     bool
	ring        []*slot
	order       []int
}

// slot is one buffer of the ring: a whole batch.
type slot struct {
	buffers []*sinter.HostBuffer // per field
	bytes   [][]byte             // of the buffers
	stride  []int                // bytes of one example, per field
	example [][]byte             // where the next example goes; kept to save an allocation
	size    int                  // examples in it
	index   int                  // of the batch
	err     error
}

// Err tells why the last loop over Batches ended early: the context was
// cancelled, an example could not be read, or the Loader's fields make no
// sense. It is nil if all batches were handed out or the loop was left by break.
func (l *Loader) Err() error { return l.err }

// Epoch is the number, from 0, of the epoch that the next loop over Batches
// will go through.
func (l *Loader) Epoch() int { return l.epoch }

// Seek makes the next loop over Batches begin with the given batch of the given
// epoch, so that a run that was interrupted can go on where it stopped. Loops
// after it go through the epochs that follow, from their beginning.
func (l *Loader) Seek(epoch, batch int) { l.epoch, l.skip = epoch, batch }

// Steps is the number of batches of one epoch.
func (l *Loader) Steps() int {
	if l.Dataset == nil || l.Batch <= 0 {
		return 0
	}
	n := l.Dataset.Len()
	if l.DropLast {
		return n / l.Batch
	}
	return (n + l.Batch - 1) / l.Batch
}

// Batches gives the batches of one epoch. Each loop over it is the next epoch,
// also if the one before was left early. See Err for what ended it.
func (l *Loader) Batches(ctx context.Context) iter.Seq[Batch] {
	return func(yield func(Batch) bool) {
		if l.running {
			panic("data: a Loader's Batches are ranged over by two loops at once; use two Loaders")
		}
		if l.err = l.prepare(); l.err != nil {
			return
		}
		l.running = true
		ds, epoch, first := AtEpoch(l.Dataset, l.epoch), l.epoch, l.skip
		l.shuffle(epoch)
		l.epoch, l.skip = epoch+1, 0

		free := make(chan *slot, len(l.ring))
		full := make(chan *slot, len(l.ring))
		for _, s := range l.ring {
			free <- s
		}
		// The goroutine below ends before the loop does: no example is read, and
		// no buffer written, once the caller has got control back.
		fillCtx, stop := context.WithCancel(ctx)
		defer func() {
			stop()
			for range full {
			}
			l.running = false
		}()
		go func() {
			defer close(full)
			l.produce(fillCtx, ds, epoch, first, free, full)
		}()

		for {
			// Asked first, since a select between a cancelled context and a ready
			// batch would choose at random.
			if l.err = cancelled(ctx, epoch); l.err != nil {
				return
			}
			var s *slot
			select {
			case s = <-full:
			case <-ctx.Done():
				continue
			}
			if s == nil {
				// Out of batches, or the producer saw the cancellation first.
				l.err = cancelled(ctx, epoch)
				return
			}
			if s.err != nil {
				l.err = s.err
				return
			}
			more := yield(s.batch())
			// From here on an evaluation of the batch's tensors is an error.
			for _, b := range s.buffers {
				b.Reuse()
			}
			if !more {
				return
			}
			free <- s
		}
	}
}

func cancelled(ctx context.Context, epoch int) error {
	if ctx.Err() == nil {
		return nil
	}
	return fmt.Errorf("data: stopped in epoch %d: %w", epoch, context.Cause(ctx))
}

// produce fills free slots with the batches of an epoch until there are no more
// of either.
func (l *Loader) produce(ctx context.Context, ds Dataset, epoch, first int, free <-chan *slot, full chan<- *slot) {
	for i := first; i < l.Steps(); i++ {
		select {
		case <-ctx.Done():
			return
		case s := <-free:
			s.err = l.fill(ctx, s, ds, epoch, i)
			full <- s // never blocks: full has room for the whole ring
			if s.err != nil {
				return
			}
		}
	}
}

func (l *Loader) fill(ctx context.Context, s *slot, ds Dataset, epoch, index int) error {
	begin := index * l.Batch
	end := min(begin+l.Batch, ds.Len())
	s.index, s.size = index, end-begin
	for k := range s.size {
		i := begin + k
		if l.Shuffle {
			i = l.order[i]
		}
		for f, b := range s.bytes {
			s.example[f] = b[k*s.stride[f] : (k+1)*s.stride[f] : (k+1)*s.stride[f]]
		}
		if err := ds.Read(i, s.example); err != nil {
			return fmt.Errorf("data: reading example %d (epoch %d, batch %d): %w", i, epoch, index, err)
		}
		if k%64 == 0 {
			if err := cancelled(ctx, epoch); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *slot) batch() Batch {
	b := Batch{Size: s.size, Index: s.index, Fields: make([]*sinter.Tensor, len(s.buffers))}
	for f, buf := range s.buffers {
		b.Fields[f] = buf.Tensor(s.size)
	}
	b.X = b.Fields[0]
	if len(b.Fields) > 1 {
		b.Y = b.Fields[1]
	}
	return b
}

// prepare checks the Loader's fields and makes its buffers, the first time.
func (l *Loader) prepare() error {
	switch {
	case l.Dataset == nil:
		return fmt.Errorf("data: the Loader has no Dataset")
	case l.Batch <= 0:
		return fmt.Errorf("data: the Loader's Batch is %d, expected at least 1", l.Batch)
	case l.Prefetch < 0:
		return fmt.Errorf("data: the Loader's Prefetch is %d, expected 0 or more", l.Prefetch)
	case l.epoch < 0 || l.skip < 0:
		return fmt.Errorf("data: the Loader cannot begin at epoch %d, batch %d", l.epoch, l.skip)
	case l.Dataset.Len() == 0:
		return fmt.Errorf("data: the Loader's Dataset has no examples")
	case l.Steps() == 0:
		return fmt.Errorf("data: %d examples do not fill one batch of %d and DropLast is set; use a smaller batch", l.Dataset.Len(), l.Batch)
	}
	if l.ring != nil {
		return nil
	}
	fields := l.Dataset.Fields()
	if len(fields) == 0 {
		return fmt.Errorf("data: the Loader's Dataset has no fields")
	}
	ahead := l.Prefetch
	if ahead == 0 {
		ahead = 2
	}
	// A batch larger than the dataset would only waste memory.
	rows := min(l.Batch, l.Dataset.Len())
	for range min(ahead, l.Steps()) + 1 {
		s := &slot{example: make([][]byte, len(fields))}
		for _, f := range fields {
			b := sinter.NewHostBuffer(f.DType, slices.Concat([]int{rows}, f.Shape)...)
			s.buffers = append(s.buffers, b)
			s.bytes = append(s.bytes, b.Bytes())
			s.stride = append(s.stride, f.Bytes())
		}
		l.ring = append(l.ring, s)
	}
	return nil
}

// shuffle puts the order of the examples in l.order, which is made once. Every
// epoch starts from the dataset's own order, so that an epoch can be repeated
// without going through those before it.
func (l *Loader) shuffle(epoch int) {
	if !l.Shuffle {
		return
	}
	if l.order == nil {
		l.order = make([]int, l.Dataset.Len())
	}
	for i := range l.order {
		l.order[i] = i
	}
	g := sinter.NewGenerator(mix(l.Seed, uint64(epoch)))
	for i := len(l.order) - 1; i > 0; i-- {
		j := g.IntN(i + 1)
		l.order[i], l.order[j] = l.order[j], l.order[i]
	}
}
