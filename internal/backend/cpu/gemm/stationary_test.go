package gemm

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/backend/cpu/pool"
)

// A Stationary gives the bits of a Problem, for one matrix after another.
func TestStationary(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(21, 22))
		for range 60 {
			m, n, k := 1+r.IntN(40), 1+r.IntN(150), 1+r.IntN(60)
			switch r.IntN(4) {
			case 0:
				k = 380 + r.IntN(400) // in chunks
			case 1:
				m, n, k = 30+r.IntN(30), 250+r.IntN(100), 200+r.IntN(50) // on several workers
			}
			compareStationary[float32](t, r, m, n, k)
			compareStationary[float64](t, r, m, n, k)
		}
	})
}

func compareStationary[T Float](t *testing.T, r *rand.Rand, m, n, k int) {
	t.Helper()
	size := int(unsafe.Sizeof(T(0)))
	lb := r.IntN(5)
	b := newOperand[T](t, r, k, n, lb)
	a := []operand[T]{newOperand[T](t, r, m, k, 0), newOperand[T](t, r, m, k, 0)}
	ldc := n + r.IntN(5)
	count := (m-1)*ldc + n
	result := func() []T { return unsafe.Slice((*T)(guarded(t, count*size)), count) }
	for _, workers := range []int{1, 3} {
		p := pool.New(workers)
		ctx := NewCtx(p)
		covered := make([]int32, m*n)
		problem := Problem{M: m, N: n, K: k, A: a[0].mat, B: b.mat, LDC: ldc, Accumulate: r.IntN(3) == 0}
		if size == 8 {
			problem.Type = Float64
		}
		kept := problem
		kept.Done = func(_, r0, r1, c0, c1 int) {
			for i := r0; i < r1; i++ {
				for j := c0; j < c1; j++ {
					covered[i*n+j]++
				}
			}
		}
		s := NewStationary(ctx, kept)
		s.Pack(b.mat.P, guarded(t, s.Bytes()))
		for _, x := range a {
			clear(covered)
			want, got := result(), result()
			problem.A.P, problem.C = x.mat.P, unsafe.Pointer(&want[0])
			problem.RunSerial(ctx.Worker(0))
			s.Run(x.mat.P, unsafe.Pointer(&got[0]))
			if !slices.Equal(got, want) {
				t.Fatalf("m=%d n=%d k=%d layout %d, %d workers: not the bits of a Problem", m, n, k, lb, workers)
			}
			if slices.ContainsFunc(covered, func(n int32) bool { return n != 1 }) {
				t.Fatalf("m=%d n=%d k=%d, %d workers: Done does not cover the result exactly once", m, n, k, workers)
			}
		}
		p.Close()
	}
}

// The products of a step of an LSTM, forwards and backwards.
func BenchmarkStationary(b *testing.B) {
	for _, c := range []struct {
		m, n, k int
		turned  bool
	}{{32, 1024, 256, true}, {32, 256, 1024, false}} {
		for _, workers := range []int{1, 2} {
			for _, keep := range []bool{false, true} {
				b.Run(fmt.Sprintf("%dx%dx%d/workers=%d/keep=%v", c.m, c.n, c.k, workers, keep), func(b *testing.B) {
					w := pool.New(workers)
					defer w.Close()
					ctx := NewCtx(w)
					mem := func(n int) unsafe.Pointer { var x buffer; x.need(4 * n); return x.p }
					p := Problem{M: c.m, N: c.n, K: c.k, A: Mat{mem(c.m * c.k), c.k, 1}, B: Mat{mem(c.k * c.n), c.n, 1}, C: mem(c.m * c.n), LDC: c.n}
					if c.turned {
						p.B.RS, p.B.CS = 1, c.k
					}
					s := NewStationary(ctx, p)
					s.Pack(p.B.P, mem(s.Bytes()/4))
					for b.Loop() {
						if keep {
							s.Run(p.A.P, p.C)
						} else {
							p.Run(ctx)
						}
					}
					b.ReportMetric(2*float64(c.m*c.n*c.k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
				})
			}
		}
	}
}
