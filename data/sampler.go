package data

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/sinter-dl/sinter"
)

// Sampler says which examples of a dataset make up an epoch, and in which order. Its
// answer depends on its arguments alone.
type Sampler interface {
	// Len is the number of examples that an epoch draws from a dataset of n.
	Len(n int) int
	// Sample fills order, which has Len(n) elements, with positions of a dataset of n for
	// an epoch. It may do so at random, from the seed and the epoch.
	Sample(order []int, n int, seed uint64, epoch int) error
}

// SequentialSampler is the dataset's own order.
type SequentialSampler struct{}

func (SequentialSampler) Len(n int) int { return n }

func (SequentialSampler) Sample(order []int, n int, seed uint64, epoch int) error {
	for i := range order {
		order[i] = i
	}
	return nil
}

// RandomSampler is all examples in a new order every epoch: what Loader.Shuffle means.
type RandomSampler struct{}

func (RandomSampler) Len(n int) int { return n }

// Every epoch starts from the dataset's own order, so that an epoch can be repeated
// without going through those before it.
func (RandomSampler) Sample(order []int, n int, seed uint64, epoch int) error {
	for i := range order {
		order[i] = i
	}
	shuffle(order, sinter.NewGenerator(mix(seed, uint64(epoch))))
	return nil
}

func shuffle[T any](list []T, g *sinter.Generator) {
	for i := len(list) - 1; i > 0; i-- {
		j := g.IntN(i + 1)
		list[i], list[j] = list[j], list[i]
	}
}

// SubsetSampler draws the examples at the given positions only, in that order or, with
// Shuffle, in a new one every epoch.
type SubsetSampler struct {
	Indices []int
	Shuffle bool
}

func (s SubsetSampler) Len(n int) int { return len(s.Indices) }

func (s SubsetSampler) Sample(order []int, n int, seed uint64, epoch int) error {
	copy(order, s.Indices)
	if s.Shuffle {
		shuffle(order, sinter.NewGenerator(mix(seed, uint64(epoch))))
	}
	return nil
}

// WeightedSampler draws examples with probabilities in the proportions of their weights,
// to balance classes of different sizes for example: PyTorch's WeightedRandomSampler.
type WeightedSampler struct {
	Weights []float64 // one for each example, at least 0; they need not sum to anything
	Count   int       // examples drawn in an epoch; 0: as many as there are weights

	// WithoutReplacement draws every example at most once: one after the other, each with
	// its share among those that are left.
	WithoutReplacement bool
}

func (s WeightedSampler) Len(n int) int { return cmp.Or(s.Count, len(s.Weights)) }

func (s WeightedSampler) Sample(order []int, n int, seed uint64, epoch int) error {
	if len(s.Weights) != n {
		return fmt.Errorf("data: WeightedSampler: %d weights for %d examples", len(s.Weights), n)
	}
	positive := 0
	sums := make([]float64, n)
	sum := 0.0
	for i, w := range s.Weights {
		if !(w >= 0) || math.IsInf(w, 1) {
			return fmt.Errorf("data: WeightedSampler: the weight of example %d is %v, expected a number from 0 on", i, w)
		}
		if w > 0 {
			positive++
		}
		sum += w
		sums[i] = sum
	}
	switch {
	case positive == 0:
		return fmt.Errorf("data: WeightedSampler: all weights are 0")
	case math.IsInf(sum, 1):
		return fmt.Errorf("data: WeightedSampler: the sum of the weights is above the largest float64")
	case s.WithoutReplacement && positive < len(order):
		return fmt.Errorf("data: WeightedSampler: %d examples are to be drawn without replacement, but only %d have a weight above 0", len(order), positive)
	}
	g := sinter.NewGenerator(mix(mix(seed, weightedSite), uint64(epoch)))
	if !s.WithoutReplacement {
		for k := range order {
			u := g.Float64() * sum
			// The first sum above u; so an example of weight 0, whose sum is that of the one
			// before it, is never drawn. Rounding may bring u up to the whole sum.
			i := sort.Search(n, func(i int) bool { return sums[i] > u })
			if i == n {
				i = slices.Index(sums, sum)
			}
			order[k] = i
		}
		return nil
	}
	// Efraimidis and Spirakis, Weighted random sampling with a reservoir (2006): the
	// examples by rising E/w, E being exponentially distributed, are in an order that is
	// distributed as if they had been drawn one by one.
	type key struct {
		v float64
		i int
	}
	keys := make([]key, 0, positive)
	for i, w := range s.Weights {
		e := g.ExpFloat64()
		if w > 0 {
			keys = append(keys, key{e / w, i})
		}
	}
	slices.SortFunc(keys, func(a, b key) int { return cmp.Or(cmp.Compare(a.v, b.v), cmp.Compare(a.i, b.i)) })
	for k := range order {
		order[k] = keys[k].i
	}
	return nil
}

// DistributedSampler deals an epoch out to the processes that train together: process
// Rank gets the examples Rank, Rank+World, … of the order of Of. All get equally many, by
// the rule of PyTorch's DistributedSampler: the order is filled up with examples from its
// beginning or, with DropLast, cut. With a Stream it chooses the shard.
type DistributedSampler struct {
	Rank, World int
	Of          Sampler // SequentialSampler if nil, or RandomSampler if the Loader's Shuffle is set
	DropLast    bool
}

func (s DistributedSampler) of() Sampler {
	if s.Of == nil {
		return SequentialSampler{}
	}
	return s.Of
}

func (s DistributedSampler) check() error {
	if s.World < 1 || s.Rank < 0 || s.Rank >= s.World {
		return fmt.Errorf("data: DistributedSampler: rank %d of %d processes, expected 0 to one less than their number", s.Rank, s.World)
	}
	return nil
}

func (s DistributedSampler) Len(n int) int {
	n = s.of().Len(n)
	if s.check() != nil {
		return 0
	}
	if s.DropLast {
		return n / s.World
	}
	return (n + s.World - 1) / s.World
}

func (s DistributedSampler) Sample(order []int, n int, seed uint64, epoch int) error {
	if err := s.check(); err != nil {
		return err
	}
	all := make([]int, s.of().Len(n))
	if err := s.of().Sample(all, n, seed, epoch); err != nil {
		return err
	}
	for k := range order {
		order[k] = all[(s.Rank+k*s.World)%len(all)]
	}
	return nil
}

// Measured is a Dataset of ragged examples that knows how long they are without reading
// them, for a Pad with Bucket.
type Measured interface {
	Dataset
	Length(i int) int
}

// lengths tells the lengths of a dataset's examples, nil if it does not know them.
func lengths(ds Dataset) func(i int) int {
	switch ds := ds.(type) {
	case Measured:
		return ds.Length
	case *memoryCache:
		return lengths(ds.Dataset)
	case *diskCache:
		return lengths(ds.Dataset)
	case subset:
		if of := lengths(ds.of); of != nil {
			return func(i int) int { return of(ds.index[i]) }
		}
	case concat:
		parts := make([]func(int) int, len(ds.parts))
		for p, part := range ds.parts {
			if parts[p] = lengths(part); parts[p] == nil {
				return nil
			}
		}
		return func(i int) int {
			p, i := ds.part(i)
			return parts[p](i)
		}
	}
	return nil
}

// bucket puts what is of like length into one batch: it sorts the list by length, cuts
// it into batches and shuffles these; without g they stay sorted. A last batch that is
// not full stays last.
func bucket[T any](list []T, batch int, length func(T) int, g *sinter.Generator) {
	slices.SortStableFunc(list, func(a, b T) int { return cmp.Compare(length(a), length(b)) })
	if g == nil {
		return
	}
	for i := len(list)/batch - 1; i > 0; i-- {
		j := g.IntN(i + 1)
		for k := range batch {
			a, b := i*batch+k, j*batch+k
			list[a], list[b] = list[b], list[a]
		}
	}
}

const (
	weightedSite = 0x7765696768746564
	bucketSite   = 0x6275636b6574
)
