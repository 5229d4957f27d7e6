package data

import "github.com/sinter-dl/sinter"

// Stream is examples that are read one after the other from the beginning, because
// there are more of them than fit in memory, or because their files cannot be read
// otherwise. A Loader takes one in place of a Dataset.
//
// The work is parted in two. A StreamReader finds the bytes of the next example (a
// line, the members of a tar archive) in one goroutine. Decode makes the example of
// them, in as many goroutines as the Loader has workers, so what is expensive
// (decompressing an image, parsing, tokenizing) belongs there. In between lies the
// Loader's shuffle buffer, which so holds files' bytes and not their larger tensors.
//
// What an implementation must keep:
//
//   - Determinism. The records of a Pass and their order follow from the Pass and the
//     files alone: not from time, the order in which a folder is listed by the system,
//     or random numbers other than those drawn with Pass.Seed and Pass.Epoch. Decode
//     follows from the Record alone.
//   - Shards. The Shards passes of an epoch that differ in Shard alone are disjoint and
//     together give every example once. Pass.Files is the rule to use.
//   - Resuming. Open with a Mark that a reader of the same Pass gave, in this process or
//     another, goes on with the record that that reader would have given next, with the
//     same Index. It should seek, and skip only where it cannot, as in compressed files.
//     If the files are no longer those (a Mark lies behind the end), it is an error.
//   - Bounded memory. Neither a Stream nor a reader keeps records; a reader holds one
//     file open and what one record needs. A record above a limit of the
//     implementation's is a *RecordError, found before memory is taken for it.
//   - Errors. They name the file, the place in it (line, member, row), what was
//     expected and the remedy. Next returns io.EOF at the end, a *RecordError when only
//     this record is spoilt and Next may be called again, and any other error when
//     nothing more can be read. What Decode returns always concerns one record. A Loader
//     with SkipBad leaves out records with such errors and stops at all others.
type Stream interface {
	// Fields describes an example. The result must not be changed.
	Fields() []Field
	// Len is the number of examples of an epoch, in all shards, or -1 if that is not
	// known without reading them.
	Len() int
	// Open begins a pass over the examples, or goes on with one at a Mark. The zero Mark
	// is the beginning.
	Open(pass Pass, from Mark) (StreamReader, error)
	// Decode writes the example to dst, as Dataset.Read does. It is called by several
	// goroutines at once and must not change or keep the Record.
	Decode(r *Record, dst [][]byte) error
}

// BatchStream is a Stream that changes whole batches, as BatchDataset does. Which epoch it
// is it is told.
type BatchStream interface {
	Stream
	FinishBatch(epoch, index, n int, rows [][]byte)
}

// StreamReader is one pass over a Stream. It serves one goroutine.
type StreamReader interface {
	// Next puts the next record into r, whatever that holds: it sets all fields but Epoch,
	// and Data and Ends by appending to r.Data[:0] and r.Ends[:0], so that no memory is made
	// when they are large enough. At the end it returns io.EOF.
	Next(r *Record) error
	// Mark is the place before the record that Next will give. It costs next to nothing:
	// it is asked for every few records.
	Mark() Mark
	Close() error
}

// Record is an example taken from a stream and not decoded yet.
type Record struct {
	// Index tells the example from all others of the Stream, in all shards and whatever
	// the epoch: the number of the file in the high 32 bits and that of the record within
	// it in the low ones, say. Random augmentation is keyed by it, see ExampleSeed.
	Index int64
	Epoch int // of the pass; the Loader sets it

	Data []byte // the bytes, in whatever form Decode takes them
	Ends []int  // where the parts of Data end, if it has several

	// File and Place are the implementation's own, for messages of Decode: the number of
	// a file and of a line in it, for example.
	File  int
	Place int64

	// Length is about how long the example will be, in any unit; a Loader that buckets
	// puts examples of like Length in one batch. 0 if that is not known cheaply.
	Length int
}

// Mark is a place between two records of a pass. It goes into checkpoints as JSON.
// What the numbers count is the implementation's business; zero is the beginning.
type Mark struct {
	File   int   `json:"file"`   // how many files of the pass lie before it
	Offset int64 `json:"offset"` // in that file, such as bytes or rows
	Record int64 `json:"record"` // such as the number of the line there
}

// Pass is one way through a Stream.
type Pass struct {
	Epoch         int
	Shard, Shards int    // this pass gives part Shard, from 0, of the examples; Shards is at least 1
	Shuffle       bool   // files may come in another order every epoch
	Seed          uint64 // of that order
}

// Files deals a stream's n files out to the shards, or whatever large parts it has: it
// gives the numbers of those that belong to this pass, in the order in which they are
// to be read. With fewer files than shards every pass reads all of them, deal is true,
// and of the records, numbered from 0 over all files in that order, the pass gives
// those for which Mine is true.
func (p Pass) Files(n int) (files []int, deal bool) {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	if p.Shuffle {
		order = sinter.NewGenerator(mix(mix(p.Seed, filesSite), uint64(p.Epoch))).Perm(n)
	}
	if n < p.Shards {
		return order, true
	}
	for i := p.Shard; i < n; i += max(1, p.Shards) {
		files = append(files, order[i])
	}
	return files, false
}

// Mine tells whether record i of the epoch belongs to the pass, where records are dealt
// one by one.
func (p Pass) Mine(i int64) bool { return p.Shards <= 1 || i%int64(p.Shards) == int64(p.Shard) }

// RecordError is what StreamReader.Next returns of a record that is spoilt while those
// after it can be read.
type RecordError struct {
	Index int64 // of the record
	Err   error
}

func (e *RecordError) Error() string { return e.Err.Error() }
func (e *RecordError) Unwrap() error { return e.Err }

// Examples is what a Loader deals out: a Dataset or a Stream.
type Examples interface {
	Fields() []Field
	Len() int // -1 if that is not known, which only a Stream may say
}

// ExampleSeed is the seed of the random numbers that belong to one example in one epoch:
// what augmentation is drawn from. They depend on these three numbers alone and so not on
// the order of the examples, the workers, or whether the run was interrupted. A wrapper
// over a Dataset implements EpochDataset to learn the epoch, with i as index:
//
//	func (f flipped) Epoch(e int) data.Dataset { f.Dataset, f.epoch = data.AtEpoch(f.Dataset, e), e; return f }
//
//	func (f flipped) Read(i int, dst [][]byte) error {
//		if err := f.Dataset.Read(i, dst); err != nil {
//			return err
//		}
//		g := generators.Get().(*sinter.Generator) // a sync.Pool: one for each worker
//		defer generators.Put(g)
//		g.Reset(data.ExampleSeed(f.seed, f.epoch, int64(i)))
//		if g.Float64() < 0.5 {
//			…
//
// A wrapper over a Stream finds both in the Record that its Decode is given. An example
// that a sampler draws twice in an epoch is the same both times.
func ExampleSeed(seed uint64, epoch int, index int64) uint64 {
	return mix(mix(mix(seed, exampleSite), uint64(epoch)), uint64(index))
}

// These set the random numbers of one purpose apart from those of others that were given
// the same seed.
const (
	filesSite   = 0x66696c6573
	exampleSite = 0x6578616d706c65
)
