package data

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sinter-dl/sinter"
)

// series is examples whose number i is i and some bytes: i%7+1 of them. It is a Dataset;
// as fileStream it is a Stream of files of ten. Those in bad cannot be read.
type series struct {
	n      int
	bad    map[int]bool
	ragged bool
	reads  *atomic.Int64
}

func (s series) Len() int { return s.n }

func (s series) Fields() []Field {
	f := []Field{{Name: "x", DType: sinter.Int64}, {Name: "y", DType: sinter.Uint8, Shape: []int{7}, Ragged: s.ragged}}
	return f
}

func (s series) Length(i int) int { return i%7 + 1 }

func (s series) Read(i int, dst [][]byte) error {
	if s.reads != nil {
		s.reads.Add(1)
	}
	if i%3 == 0 {
		runtime.Gosched() // lets the workers overtake each other
	}
	if s.bad[i] {
		if i%2 == 0 {
			panic(fmt.Sprintf("example %d hurts", i))
		}
		return fmt.Errorf("example %d is scratched", i)
	}
	binary.LittleEndian.PutUint64(dst[0], uint64(i))
	n := s.Length(i)
	for k := range 7 {
		dst[1][k] = byte(i + k)
	}
	if s.ragged {
		dst[1] = dst[1][:n]
	}
	return nil
}

type fileStream struct {
	series
	unknown bool
	opened  *atomic.Int64
}

const perFile = 10

func (s fileStream) Len() int {
	if s.unknown {
		return -1
	}
	return s.n
}

// Read hides that of series, lest it is taken for a Dataset.
func (s fileStream) Read() {}

func (s fileStream) Open(pass Pass, from Mark) (StreamReader, error) {
	files, deal := pass.Files((s.n + perFile - 1) / perFile)
	if s.opened != nil {
		s.opened.Add(1)
	}
	return &fileReader{s: s, pass: pass, files: files, deal: deal, at: from}, nil
}

func (s fileStream) Decode(r *Record, dst [][]byte) error {
	i := int(binary.LittleEndian.Uint64(r.Data))
	if int64(i) != r.Index {
		return errors.New("another record's bytes")
	}
	return s.series.Read(i, dst)
}

type fileReader struct {
	s     fileStream
	pass  Pass
	files []int
	deal  bool
	at    Mark // Offset counts records of the file, Record those of the epoch
}

func (r *fileReader) Mark() Mark { return r.at }

func (r *fileReader) Close() error {
	if r.s.opened != nil {
		r.s.opened.Add(-1)
	}
	return nil
}

func (r *fileReader) Next(rec *Record) error {
	for r.at.File < len(r.files) {
		file := r.files[r.at.File]
		i := file*perFile + int(r.at.Offset)
		if r.at.Offset == perFile || i >= r.s.n {
			r.at.File, r.at.Offset = r.at.File+1, 0
			continue
		}
		mine := !r.deal || r.pass.Mine(r.at.Record)
		r.at.Offset++
		r.at.Record++
		if !mine {
			continue
		}
		if r.s.bad[i] && i%5 == 0 {
			return &RecordError{Index: int64(i), Err: fmt.Errorf("record %d is torn", i)}
		}
		rec.Index, rec.Length = int64(i), r.s.Length(i)
		rec.Data = binary.LittleEndian.AppendUint64(rec.Data[:0], uint64(i))
		return nil
	}
	return io.EOF
}

// dealt is what a loop gives: its batches as text, and the position behind each.
type dealt struct {
	batches []string
	states  []string
	bad     []string // after each batch
	err     string
}

func deal(t *testing.T, l *Loader) (d dealt) {
	t.Helper()
	for b := range l.Batches(t.Context()) {
		text := fmt.Sprint(b.Index, b.X.Ints(), b.Y.Ints(), b.Y.Shape())
		if b.Lengths != nil {
			text += fmt.Sprint(b.Lengths[1].Ints(), b.Masks[1].Bools())
		}
		d.batches = append(d.batches, text)
		state, err := json.Marshal(l.State())
		if err != nil {
			t.Fatal(err)
		}
		d.states = append(d.states, string(state))
		d.bad = append(d.bad, badList(l))
	}
	d.bad = append(d.bad, badList(l))
	if err := l.Err(); err != nil {
		d.err = err.Error()
	}
	return d
}

func badList(l *Loader) string {
	var b strings.Builder
	for _, e := range l.Bad() {
		fmt.Fprintf(&b, "%d in %d/%d: %v; ", e.Index, e.Epoch, e.Batch, e.Err)
	}
	return fmt.Sprint(b.String(), l.BadCount())
}

// The examples, their order, the batches, what is left out and the error follow from the
// seed alone: not from the workers, how far they go ahead, or an interruption.
func TestLoaderSameWhateverTheWorkers(t *testing.T) {
	bad := map[int]bool{}
	for _, i := range []int{3, 10, 11, 12, 13, 14, 15, 16, 17, 18, 40, 45, 46} {
		bad[i] = true
	}
	weights := make([]float64, 47)
	for i := range weights {
		weights[i] = float64(i % 5)
	}
	dataset := func(s series) Examples { return s }
	stream := func(s series) Examples { return fileStream{series: s} }
	kinds := map[string]struct {
		examples func(series) Examples
		loader   Loader
	}{
		"in order":    {dataset, Loader{}},
		"shuffled":    {dataset, Loader{Shuffle: true}},
		"weighted":    {dataset, Loader{Sampler: WeightedSampler{Weights: weights}}},
		"choice":      {dataset, Loader{Sampler: WeightedSampler{Weights: weights, Count: 30, WithoutReplacement: true}}},
		"distributed": {dataset, Loader{Sampler: DistributedSampler{Rank: 1, World: 3}, Shuffle: true}},
		"subset":      {dataset, Loader{Sampler: SubsetSampler{Indices: []int{46, 3, 3, 20, 21, 22}, Shuffle: true}}},
		"stream":      {stream, Loader{}},
		"buffer":      {stream, Loader{Shuffle: true, ShuffleBuffer: 9}},
		"buffer of 1": {stream, Loader{Shuffle: true, ShuffleBuffer: 1}},
		"all in it":   {stream, Loader{Shuffle: true}},
		"shard":       {stream, Loader{Shuffle: true, ShuffleBuffer: 5, Sampler: DistributedSampler{Rank: 2, World: 3}}},
		"dealt":       {stream, Loader{Shuffle: true, ShuffleBuffer: 2, Sampler: DistributedSampler{Rank: 2, World: 7}}},
	}
	for name, kind := range kinds {
		for variant := range 16 {
			set := series{n: 47}
			l := kind.loader
			l.Batch, l.Seed = 4, 5
			l.DropLast = variant&1 != 0
			l.SkipBad = variant&2 != 0
			if variant&4 != 0 || l.SkipBad {
				set.bad = bad
			}
			if variant&8 != 0 {
				set.ragged = true
				l.Collate = Pad{Value: 99, Multiple: 2, Bucket: variant % 3}
			}
			l.Dataset = kind.examples(set)
			fresh := func(workers, prefetch int) *Loader {
				c := l
				c.Workers, c.Prefetch = workers, prefetch
				return &c
			}
			name := fmt.Sprintf("%s, variant %d", name, variant)
			first := fresh(1, 1)
			want := []dealt{deal(t, first), deal(t, first), deal(t, first)}
			for _, workers := range []int{1, 2, 7} {
				for _, prefetch := range []int{1, 2, 5} {
					l := fresh(workers, prefetch)
					for e := range want {
						if got := deal(t, l); fmt.Sprint(got) != fmt.Sprint(want[e]) {
							t.Fatalf("%s: with %d workers and %d batches ahead epoch %d is\n%v %v\nnot\n%v %v", name, workers, prefetch, e, got.batches, got.err, want[e].batches, want[e].err)
						}
					}
				}
			}
			// Interrupted behind each batch of epoch 1.
			for k, state := range want[1].states {
				var at LoaderState
				if err := json.Unmarshal([]byte(state), &at); err != nil {
					t.Fatal(err)
				}
				l := fresh(1+k%3, 1+k%2)
				if err := l.SetState(at); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				got := deal(t, l)
				if !slices.Equal(got.batches, want[1].batches[k+1:]) || !slices.Equal(got.states, want[1].states[k+1:]) || got.err != want[1].err {
					t.Fatalf("%s: going on behind batch %d gives\n%v %v\nnot\n%v %v", name, k, got.batches, got.err, want[1].batches[k+1:], want[1].err)
				}
				if got := deal(t, l); !slices.Equal(got.batches, want[2].batches) {
					t.Fatalf("%s: the epoch after going on behind batch %d differs", name, k)
				}
				if l.SkipBad || l.Collate != nil || set.bad != nil {
					continue
				}
				l.Seek(1, k+1)
				if got := deal(t, l); !slices.Equal(got.batches, want[1].batches[k+1:]) {
					t.Fatalf("%s: after Seek(1, %d) %v, not %v", name, k+1, got, want[1].batches[k+1:])
				}
			}
		}
	}
}

// With SkipBad an epoch is that of the good examples, in the same order.
func TestLoaderSkipBad(t *testing.T) {
	for _, bad := range []map[int]bool{
		{}, {0: true}, {4: true}, {29: true}, {3: true, 7: true, 8: true},
		{0: true, 1: true, 2: true, 3: true, 4: true, 5: true, 6: true, 7: true, 8: true, 9: true, 10: true, 11: true, 13: true},
	} {
		for _, stream := range []bool{false, true} {
			for _, workers := range []int{1, 3} {
				s := series{n: 30, bad: bad}
				l := &Loader{Dataset: s, Batch: 4, SkipBad: true, Workers: workers}
				if stream {
					l.Dataset = fileStream{series: s}
				}
				var want []int64
				var left []int64
				for i := range 30 {
					if bad[i] {
						left = append(left, int64(i))
					} else {
						want = append(want, int64(i))
					}
				}
				var got []int64
				for b := range l.Batches(t.Context()) {
					if b.Size != 4 && len(got)+b.Size != len(want) {
						t.Errorf("batch %d has %d examples", b.Index, b.Size)
					}
					got = append(got, b.X.Ints()...)
				}
				if err := l.Err(); err != nil || !slices.Equal(got, want) {
					t.Errorf("without %v: %v, %v", left, got, err)
				}
				var listed []int64
				for _, e := range l.Bad() {
					listed = append(listed, e.Index)
				}
				if !slices.Equal(listed, left) || l.BadCount() != len(left) {
					t.Errorf("left out %v, listed %v, counted %d", left, listed, l.BadCount())
				}
			}
		}
	}
}

func TestLoaderAllBad(t *testing.T) {
	all := map[int]bool{}
	for i := range 40000 {
		all[i] = true
	}
	for _, n := range []int{1, 30, 40000} {
		for _, l := range []*Loader{
			{Dataset: series{n: n, bad: all}},
			{Dataset: fileStream{series: series{n: n, bad: all}, unknown: true}, Shuffle: true},
		} {
			l.Batch, l.SkipBad, l.Workers = 8, true, 2
			for range l.Batches(t.Context()) {
				t.Fatal("a batch of bad examples")
			}
			if err := l.Err(); err == nil || !strings.Contains(err.Error(), "the first: data: reading example") {
				t.Errorf("%d bad examples: error %v", n, err)
			}
		}
	}
	// One good example less than DropLast needs.
	l := &Loader{Dataset: series{n: 4, bad: map[int]bool{2: true}}, Batch: 4, SkipBad: true, DropLast: true}
	for range l.Batches(t.Context()) {
		t.Fatal("a batch that is not full")
	}
	if err := l.Err(); err == nil || !strings.Contains(err.Error(), "no batch") {
		t.Errorf("error %v", err)
	}
}

// Without SkipBad the first bad example in the order ends the epoch, after the batches
// before its own; a panic is named with its place.
func TestLoaderFirstError(t *testing.T) {
	for range 20 {
		l := &Loader{Dataset: series{n: 100, bad: map[int]bool{42: true, 43: true, 60: true, 99: true}}, Batch: 8, Workers: 4, Prefetch: 8}
		n := 0
		for range l.Batches(t.Context()) {
			n++
		}
		var e *ExampleError
		if !errors.As(l.Err(), &e) || n != 5 || e.Index != 42 || e.Batch != 5 || !strings.Contains(e.Error(), "example 42 hurts") || !strings.Contains(e.Error(), "order_test.go:") {
			t.Fatalf("%d batches, error %v", n, l.Err())
		}
	}
}

// failing is a stream that cannot be read on after some records.
type failing struct{ fileStream }

func (s failing) Open(p Pass, from Mark) (StreamReader, error) {
	r, err := s.fileStream.Open(p, from)
	return failingReader{r}, err
}

type failingReader struct{ StreamReader }

func (r failingReader) Next(rec *Record) error {
	if r.Mark().Record == 23 {
		return errors.New("shard-2.tar: the archive is cut")
	}
	return r.StreamReader.Next(rec)
}

func TestLoaderStreamFails(t *testing.T) {
	for _, skip := range []bool{false, true} {
		for _, shuffle := range []bool{false, true} {
			opened := new(atomic.Int64)
			l := &Loader{Dataset: failing{fileStream{series: series{n: 100}, opened: opened}}, Batch: 4, SkipBad: skip, Shuffle: shuffle, ShuffleBuffer: 6, Workers: 2}
			n := 0
			for b := range l.Batches(t.Context()) {
				n += b.Size
			}
			if err := l.Err(); err == nil || !strings.Contains(err.Error(), "the archive is cut") || n != 20 {
				t.Errorf("%d examples, error %v", n, err)
			}
			if opened.Load() != 0 {
				t.Error("the reader was not closed")
			}
		}
	}
}

// The memory that a stream takes is that of the shuffle buffer and the batches.
func TestLoaderStreamRecords(t *testing.T) {
	l := &Loader{Dataset: fileStream{series: series{n: 500}}, Batch: 5, Shuffle: true, ShuffleBuffer: 32, Prefetch: 2, Workers: 2}
	seen := map[int64]bool{}
	for range 3 {
		for b := range l.Batches(t.Context()) {
			for _, v := range b.X.Ints() {
				seen[v] = true
			}
		}
		if err := l.Err(); err != nil || len(seen) != 500 {
			t.Fatalf("%d examples, %v", len(seen), err)
		}
		clear(seen)
	}
	inSlots := 0
	for _, s := range l.ring {
		for _, r := range s.rows {
			if r.rec != nil {
				inSlots++
			}
		}
	}
	if n := len(l.records) + inSlots; n > 32+5*3+1 {
		t.Errorf("%d records were made for a buffer of 32 and 3 batches of 5", n)
	}
}

func TestLoaderStateMistakes(t *testing.T) {
	l := &Loader{Dataset: series{n: 20}, Batch: 4, Shuffle: true, Seed: 1}
	for range l.Batches(t.Context()) {
		break
	}
	s := l.State()
	if s.Epoch != 0 || s.Batches != 1 || s.Examples != 4 {
		t.Errorf("state %+v", s)
	}
	for want, other := range map[string]*Loader{
		"cannot go on in the order":         {Dataset: series{n: 20}, Batch: 4, Shuffle: true, Seed: 2},
		`in the order "21 examples, shuff`:  {Dataset: series{n: 21}, Batch: 4, Shuffle: true, Seed: 1},
		`in the order "20 examples"`:        {Dataset: series{n: 20}, Batch: 4},
		`in the order "a stream of 20 exam`: {Dataset: fileStream{series: series{n: 20}}, Batch: 4},
	} {
		if err := other.SetState(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if err := l.SetState(LoaderState{Batches: -1}); err == nil {
		t.Error("a negative position")
	}
	// Batches of another size go on behind the same example.
	all := fmt.Sprint(slices.Concat(epochOf(t, &Loader{Dataset: series{n: 20}, Batch: 4, Shuffle: true, Seed: 1})...)[4:])
	other := &Loader{Dataset: series{n: 20}, Batch: 5, Shuffle: true, Seed: 1}
	if err := other.SetState(s); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(slices.Concat(epochOf(t, other)...)); got != all {
		t.Errorf("%s, want %s", got, all)
	}
	// A stream whose files have become shorter.
	str := &Loader{Dataset: fileStream{series: series{n: 20}, unknown: true}, Batch: 4, Shuffle: true}
	for range str.Batches(t.Context()) {
	}
	st := LoaderState{Stream: &StreamPosition{Mark: Mark{File: 1}, Window: 1, Taken: 15}, Examples: 15, Batches: 3}
	if err := str.SetState(st); err != nil {
		t.Fatal(err)
	}
	for range str.Batches(t.Context()) {
	}
	if err := str.Err(); err == nil || !strings.Contains(err.Error(), "have the files changed?") {
		t.Errorf("error %v", err)
	}
}

func epochOf(t *testing.T, l *Loader) (batches [][]int64) {
	for b := range l.Batches(t.Context()) {
		batches = append(batches, b.X.Ints())
	}
	if err := l.Err(); err != nil {
		t.Fatal(err)
	}
	return batches
}

// However a loop with many workers is left, none of them is left behind.
func TestLoaderLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	opened, reads := new(atomic.Int64), new(atomic.Int64)
	s := series{n: 200, reads: reads}
	for _, examples := range []Examples{s, fileStream{series: s, opened: opened}} {
		for _, way := range []string{"break", "cancel", "panic", "end"} {
			ctx, cancel := context.WithCancel(t.Context())
			l := &Loader{Dataset: examples, Batch: 4, Workers: 6, Prefetch: 3, Shuffle: true}
			func() {
				defer func() { _ = recover() }()
				for b := range l.Batches(ctx) {
					if b.Index < 3 {
						continue
					}
					switch way {
					case "break":
						return
					case "cancel":
						cancel()
					case "panic":
						panic("in the body")
					}
				}
			}()
			n := reads.Load()
			if err := l.Err(); (err != nil) != (way == "cancel") || err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("%s: error %v", way, err)
			}
			cancel()
			runtime.Gosched()
			if reads.Load() != n || opened.Load() != 0 {
				t.Errorf("%s: something is read after the loop", way)
			}
		}
	}
	for deadline := time.Now().Add(2 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}
