package data

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

func sample(t *testing.T, s Sampler, n int, seed uint64, epoch int) []int {
	t.Helper()
	order := make([]int, s.Len(n))
	if err := s.Sample(order, n, seed, epoch); err != nil {
		t.Fatal(err)
	}
	return order
}

// The cases are torch.utils.data.DistributedSampler's, without shuffling.
func TestDistributedSampler(t *testing.T) {
	for _, c := range []struct {
		n, world int
		drop     bool
		want     string
	}{
		{10, 3, false, "[[0 3 6 9] [1 4 7 0] [2 5 8 1]]"},
		{10, 3, true, "[[0 3 6] [1 4 7] [2 5 8]]"},
		{9, 3, false, "[[0 3 6] [1 4 7] [2 5 8]]"},
		{2, 5, false, "[[0] [1] [0] [1] [0]]"},
	} {
		var got [][]int
		for rank := range c.world {
			got = append(got, sample(t, DistributedSampler{Rank: rank, World: c.world, DropLast: c.drop}, c.n, 1, 0))
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("%d examples among %d: %v, want %s", c.n, c.world, got, c.want)
		}
	}
	// Shuffled, the parts are disjoint and cover everything, but for the padding.
	for _, n := range []int{7, 100, 101} {
		count := make([]int, n)
		for rank := range 4 {
			for _, i := range sample(t, DistributedSampler{Rank: rank, World: 4, Of: RandomSampler{}}, n, 3, 2) {
				count[i]++
			}
		}
		twice := 0
		for i, k := range count {
			if k < 1 || k > 2 {
				t.Errorf("example %d of %d occurs %d times", i, n, k)
			}
			twice += k - 1
		}
		if twice != (4-n%4)%4 {
			t.Errorf("%d of %d examples occur twice", twice, n)
		}
	}
	if err := (&Loader{Dataset: series{n: 5}, Batch: 1, Sampler: DistributedSampler{Rank: 3, World: 3}}).prepare(); err == nil {
		t.Error("rank 3 of 3")
	}
}

func TestWeightedSampler(t *testing.T) {
	weights := []float64{0, 1, 2, 0, 5}
	count := make([]int, 5)
	const n = 20000
	for _, i := range sample(t, WeightedSampler{Weights: weights, Count: n}, 5, 7, 0) {
		count[i]++
	}
	for i, w := range weights {
		p := w / 8
		if sigma := math.Sqrt(n * p * (1 - p)); math.Abs(float64(count[i])-n*p) > 5*sigma {
			t.Errorf("weight %v is drawn %d times of %d", w, count[i], n)
		}
	}
	// Without replacement: the first has its weight's share, the second its share of the rest.
	first, pair := make([]int, 5), 0
	for e := range 4000 {
		o := sample(t, WeightedSampler{Weights: weights, Count: 3, WithoutReplacement: true}, 5, 7, e)
		if slices.Equal(o[:2], []int{4, 2}) {
			pair++
		}
		first[o[0]]++
		if slices.Sort(o); !slices.Equal(o, []int{1, 2, 4}) {
			t.Fatalf("drawn %v", o)
		}
	}
	near := func(what string, k int, p float64) {
		if math.Abs(float64(k)-4000*p) > 5*math.Sqrt(4000*p*(1-p)) {
			t.Errorf("%s: %d of 4000, want a share of %v", what, k, p)
		}
	}
	near("4 first", first[4], 5./8)
	near("1 first", first[1], 1./8)
	near("4, then 2", pair, 5./8*2./3)
	for want, s := range map[string]WeightedSampler{
		"3 weights for 5":      {Weights: []float64{1, 2, 3}},
		"expected a number":    {Weights: []float64{1, 2, 3, -1, 0}},
		"all weights are 0":    {Weights: make([]float64, 5)},
		"only 3 have a weight": {Weights: weights, Count: 4, WithoutReplacement: true},
	} {
		if err := s.Sample(make([]int, s.Len(5)), 5, 1, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// Example i of series has i%7+1 bytes i, i+1, …
func TestPad(t *testing.T) {
	for _, c := range []struct {
		pad  Pad
		want string
	}{
		{Pad{}, "[2 2] [0 0 1 2] [1 2] [true false true true]; [2 4] [2 3 4 0 3 4 5 6] [3 4] [true true true false true true true true]"},
		{Pad{Value: 9}, "[2 2] [0 9 1 2] [1 2] [true false true true]; [2 4] [2 3 4 9 3 4 5 6] [3 4] [true true true false true true true true]"},
		{Pad{Multiple: 4, Values: map[string]float64{"y": 255}}, "[2 4] [0 255 255 255 1 2 255 255] [1 2] [true false false false true true false false]; [2 4] [2 3 4 255 3 4 5 6] [3 4] [true true true false true true true true]"},
		{Pad{To: []int{3, 7}}, "[2 3] [0 0 0 1 2 0] [1 2] [true false false true true false]; [2 7] [2 3 4 0 0 0 0 3 4 5 6 0 0 0] [3 4] [true true true false false false false true true true true false false false]"},
	} {
		l := &Loader{Dataset: series{n: 4, ragged: true}, Batch: 2, Collate: c.pad}
		var got []string
		for b := range l.Batches(t.Context()) {
			got = append(got, fmt.Sprint(b.Y.Shape(), b.Y.Ints(), b.Lengths[1].Ints(), b.Masks[1].Bools()))
			if b.Lengths[0] != nil || b.Masks[0] != nil {
				t.Error("a field that is not ragged has lengths")
			}
		}
		if err := l.Err(); err != nil {
			t.Fatal(err)
		}
		if strings.Join(got, "; ") != c.want {
			t.Errorf("%+v gives\n%s\nwant\n%s", c.pad, strings.Join(got, "; "), c.want)
		}
	}
	// Bucketed, all batches but those at the edges of a window are of one length or two.
	waste := func(bucket int) (filled int) {
		l := &Loader{Dataset: series{n: 700, ragged: true}, Batch: 10, Shuffle: true, Collate: Pad{Bucket: bucket}}
		for b := range l.Batches(t.Context()) {
			for _, real := range b.Masks[1].Bools() {
				if !real {
					filled++
				}
			}
		}
		if err := l.Err(); err != nil {
			t.Fatal(err)
		}
		return filled
	}
	if none, some := waste(0), waste(35); some*10 > none {
		t.Errorf("%d elements are filled in without buckets, %d with", none, some)
	}
	for want, l := range map[string]*Loader{
		"set the Loader's Collate": {Dataset: series{n: 4, ragged: true}},
		"the largest length is 5":  {Dataset: series{n: 4, ragged: true}, Collate: Pad{To: []int{5}}},
		"rising":                   {Dataset: series{n: 4, ragged: true}, Collate: Pad{To: []int{5, 5, 7}}},
		"no ragged field":          {Dataset: series{n: 4, ragged: true}, Collate: Pad{Values: map[string]float64{"x": 1}}},
		"cannot be filled with":    {Dataset: series{n: 4, ragged: true}, Collate: Pad{Value: 256}},
	} {
		l.Batch = 2
		if err := l.prepare(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
