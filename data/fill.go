package data

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sinter-dl/sinter"
)

// slot is one buffer of the ring: a whole batch.
type slot struct {
	fields  []Field
	buffers []*sinter.HostBuffer // per field, and what the Collate adds
	bytes   [][]byte             // of the fields' buffers
	stride  []int                // bytes of one example at its longest, per field
	rows    []row
	collate Collate
	padded  *padded // of a Pad

	n     int // rows that have been given an example
	taken int // of these, how many a worker has taken
	read  int // of these, how many have been read
	index int // of the batch
	bad   []*ExampleError
}

// row is where one example goes.
type row struct {
	index  int64
	rec    *Record // of a Stream
	after  place   // the position behind it
	err    error   // why there is no example in it
	length []int   // per field, how many of its first axis; nil if no field is ragged
}

func newSlot(fields []Field, rows int, c Collate) *slot {
	s := &slot{fields: fields, rows: make([]row, rows), collate: c}
	ragged := false
	for _, f := range fields {
		b := sinter.NewHostBuffer(f.DType, slices.Concat([]int{rows}, f.Shape)...)
		s.buffers = append(s.buffers, b)
		s.bytes = append(s.bytes, b.Bytes())
		s.stride = append(s.stride, f.Bytes())
		ragged = ragged || f.Ragged
	}
	if ragged {
		for i := range s.rows {
			s.rows[i].length = make([]int, len(fields))
		}
		s.padded = newPadded(s)
	}
	return s
}

func (s *slot) batch() Batch {
	b := Batch{Size: s.n, Index: s.index, Fields: make([]*sinter.Tensor, len(s.fields))}
	for f := range s.fields {
		b.Fields[f] = s.buffers[f].Tensor(s.n)
	}
	if s.padded != nil {
		s.padded.tensors(s, &b)
	}
	b.X = b.Fields[0]
	if len(b.Fields) > 1 {
		b.Y = b.Fields[1]
	}
	return b
}

// at gives dst the places of row k.
func (s *slot) at(k int, dst [][]byte) {
	for f, b := range s.bytes {
		dst[f] = b[k*s.stride[f] : (k+1)*s.stride[f] : (k+1)*s.stride[f]]
	}
}

// move brings row k of another slot, or of this one, to row to.
func (s *slot) move(to int, from *slot, k int) {
	if s == from && to == k {
		return
	}
	for f, b := range s.bytes {
		copy(b[to*s.stride[f]:(to+1)*s.stride[f]], from.bytes[f][k*s.stride[f]:])
	}
	s.rows[to], from.rows[k] = from.rows[k], s.rows[to]
}

// filler makes the batches of one epoch. One goroutine, the first worker, gives the rows
// of free slots their examples in order, hands out the slot that was begun first once all
// of it is read, and reads examples itself in between. The other workers only read.
//
// An example that is left out tears a hole. Where that happens all that is in flight is
// finished and then moved together, as if the slots were one long list; the room that
// becomes free at its end gets the examples that follow. So what is in a batch does not
// depend on how far the workers were.
type filler struct {
	l     *Loader
	begin LoaderState
	feed  feed
	few   int        // rows that a worker takes at once
	full  chan *slot // batches in order; closed at the end
	done  sync.WaitGroup
	quit  atomic.Bool // read between examples, without the lock

	// Known once full is closed.
	err  error           // what ended the epoch
	left []*ExampleError // left out behind the last batch

	mu      sync.Mutex
	turn    sync.Cond // something for the first worker
	work    sync.Cond // rows to be read, for the others
	stopped bool
	free    []*slot
	flight  []*slot // in order; the last may have room if it was torn
	ended   bool    // the feed has no more examples
	torn    bool    // flight has to be moved together

	handed int             // batches
	run    int             // examples left out since the last good one
	bad    []*ExampleError // left out and not in a slot yet
	first  *ExampleError
}

func newFiller(l *Loader, from feed, begin LoaderState) *filler {
	f := &filler{l: l, begin: begin, feed: from, full: make(chan *slot, len(l.ring)), free: slices.Clone(l.ring)}
	f.turn.L, f.work.L = &f.mu, &f.mu
	return f
}

func (f *filler) start(workers int) {
	f.few = min(64, max(1, len(f.l.ring[0].rows)/(4*workers)))
	f.done.Go(f.produce)
	for range workers - 1 {
		f.done.Go(f.help)
	}
}

// stop makes all goroutines end after the example that they are reading.
func (f *filler) stop() {
	f.quit.Store(true)
	f.mu.Lock()
	f.stopped = true
	f.mu.Unlock()
	f.turn.Signal()
	f.work.Broadcast()
}

// giveBack takes a slot that is no longer in use.
func (f *filler) giveBack(s *slot) {
	f.mu.Lock()
	f.free = append(f.free, s)
	f.mu.Unlock()
	f.turn.Signal()
}

// produce is the first worker.
func (f *filler) produce() {
	defer close(f.full)
	defer f.feed.close()
	dst := make([][]byte, len(f.l.ring[0].fields))
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.stopped {
		if s := f.room(); s != nil {
			f.assign(s)
			continue
		}
		if len(f.flight) == 0 {
			if f.ended {
				f.finish()
				return
			}
		} else if head := f.flight[0]; f.torn && f.allRead() {
			if !f.close() {
				return
			}
			continue
		} else if !f.torn && head.read == head.n {
			if !f.hand(head) {
				return
			}
			continue
		}
		if !f.readSome(dst) {
			f.turn.Wait()
		}
	}
}

// help is one of the other workers.
func (f *filler) help() {
	dst := make([][]byte, len(f.l.ring[0].fields))
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.stopped {
		if !f.readSome(dst) {
			f.work.Wait()
		}
	}
}

// room is a slot with rows that can be given examples, nil if there is none now.
func (f *filler) room() *slot {
	if f.ended || f.torn {
		return nil
	}
	if n := len(f.flight); n > 0 && f.flight[n-1].n < len(f.flight[n-1].rows) {
		return f.flight[n-1]
	}
	if len(f.free) > 0 {
		s := f.free[0]
		f.free = slices.Delete(f.free, 0, 1)
		s.n, s.taken, s.read = 0, 0, 0
		s.bad, f.bad = append(s.bad[:0], f.bad...), f.bad[:0]
		f.flight = append(f.flight, s)
		return s
	}
	return nil
}

// assign gives examples to the free rows of the last slot in flight.
func (f *filler) assign(s *slot) {
	f.mu.Unlock() // a stream reads its files now
	n := s.n
	var err error
	ok := true
	// What is left over and fills no batch need not be read, unless batches before it may
	// come to need it.
	drop := f.l.DropLast && !f.l.SkipBad
	if left := f.feed.remaining(); drop && left >= 0 && left < len(s.rows) {
		ok = false
	}
	for ok && n < len(s.rows) && !f.quit.Load() {
		s.rows[n].err = nil
		if ok, err = f.feed.next(&s.rows[n]); ok {
			n++
		}
	}
	f.mu.Lock()
	if !ok {
		f.ended = true
		if err != nil {
			f.err = fmt.Errorf("data: reading the stream (epoch %d, batch %d): %w", f.begin.Epoch, f.begin.Batches+f.handed+len(f.flight)-1, err)
		}
		if s.n == 0 && (n == 0 || n < len(s.rows) && drop) {
			f.bad = append(f.bad, s.bad...)
			f.flight = f.flight[:len(f.flight)-1]
			return
		}
	}
	s.n = n
	f.work.Broadcast()
}

// readSome reads a few rows of the first slot in flight that has any left; false if none
// has. The lock is held by the caller, and not while reading.
func (f *filler) readSome(dst [][]byte) bool {
	for _, s := range f.flight {
		if s.taken == s.n {
			continue
		}
		// A few, since taking them costs something; not many, so that all workers have some.
		from := s.taken
		to := min(s.n, from+f.few)
		s.taken = to
		f.mu.Unlock()
		for k := from; k < to && !f.quit.Load(); k++ {
			if s.rows[k].err == nil {
				s.rows[k].err = f.readRow(s, k, dst)
			}
		}
		f.mu.Lock()
		if s.read += to - from; s.read == s.n {
			f.turn.Signal()
		}
		return true
	}
	return false
}

// readRow reads one example. A panic is an error of that example like others.
func (f *filler) readRow(s *slot, k int, dst [][]byte) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v%s", v, panicSite())
		}
	}()
	s.at(k, dst)
	if err := f.feed.read(&s.rows[k], dst); err != nil {
		return err
	}
	for i, b := range dst {
		if len(b) == s.stride[i] && s.padded == nil {
			continue
		}
		if err := s.measure(k, i, b); err != nil {
			return err
		}
	}
	return nil
}

// panicSite tells, in a deferred function, where the program panicked.
func panicSite() string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for panicked := false; ; {
		frame, more := frames.Next()
		inRuntime := strings.HasPrefix(frame.Function, "runtime.")
		if panicked && !inRuntime {
			return fmt.Sprintf(" (at %s:%d)", frame.File, frame.Line)
		}
		panicked = panicked || frame.Function == "runtime.gopanic"
		if !more {
			return ""
		}
	}
}

// measure takes down how long field i of row k is, which the example shortened to b.
func (s *slot) measure(k, i int, b []byte) error {
	field := s.fields[i]
	switch {
	case len(b) > s.stride[i]:
		return fmt.Errorf("the example's %q has %d bytes, expected %d", field.Name, len(b), s.stride[i])
	case !field.Ragged:
		if len(b) < s.stride[i] {
			return fmt.Errorf("the example's %q has %d bytes, expected %d; a field that varies in length has to say so (Field.Ragged)", field.Name, len(b), s.stride[i])
		}
		return nil
	}
	one := max(1, s.stride[i]/max(1, field.Shape[0]))
	if len(b)%one != 0 {
		return fmt.Errorf("the example's %q has %d bytes, expected a multiple of %d", field.Name, len(b), one)
	}
	s.rows[k].length[i] = len(b) / one
	return nil
}

// hand gives the first slot in flight to the loop, or tears it; false if that was the
// last.
func (f *filler) hand(s *slot) bool {
	index := f.begin.Batches + f.handed
	if bad := slices.IndexFunc(s.rows[:s.n], func(r row) bool { return r.err != nil }); bad >= 0 {
		if f.l.SkipBad {
			f.torn = true
			return true
		}
		f.err = &ExampleError{s.rows[bad].index, f.begin.Epoch, index, s.rows[bad].err}
		return false
	}
	f.flight = slices.Delete(f.flight, 0, 1)
	if s.n == 0 || s.n < len(s.rows) && (f.l.DropLast || f.err != nil) {
		f.bad = append(f.bad, s.bad...) // only the last one is not full
		return true
	}
	if finish := f.feed.finish(); finish != nil {
		f.mu.Unlock() // the others go on reading; this slot is no longer theirs
		finish(index, s.n, s.bytes)
		f.mu.Lock()
	}
	if s.padded != nil {
		s.padded.pad(s)
	}
	s.index = index
	f.handed++
	f.mu.Unlock()
	for _, b := range s.buffers {
		b.Upload() // beside the step that is running
	}
	f.mu.Lock()
	f.full <- s // never blocks: full has room for the whole ring
	return true
}

func (f *filler) allRead() bool {
	return !slices.ContainsFunc(f.flight, func(s *slot) bool { return s.read < s.n })
}

// close moves together what is in flight, all of which has been read; false if too much
// of it is bad. Only the first slot may have had examples left out before.
func (f *filler) close() bool {
	f.torn = false
	to, k := 0, 0 // where the next good example belongs
	for _, from := range f.flight {
		for i := range from.n {
			err := from.rows[i].err
			if err == nil {
				f.run = 0
				f.flight[to].move(k, from, i)
				if k++; k == len(from.rows) {
					to, k = to+1, 0
				}
				continue
			}
			bad := &ExampleError{from.rows[i].index, f.begin.Epoch, f.begin.Batches + f.handed + to, err}
			if f.first == nil {
				f.first = bad
			}
			if f.run++; f.run == maxBadRun {
				f.err = fmt.Errorf("data: %d examples in a row cannot be read, which is more than SkipBad puts up with; the first: %w", maxBadRun, f.first)
				return false
			}
			if to < len(f.flight) {
				f.flight[to].bad = append(f.flight[to].bad, bad)
			} else {
				f.bad = append(f.bad, bad)
			}
		}
	}
	kept := to
	if k > 0 {
		f.flight[to].n, f.flight[to].taken, f.flight[to].read = k, k, k
		kept++
	} else if to < len(f.flight) {
		f.bad = append(f.bad, f.flight[to].bad...) // for the next batch, which is not begun
	}
	f.free = append(f.free, f.flight[kept:]...)
	f.flight = f.flight[:kept]
	return true
}

// finish says how the epoch ended once all batches were handed out.
func (f *filler) finish() {
	f.left = f.bad
	if f.err == nil && f.handed == 0 && f.begin.Examples == 0 && f.first != nil {
		f.err = fmt.Errorf("data: no batch could be filled, since so many examples cannot be read; the first: %w", f.first)
	}
}
