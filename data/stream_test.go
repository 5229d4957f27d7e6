package data

import (
	"slices"
	"testing"

	"github.com/sinter-dl/sinter"
)

// The files of an epoch are dealt out completely and without overlap, in the same order
// for the same epoch.
func TestPassFiles(t *testing.T) {
	for _, n := range []int{1, 2, 7, 16} {
		for _, shards := range []int{1, 2, 3, 7, 20} {
			for _, shuffle := range []bool{false, true} {
				var all []int
				for shard := range shards {
					p := Pass{Epoch: 3, Shard: shard, Shards: shards, Shuffle: shuffle, Seed: 9}
					files, deal := p.Files(n)
					if deal != (n < shards) {
						t.Fatalf("%d files, %d shards: deal %v", n, shards, deal)
					}
					if again, _ := p.Files(n); !slices.Equal(files, again) {
						t.Fatal("the order is not repeatable")
					}
					if !deal {
						all = append(all, files...)
						continue
					}
					for i := range n {
						if p.Mine(int64(i)) {
							all = append(all, files[i])
						}
					}
				}
				slices.Sort(all)
				for i, f := range all {
					if len(all) != n || f != i {
						t.Fatalf("%d files, %d shards: dealt out %v", n, shards, all)
					}
				}
			}
		}
	}
	a, _ := Pass{Shards: 1, Shuffle: true, Seed: 9}.Files(16)
	b, _ := Pass{Shards: 1, Shuffle: true, Seed: 9, Epoch: 1}.Files(16)
	c, _ := Pass{Shards: 1, Shuffle: true, Seed: 10}.Files(16)
	if slices.Equal(a, b) || slices.Equal(a, c) || slices.IsSorted(a) {
		t.Errorf("orders %v, %v, %v", a, b, c)
	}
}

func TestExampleSeed(t *testing.T) {
	seen := map[uint64]bool{}
	for seed := range uint64(8) {
		for epoch := range 8 {
			for i := range int64(8) {
				seen[ExampleSeed(seed, epoch, i)] = true
			}
		}
	}
	if len(seen) != 512 {
		t.Errorf("%d different seeds of 512", len(seen))
	}
	g := sinter.NewGenerator(1)
	g.NormFloat64()
	g.Reset(7)
	if h := sinter.NewGenerator(7); g.NormFloat64() != h.NormFloat64() || g.Uint64() != h.Uint64() {
		t.Error("a generator that was reset differs from a new one")
	}
}
