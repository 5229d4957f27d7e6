package data

import (
	"errors"
	"fmt"
	"io"

	"github.com/sinter-dl/sinter"
)

// A feed gives the examples of one epoch in their order, from a position on. What it
// gives is not read yet: a row is told where the example is to be found.
type feed interface {
	// next gives the next example to a row; false at the end, and with an error if nothing
	// more can be read.
	next(r *row) (bool, error)
	// remaining is the number of examples left, -1 if that is not known.
	remaining() int
	// read writes a row's example. Workers call it side by side.
	read(r *row, dst [][]byte) error
	// finish is what changes whole batches, see BatchDataset; nil if nothing does.
	finish() func(index, n int, rows [][]byte)
	close()
}

// place is the position behind an example.
type place struct {
	examples      int
	window, taken int // of a stream
	mark          Mark
	streamed      bool
}

func (p place) stream() *StreamPosition {
	if !p.streamed {
		return nil
	}
	return &StreamPosition{Mark: p.mark, Window: p.window, Taken: p.taken}
}

type datasetFeed struct {
	ds    Dataset
	order []int // nil: the dataset's own
	at, n int
}

func (f *datasetFeed) next(r *row) (bool, error) {
	if f.at >= f.n {
		return false, nil
	}
	r.index = int64(f.at)
	if f.order != nil {
		r.index = int64(f.order[f.at])
	}
	f.at++
	r.after = place{examples: f.at}
	return true, nil
}

func (f *datasetFeed) remaining() int                  { return max(0, f.n-f.at) }
func (f *datasetFeed) read(r *row, dst [][]byte) error { return f.ds.Read(int(r.index), dst) }
func (f *datasetFeed) close()                          {}

func (f *datasetFeed) finish() func(index, n int, rows [][]byte) {
	if b, ok := f.ds.(BatchDataset); ok {
		return b.FinishBatch
	}
	return nil
}

// streamFeed deals a stream out in windows: the records of one are put in order together,
// and while they are dealt out those of the next one are read, each into the memory of
// one that was given away. So there are never more than a window holds.
type streamFeed struct {
	l      *Loader
	stream Stream
	reader StreamReader
	epoch  int

	current []held // dealt out in this order, up to `at`
	at      int
	number  int // of that window, from 0
	begin   Mark
	ahead   []held // read of the next window
	mark    Mark   // where that begins

	examples int
	end      error // why no more records are read: io.EOF, or what went wrong
}

// held is a record in a window, or the error of one that is spoilt.
type held struct {
	rec *Record
	err error
}

func newStreamFeed(l *Loader, st Stream, begin LoaderState) (*streamFeed, error) {
	pass := Pass{Epoch: begin.Epoch, Shards: 1, Shuffle: l.Shuffle, Seed: l.Seed}
	if d, ok := l.Sampler.(DistributedSampler); ok {
		pass.Shard, pass.Shards = d.Rank, d.World
	}
	f := &streamFeed{l: l, stream: st, epoch: begin.Epoch, number: -1}
	skip := begin.Examples // after Seek, which knows no more
	if at := begin.Stream; at != nil {
		f.number, f.mark, skip = at.Window-1, at.Mark, at.Taken
		f.examples = begin.Examples - at.Taken
	}
	var err error
	if f.reader, err = st.Open(pass, f.mark); err != nil {
		return nil, fmt.Errorf("data: opening the stream for epoch %d: %w", begin.Epoch, err)
	}
	var r row
	for range skip {
		ok, err := f.next(&r)
		if err == nil && !ok {
			err = errors.New("it ended; have the files changed?")
		}
		if err != nil {
			f.close()
			return nil, fmt.Errorf("data: going on after example %d of epoch %d of the stream: %w", begin.Examples, begin.Epoch, err)
		}
	}
	f.recycle(r.rec)
	return f, nil
}

func (f *streamFeed) next(r *row) (bool, error) {
	if f.at == len(f.current) && !f.turn() {
		if f.end == io.EOF {
			return false, nil
		}
		return false, f.end
	}
	h := &f.current[f.at]
	f.at++
	f.examples++
	f.recycle(r.rec)
	r.rec, r.err, r.index = h.rec, h.err, h.rec.Index
	h.rec = nil
	r.after = place{examples: f.examples, window: f.number, taken: f.at, mark: f.begin, streamed: true}
	if len(f.ahead) < f.size(f.number+1) {
		f.readOne()
	}
	return true, nil
}

// turn goes to the next window; false if there is none.
func (f *streamFeed) turn() bool {
	for size := f.size(f.number + 1); len(f.ahead) < size && f.end == nil; {
		f.readOne()
	}
	if len(f.ahead) == 0 {
		return false
	}
	f.number++
	f.current, f.ahead, f.at = f.ahead, f.current[:0], 0
	f.begin, f.mark = f.mark, f.reader.Mark()
	l := f.l
	if l.Shuffle {
		shuffle(f.current, sinter.NewGenerator(mix(mix(mix(l.Seed, windowSite), uint64(f.epoch)), uint64(f.number))))
	}
	if l.bucket() > 0 {
		bucket(f.current, l.Batch, func(h held) int { return h.rec.Length }, l.bucketGenerator(f.epoch, f.number))
	}
	return true
}

// size is that of window w. The first one is cut short where there is shuffling, by
// another length every epoch, lest the same records always meet.
func (f *streamFeed) size(w int) int {
	full := f.l.window()
	if w > 0 || !f.l.Shuffle {
		return full
	}
	unit := 1
	if f.l.bucket() > 0 {
		unit = f.l.Batch
	}
	g := sinter.NewGenerator(mix(mix(f.l.Seed, windowSite), uint64(f.epoch)))
	return unit * (1 + g.IntN(full/unit))
}

// readOne reads one record of the next window, unless the stream has ended.
func (f *streamFeed) readOne() {
	if f.end != nil {
		return
	}
	var r *Record
	if n := len(f.l.records); n > 0 {
		r, f.l.records = f.l.records[n-1], f.l.records[:n-1]
	} else {
		r = new(Record)
	}
	*r = Record{Data: r.Data[:0], Ends: r.Ends[:0]}
	err := f.readInto(r)
	var spoilt *RecordError
	switch {
	case errors.As(err, &spoilt):
		*r = Record{Index: spoilt.Index, Data: r.Data, Ends: r.Ends} // nothing else that Next left there
	case err != nil:
		f.end = err
		f.recycle(r)
		return
	}
	r.Epoch = f.epoch
	f.ahead = append(f.ahead, held{r, err})
}

func (f *streamFeed) readInto(r *Record) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the stream's reader panicked: %v", v)
		}
	}()
	return f.reader.Next(r)
}

// recycle keeps a record's memory for another one, unless it is a rare large one.
func (f *streamFeed) recycle(r *Record) {
	if r == nil {
		return
	}
	if cap(r.Data) > 1<<20 {
		r.Data = nil
	}
	f.l.records = append(f.l.records, r)
}

func (f *streamFeed) remaining() int                  { return -1 }
func (f *streamFeed) read(r *row, dst [][]byte) error { return f.stream.Decode(r.rec, dst) }

func (f *streamFeed) finish() func(index, n int, rows [][]byte) {
	b, ok := f.stream.(BatchStream)
	if !ok {
		return nil
	}
	return func(index, n int, rows [][]byte) { b.FinishBatch(f.epoch, index, n, rows) }
}

func (f *streamFeed) close() {
	for _, window := range [][]held{f.current[f.at:], f.ahead} {
		for _, h := range window {
			f.recycle(h.rec)
		}
	}
	f.reader.Close() // only reads, so nothing can be lost
}

const windowSite = 0x77696e646f77
