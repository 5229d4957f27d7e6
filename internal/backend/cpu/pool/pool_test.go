package pool

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestEveryChunkOnce(t *testing.T) {
	for _, workers := range []int{1, 2, 3, 7} {
		p := New(workers)
		defer p.Close()
		if p.Workers() != workers {
			t.Fatalf("Workers() = %d, want %d", p.Workers(), workers)
		}
		for _, chunks := range []int{0, 1, 2, 5, 100} {
			for range 200 {
				seen := make([]int32, chunks)
				busy := make([]atomic.Bool, workers)
				p.Run(chunks, func(w, c int) {
					if busy[w].Swap(true) {
						t.Error("two chunks at a time with one worker number")
					}
					atomic.AddInt32(&seen[c], 1)
					busy[w].Store(false)
				})
				for c, n := range seen {
					if n != 1 {
						t.Fatalf("%d workers: chunk %d of %d ran %d times", workers, c, chunks, n)
					}
				}
			}
		}
	}
}

// Writes made by chunks must be visible to the caller, and the caller's to the
// chunks, without atomics: what the race detector is here for.
func TestMemoryOrder(t *testing.T) {
	p := New(4)
	defer p.Close()
	data := make([]int, 64)
	for i := range 300 {
		if i%100 == 50 {
			time.Sleep(2 * maxSpin) // let the helpers park
		}
		p.Run(len(data), func(_, c int) { data[c]++ })
		for c := range data {
			if data[c] != 2*i+1 {
				t.Fatalf("data[%d] = %d after %d runs", c, data[c], i)
			}
			data[c]++
		}
	}
}

func TestNested(t *testing.T) {
	p := New(3)
	defer p.Close()
	var n atomic.Int64
	p.Run(10, func(_, _ int) {
		p.Run(10, func(w, _ int) {
			if w != 0 {
				t.Error("a nested Run must be serial")
			}
			n.Add(1)
		})
	})
	if n.Load() != 100 {
		t.Fatal(n.Load())
	}
}

func TestConcurrent(t *testing.T) {
	p := New(3)
	defer p.Close()
	var wg sync.WaitGroup
	var n atomic.Int64
	for range 4 {
		wg.Go(func() {
			for range 100 {
				p.Run(7, func(_, _ int) { n.Add(1) })
			}
		})
	}
	wg.Wait()
	if n.Load() != 2800 {
		t.Fatal(n.Load())
	}
}

func TestPanic(t *testing.T) {
	p := New(3)
	defer p.Close()
	for at := range 20 {
		func() {
			defer func() {
				if v := recover(); v != at {
					t.Fatalf("recovered %v, want %d", v, at)
				}
			}()
			p.Run(20, func(_, c int) {
				if c == at {
					panic(at)
				}
			})
		}()
	}
	ran := atomic.Int64{}
	p.Run(20, func(_, _ int) { ran.Add(1) })
	if ran.Load() != 20 {
		t.Fatal("the pool is unusable after a panic")
	}
}

func TestClosed(t *testing.T) {
	p := New(2)
	p.Close()
	n := 0
	p.Run(5, func(w, _ int) { n++ })
	if n != 5 {
		t.Fatal(n)
	}
}

// Fewer workers take part than there are, and all chunks are run all the same.
func TestThreads(t *testing.T) {
	p := New(4)
	defer p.Close()
	for _, n := range []int{1, 3, 2, 4, 0, 99} {
		p.SetThreads(n)
		most := max(1, min(n, 4, runtime.GOMAXPROCS(0)))
		if p.Threads() != most {
			t.Errorf("Threads() = %d after SetThreads(%d), want %d", p.Threads(), n, most)
		}
		for range 200 {
			var ran atomic.Int32
			p.Run(9, func(w, _ int) {
				ran.Add(1)
				if most == 1 && w != 0 {
					t.Errorf("worker %d runs a chunk with one thread", w)
				}
			})
			if ran.Load() != 9 {
				t.Fatalf("%d chunks of 9 ran", ran.Load())
			}
		}
	}
}

// BenchmarkForkJoin is a region of two chunks of the given duration, after the caller
// has worked alone for the length of gap: what is above the chunk's duration is the
// cost of handing over and waiting.
func BenchmarkForkJoin(b *testing.B) {
	p := New(2)
	defer p.Close()
	work := func(us int) {
		for start := time.Now(); time.Since(start) < time.Duration(us)*time.Microsecond; {
		}
	}
	for _, gap := range []int{0, 20, 200} {
		for _, us := range []int{0, 5, 20, 100} {
			b.Run(fmt.Sprintf("gap=%dus/work=2x%dus", gap, us), func(b *testing.B) {
				var times []time.Duration
				f := func(_, _ int) { work(us) }
				for range b.N {
					work(gap)
					start := time.Now()
					p.Run(2, f)
					times = append(times, time.Since(start))
				}
				slices.Sort(times)
				b.ReportMetric(float64(times[len(times)/2].Nanoseconds())/1000, "median-us")
				b.ReportMetric(float64(times[len(times)*95/100].Nanoseconds())/1000, "p95-us")
			})
		}
	}
}

func BenchmarkRun(b *testing.B) {
	p := New(2)
	defer p.Close()
	b.ReportAllocs()
	f := func(_, _ int) {}
	for b.Loop() {
		p.Run(2, f)
	}
}
