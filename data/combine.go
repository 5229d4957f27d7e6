package data

import (
	"fmt"
	"math"
	"slices"

	"github.com/sinter-dl/sinter"
)

// subset is some examples of another dataset, in an order of its own.
type subset struct {
	of    Dataset
	index []int
}

// Subset is the examples of ds at the given positions, in that order; a
// position may occur more than once.
func Subset(ds Dataset, index []int) (Dataset, error) {
	for at, i := range index {
		if i < 0 || i >= ds.Len() {
			return nil, fmt.Errorf("data: Subset: index %d at position %d, expected 0 to %d", i, at, ds.Len()-1)
		}
	}
	return newSubset(ds, slices.Clone(index)), nil
}

func (s subset) Len() int                       { return len(s.index) }
func (s subset) Fields() []Field                { return s.of.Fields() }
func (s subset) Read(i int, dst [][]byte) error { return s.of.Read(s.index[i], dst) }
func (s subset) Epoch(e int) Dataset            { return newSubset(AtEpoch(s.of, e), s.index) }

// FinishBatch passes the call on.
func (s subset) FinishBatch(index, n int, rows [][]byte) {
	if of, ok := s.of.(BatchDataset); ok {
		of.FinishBatch(index, n, rows)
	}
}

// subPictures is a subset of Pictures.
type subPictures struct {
	subset
	pictures Pictures
}

func (s subPictures) ReadView(i int, dst [][]byte, choose func(width, height int) View) error {
	return s.pictures.ReadView(s.index[i], dst, choose)
}

func newSubset(ds Dataset, index []int) Dataset {
	s := subset{ds, index}
	if p, ok := ds.(Pictures); ok {
		return subPictures{s, p}
	}
	return s
}

// Split parts ds at random, so that rest has about the given fraction of the
// examples, at least one, and first the others. The parts depend on the seed
// alone; within them the examples keep their order.
func Split(ds Dataset, fraction float64, seed uint64) (first, rest Dataset, err error) {
	n := ds.Len()
	a, b, err := splitIndex(n, fraction, seed)
	if err != nil {
		return nil, nil, err
	}
	return newSubset(ds, a), newSubset(ds, b), nil
}

func splitIndex(n int, fraction float64, seed uint64) (first, rest []int, err error) {
	if !(fraction > 0 && fraction < 1) {
		return nil, nil, fmt.Errorf("data: Split: fraction %v, expected a number between 0 and 1", fraction)
	}
	if n < 2 {
		return nil, nil, fmt.Errorf("data: Split: %d examples cannot be parted; expected at least 2", n)
	}
	k := min(max(int(math.Round(fraction*float64(n))), 1), n-1)
	perm := sinter.NewGenerator(mix(seed, splitSite)).Perm(n)
	first, rest = perm[k:], perm[:k]
	slices.Sort(first)
	slices.Sort(rest)
	return first, rest, nil
}

// splitSite sets the random numbers of Split apart from those of a loader that
// was given the same seed.
const splitSite = 0x73706c6974

// concat is several datasets one after the other.
type concat struct {
	parts []Dataset
	ends  []int // ends[p] is the number of examples up to and with part p
}

// Concat is the examples of all parts, one after the other. The parts must have
// fields of the same types and shapes.
func Concat(parts ...Dataset) (Dataset, error) {
	if len(parts) == 0 {
		return nil, fmt.Errorf("data: Concat of nothing; expected at least one dataset")
	}
	c := concat{parts: slices.Clone(parts)}
	n := 0
	for i, p := range parts {
		same := slices.EqualFunc(p.Fields(), parts[0].Fields(), func(a, b Field) bool {
			return a.DType == b.DType && slices.Equal(a.Shape, b.Shape)
		})
		if !same {
			return nil, fmt.Errorf("data: Concat: part %d has the fields %v, expected those of part 0, %v", i, p.Fields(), parts[0].Fields())
		}
		n += p.Len()
		c.ends = append(c.ends, n)
	}
	return c, nil
}

func (c concat) Len() int        { return c.ends[len(c.ends)-1] }
func (c concat) Fields() []Field { return c.parts[0].Fields() }

// FinishBatch passes the call on to the first part.
func (c concat) FinishBatch(index, n int, rows [][]byte) {
	if of, ok := c.parts[0].(BatchDataset); ok {
		of.FinishBatch(index, n, rows)
	}
}

func (c concat) Read(i int, dst [][]byte) error {
	p, i := c.part(i)
	return c.parts[p].Read(i, dst)
}

// part tells which part example i is in, and where in it.
func (c concat) part(i int) (p, at int) {
	p, _ = slices.BinarySearch(c.ends, i+1)
	if p > 0 {
		i -= c.ends[p-1]
	}
	return p, i
}

func (c concat) Epoch(e int) Dataset {
	parts := make([]Dataset, len(c.parts))
	for i, p := range c.parts {
		parts[i] = AtEpoch(p, e)
	}
	return concat{parts, c.ends}
}
