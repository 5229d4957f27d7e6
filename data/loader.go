package data

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"math"
	"runtime"
	"slices"
	"strings"

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

	// What a Pad adds, by field; nil for those that are not ragged.
	Lengths []*sinter.Tensor // int64 [Size]: how long each example was
	Masks   []*sinter.Tensor // bool [Size, longest]: true where the example is, false where padding
}

// Loader deals a dataset or a stream out in batches. Fill in the fields, then range over
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
// While the body of the loop works on one batch, goroutines fill the next ones into a
// ring of buffers that are made once; the examples of a batch are read side by side. The
// examples, their order, how they are parted into batches, and which error ends the
// loop depend on the fields above Workers and the number of the epoch alone. A Loader
// serves one loop at a time; its fields must not be changed once it has been used.
type Loader struct {
	Dataset  Examples // a Dataset, or a Stream
	Batch    int      // examples per batch
	Shuffle  bool     // a new order every epoch; else the dataset's own
	Seed     uint64   // of the order
	Sampler  Sampler  // draws the examples of an epoch; nil: all of them
	Collate  Collate  // makes a batch of examples; Stack if nil
	DropLast bool     // leave out a last batch that is not full

	// ShuffleBuffer is how many records of a Stream are held in memory to be shuffled, if
	// Shuffle is set; 0 means 1024. They are shuffled in windows of so many: a record
	// meets those of its own window. Where windows begin differs from epoch to epoch. This
	// is what makes a position in mid-epoch a few numbers: only the window that is being
	// dealt out has to be read again.
	ShuffleBuffer int

	// SkipBad leaves out examples that cannot be read, and fills the batch with those that
	// follow; see Bad. Without it the first of them, in the order of the epoch, ends the
	// loop.
	SkipBad bool

	Workers  int // examples read at the same time; 0 means GOMAXPROCS−1, at least 1
	Prefetch int // batches made ahead of the one in use; 0 means 2

	next     LoaderState // where the next loop begins
	state    LoaderState // where the last one stands
	err      error
	running  bool
	order    string // what the order depends on; empty before the first use
	ring     []*slot
	gatherer *gatherer // in place of the ring, if the examples are on the device
	indices  []int     // the order of a Dataset's examples
	records  []*Record // of a Stream, not in use
	bad      []*ExampleError
	badSeen  map[int64]bool
	nBad     int
}

// ExampleError is an example that could not be read, or that made the Dataset panic.
type ExampleError struct {
	Index        int64 // of the example in its Dataset, or of the Record
	Epoch, Batch int   // where it was to go
	Err          error
}

func (e *ExampleError) Error() string {
	return fmt.Sprintf("data: reading example %d (epoch %d, batch %d): %v", e.Index, e.Epoch, e.Batch, e.Err)
}

func (e *ExampleError) Unwrap() error { return e.Err }

// Bounds of what SkipBad puts up with.
const (
	maxBadListed = 1000  // examples kept for Bad
	maxBadRun    = 10000 // bad examples in a row, after which there is no hope
)

// LoaderState is a position within an epoch. It is kept as JSON in checkpoints.
type LoaderState struct {
	Epoch    int             `json:"epoch"`
	Batches  int             `json:"batches"`  // handed out in this epoch
	Examples int             `json:"examples"` // of its order gone through for them, bad ones too
	Stream   *StreamPosition `json:"stream,omitempty"`
	Order    string          `json:"order,omitempty"` // what the order depends on
}

// StreamPosition is a position within a pass over a Stream.
type StreamPosition struct {
	Mark   Mark `json:"mark"`   // where the window that is being dealt out begins
	Window int  `json:"window"` // its number
	Taken  int  `json:"taken"`  // records of it gone through
}

// Err tells why the last loop over Batches ended early: the context was
// cancelled, an example could not be read, or the Loader's fields make no
// sense. It is nil if all batches were handed out or the loop was left by break.
func (l *Loader) Err() error { return l.err }

// Bad lists the examples that SkipBad left out of the batches that were handed out so
// far, each once and in the order in which they were met, up to a thousand.
func (l *Loader) Bad() []*ExampleError { return slices.Clone(l.bad) }

// BadCount is how many times SkipBad left an example out, every epoch counted.
func (l *Loader) BadCount() int { return l.nBad }

// Epoch is the number, from 0, of the epoch that the next loop over Batches
// will go through.
func (l *Loader) Epoch() int { return l.next.Epoch }

// Seek makes the next loop over Batches begin with the given batch of the given
// epoch. Loops after it go through the epochs that follow, from their beginning. It
// counts Batch examples for every batch: where SkipBad left some out, or to find the
// place in a Stream without reading all before it, use SetState.
func (l *Loader) Seek(epoch, batch int) {
	l.next = LoaderState{Epoch: epoch, Batches: batch, Examples: batch * l.Batch}
	l.state = l.next
}

// State is the position behind the batch that was handed out last, or the beginning of
// the next epoch if the loop came to its end. A Loader with the same fields (Workers and
// Prefetch may differ, and Batch, unless a Pad buckets), in this process or another, goes
// on from there with what would have come next.
func (l *Loader) State() LoaderState {
	s := l.state
	s.Order = l.order
	if s.Stream != nil {
		at := *s.Stream
		s.Stream = &at
	}
	return s
}

// SetState makes the next loop over Batches begin at a position that State gave. It is an
// error if it was of a loader whose examples come in another order.
func (l *Loader) SetState(s LoaderState) error {
	if err := l.prepare(); err != nil {
		return err
	}
	_, stream := l.Dataset.(Stream)
	switch {
	case s.Epoch < 0 || s.Batches < 0 || s.Examples < 0 || s.Stream != nil && (s.Stream.Window < 0 || s.Stream.Taken < 0):
		return fmt.Errorf("data: %+v is not a position of a Loader", s)
	case s.Order != "" && s.Order != l.order:
		return fmt.Errorf("data: the position is of a loader whose order is %q, which cannot go on in the order %q", s.Order, l.order)
	case s.Stream != nil && !stream:
		return fmt.Errorf("data: the position is of a stream, but the Loader has a %T", l.Dataset)
	}
	l.next, l.state = s, s
	return nil
}

// Steps is the number of batches of one epoch, or -1 if that is not known. SkipBad may
// make them fewer.
func (l *Loader) Steps() int {
	n := l.drawn()
	if n < 0 || l.Batch <= 0 {
		return min(n, 0)
	}
	if l.DropLast {
		return n / l.Batch
	}
	return (n + l.Batch - 1) / l.Batch
}

// drawn is the number of examples of one epoch, or -1.
func (l *Loader) drawn() int {
	if l.Dataset == nil {
		return 0
	}
	n := l.Dataset.Len()
	if _, stream := l.Dataset.(Stream); stream {
		if d, ok := l.Sampler.(DistributedSampler); ok && d.World > 1 {
			return -1
		}
		return max(n, -1)
	}
	if s := l.sampler(); s != nil {
		return s.Len(n)
	}
	return n
}

// sampler is the Sampler with what Shuffle says, nil for the dataset's own order.
func (l *Loader) sampler() Sampler {
	if !l.Shuffle {
		return l.Sampler
	}
	if d, ok := l.Sampler.(DistributedSampler); ok {
		d.Of = RandomSampler{}
		return d
	}
	return RandomSampler{}
}

func (l *Loader) workers() int { return cmp.Or(l.Workers, max(1, runtime.GOMAXPROCS(0)-1)) }

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
		begin := l.next
		epoch := begin.Epoch
		l.next, l.state = LoaderState{Epoch: epoch + 1}, begin
		if ds, ok := l.Dataset.(*deviceCache); ok {
			l.gathered(ctx, ds, begin, yield)
			return
		}
		from, err := l.feed(begin)
		if err != nil {
			l.err = err
			return
		}
		l.running = true
		f := newFiller(l, from, begin)
		// The filler's goroutines end before the loop does: no example is read, and no
		// buffer written, once the caller has got control back.
		unhook := context.AfterFunc(ctx, f.stop)
		defer func() {
			unhook()
			f.stop()
			f.done.Wait()
			l.running = false
		}()
		f.start(l.workers())

		for {
			// Asked first, since a select between a cancelled context and a ready
			// batch would choose at random.
			if l.err = cancelled(ctx, epoch); l.err != nil {
				return
			}
			var s *slot
			select {
			case s = <-f.full:
			case <-ctx.Done():
				continue
			}
			if s == nil {
				// Out of batches, or the filler saw the cancellation first.
				if l.err = cancelled(ctx, epoch); l.err == nil {
					l.report(f.left)
					l.err = f.err
				}
				if l.err == nil {
					l.state = l.next
				}
				return
			}
			l.report(s.bad)
			after := s.rows[s.n-1].after
			l.state = LoaderState{Epoch: epoch, Batches: s.index + 1, Examples: after.examples, Stream: after.stream()}
			more := yield(s.batch())
			// From here on an evaluation of the batch's tensors is an error.
			for _, b := range s.buffers {
				b.Reuse()
			}
			if !more {
				return
			}
			f.giveBack(s)
		}
	}
}

func cancelled(ctx context.Context, epoch int) error {
	if ctx.Err() == nil {
		return nil
	}
	return fmt.Errorf("data: stopped in epoch %d: %w", epoch, context.Cause(ctx))
}

// report takes down examples that were left out.
func (l *Loader) report(bad []*ExampleError) {
	for _, e := range bad {
		l.nBad++
		if len(l.bad) == maxBadListed || l.badSeen[e.Index] {
			continue
		}
		if l.badSeen == nil {
			l.badSeen = make(map[int64]bool)
		}
		l.badSeen[e.Index] = true
		l.bad = append(l.bad, e)
	}
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
	case l.Workers < 0:
		return fmt.Errorf("data: the Loader's Workers are %d, expected 0 or more", l.Workers)
	case l.ShuffleBuffer < 0:
		return fmt.Errorf("data: the Loader's ShuffleBuffer is %d, expected 0 or more", l.ShuffleBuffer)
	case l.next.Epoch < 0 || l.next.Batches < 0:
		return fmt.Errorf("data: the Loader cannot begin at epoch %d, batch %d", l.next.Epoch, l.next.Batches)
	}
	if l.ring != nil || l.gatherer != nil {
		return nil
	}
	if err := l.checkOrder(); err != nil {
		return err
	}
	n := l.drawn()
	switch {
	case l.Dataset.Len() == 0:
		return fmt.Errorf("data: the Loader's Dataset has no examples")
	case n == 0:
		return fmt.Errorf("data: the Loader's %T draws none of %d examples", l.Sampler, l.Dataset.Len())
	case l.Steps() == 0:
		return fmt.Errorf("data: %d examples do not fill one batch of %d and DropLast is set; use a smaller batch", n, l.Batch)
	}
	fields := l.Dataset.Fields()
	if len(fields) == 0 {
		return fmt.Errorf("data: the Loader's Dataset has no fields")
	}
	if err := l.checkCollate(fields); err != nil {
		return err
	}
	ahead, rows := cmp.Or(l.Prefetch, 2), l.Batch
	if n > 0 { // a batch larger than the dataset would only waste memory
		ahead, rows = min(ahead, l.Steps()), min(rows, n)
	}
	if ds, ok := l.Dataset.(*deviceCache); ok {
		l.gatherer, ahead = newGatherer(ds, rows), -1
	}
	for range ahead + 1 {
		l.ring = append(l.ring, newSlot(fields, rows, l.Collate))
	}
	l.order = l.describeOrder()
	return nil
}

// checkOrder looks at what says in which order examples come.
func (l *Loader) checkOrder() error {
	d, distributed := l.Sampler.(DistributedSampler)
	if distributed {
		if err := d.check(); err != nil {
			return err
		}
	}
	_, random := d.Of.(RandomSampler)
	if l.Shuffle && l.Sampler != nil && !(distributed && (d.Of == nil || random)) {
		return fmt.Errorf("data: the Loader has both Shuffle and a %T, which says the order; leave out one of them", l.Sampler)
	}
	switch l.Dataset.(type) {
	case Dataset:
	case Stream:
		if l.Sampler != nil && !(distributed && d.Of == nil) {
			return fmt.Errorf("data: a stream is read in its own order, from which a %T cannot draw; use Shuffle, or a DistributedSampler without Of", l.Sampler)
		}
	default:
		return fmt.Errorf("data: %T is neither a Dataset (with Read) nor a Stream (with Open and Decode)", l.Dataset)
	}
	return nil
}

// describeOrder says what the order of the examples depends on.
func (l *Loader) describeOrder() string {
	var b strings.Builder
	_, stream := l.Dataset.(Stream)
	switch n := l.Dataset.Len(); {
	case n < 0:
		b.WriteString("a stream")
	case stream:
		fmt.Fprintf(&b, "a stream of %d examples", n)
	default:
		fmt.Fprintf(&b, "%d examples", n)
	}
	if s := l.Sampler; s != nil {
		fmt.Fprintf(&b, ", %s", strings.TrimPrefix(fmt.Sprintf("%T", s), "data."))
		if d, ok := s.(DistributedSampler); ok {
			fmt.Fprintf(&b, " of rank %d of %d", d.Rank, d.World)
		}
	}
	if l.Shuffle {
		b.WriteString(", shuffled")
		if stream {
			fmt.Fprintf(&b, " in a buffer of %d", l.window())
		}
	}
	if l.Shuffle || l.Sampler != nil {
		fmt.Fprintf(&b, ", seed %d", l.Seed)
	}
	if n := l.bucket(); n > 0 {
		fmt.Fprintf(&b, ", bucketed in %d batches of %d", n, l.Batch)
	}
	return b.String()
}

// window is the number of a stream's records that are put in order together.
func (l *Loader) window() int {
	n := l.Batch
	if l.Shuffle {
		n = cmp.Or(l.ShuffleBuffer, 1024)
	}
	if b := l.bucket(); b > 0 { // whole batches
		n = max(n, min(b, math.MaxInt/l.Batch)*l.Batch)
		n = (n + l.Batch - 1) / l.Batch * l.Batch
	}
	return n
}

// bucket is the number of batches whose examples are put in order by length together, 0
// if none are.
func (l *Loader) bucket() int {
	if p, ok := l.Collate.(Pad); ok {
		return p.Bucket
	}
	return 0
}

// feed is what gives the examples of an epoch, from a position on.
func (l *Loader) feed(begin LoaderState) (feed, error) {
	if st, ok := l.Dataset.(Stream); ok {
		return newStreamFeed(l, st, begin)
	}
	ds := AtEpoch(l.Dataset.(Dataset), begin.Epoch)
	order, err := l.sample(ds, begin.Epoch)
	if err != nil {
		return nil, err
	}
	return &datasetFeed{ds: ds, order: order, at: begin.Examples, n: l.drawn()}, nil
}

// sample puts the order of a dataset's examples in l.indices, which is made once; nil is
// the dataset's own.
func (l *Loader) sample(ds Dataset, epoch int) ([]int, error) {
	s, b := l.sampler(), l.bucket()
	if s == nil && b == 0 {
		return nil, nil
	}
	if s == nil {
		s = SequentialSampler{}
	}
	n := ds.Len()
	if l.indices == nil {
		l.indices = make([]int, s.Len(n))
	}
	order := l.indices
	if err := s.Sample(order, n, l.Seed, epoch); err != nil {
		return nil, err
	}
	for at, i := range order {
		if i < 0 || i >= n {
			return nil, fmt.Errorf("data: %T: position %d of epoch %d is example %d, expected 0 to %d", s, at, epoch, i, n-1)
		}
	}
	if b > 0 {
		length := lengths(ds)
		if length == nil {
			return nil, fmt.Errorf("data: Pad buckets by length, but %T does not know its examples' lengths; let it implement Measured, or leave Bucket out", ds)
		}
		window := min(b, len(order)/l.Batch+1) * l.Batch
		for w, at := 0, 0; at < len(order); w, at = w+1, at+window {
			bucket(order[at:min(at+window, len(order))], l.Batch, length, l.bucketGenerator(epoch, w))
		}
	}
	return order, nil
}

// bucketGenerator draws the order of the batches of window w; without Shuffle there is
// none, and they come by length.
func (l *Loader) bucketGenerator(epoch, w int) *sinter.Generator {
	if !l.Shuffle && l.Sampler == nil {
		return nil
	}
	return sinter.NewGenerator(mix(mix(mix(l.Seed, bucketSite), uint64(epoch)), uint64(w)))
}
