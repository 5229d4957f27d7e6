package gemm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/backend/cpu/pool"
	"github.com/sinter-dl/sinter/internal/dtype"
)

// The order that gen/main.go and gen/stream.go assume.
func TestArgsLayout(t *testing.T) {
	var a args
	got := []uintptr{
		unsafe.Offsetof(a.k), unsafe.Offsetof(a.a), unsafe.Offsetof(a.b), unsafe.Offsetof(a.tab), unsafe.Offsetof(a.c),
		unsafe.Offsetof(a.rsa), unsafe.Offsetof(a.csa), unsafe.Offsetof(a.ldc), unsafe.Offsetof(a.tiles),
		unsafe.Offsetof(a.astep), unsafe.Offsetof(a.cstep), unsafe.Offsetof(a.mask), unsafe.Offsetof(a.acc), unsafe.Offsetof(a.odd),
		unsafe.Offsetof(a.next), unsafe.Offsetof(a.nextStep), unsafe.Offsetof(a.at), unsafe.Offsetof(a.rest),
	}
	for i, o := range got {
		if unsafe.Sizeof(uintptr(0)) == 8 && o != uintptr(8*i) {
			t.Errorf("field %d lies at %d", i, o)
		}
	}
	var s streamArgs
	for i, o := range []uintptr{
		unsafe.Offsetof(s.y), unsafe.Offsetof(s.x), unsafe.Offsetof(s.w), unsafe.Offsetof(s.ldy), unsafe.Offsetof(s.ldx),
		unsafe.Offsetof(s.ldw), unsafe.Offsetof(s.step), unsafe.Offsetof(s.n), unsafe.Offsetof(s.mask), unsafe.Offsetof(s.groups),
		unsafe.Offsetof(s.acc),
	} {
		if unsafe.Sizeof(uintptr(0)) == 8 && o != uintptr(8*i) {
			t.Errorf("field %d of a streaming kernel's lies at %d", i, o)
		}
	}
}

// eachLevel runs a test at every instruction set of this machine, and with both ways
// to multiply bfloat16.
func eachLevel(t *testing.T, f func(t *testing.T)) {
	before := current
	defer func() { current = before }()
	for _, l := range levels {
		current = l
		t.Run(l.name, f)
		if l.pairs != nil {
			current.bf16 = l.pairs
			if l.bf16 == l.pairs {
				current.bf16 = converting(l.f32, bfloat16)
			}
			t.Run(l.name+" otherwise", f)
		}
	}
}

// The half types, for tests.
type (
	bf16 uint16
	f16  uint16
)

// element is the type of an operand's elements.
type element interface {
	float32 | float64 | bf16 | f16
}

func typeOf[T element]() Type {
	switch any(T(0)).(type) {
	case float32:
		return Float32
	case float64:
		return Float64
	case bf16:
		return BFloat16
	}
	return Float16
}

func toFloat[T element](x T) float64 {
	switch x := any(x).(type) {
	case bf16:
		return float64(dtype.BFloat16ToFloat32(uint16(x)))
	case f16:
		return float64(dtype.Float16ToFloat32(uint16(x)))
	}
	return float64(x)
}

// from is an x that the type has, near the given one.
func from[T element](x float64) T {
	switch typeOf[T]() {
	case BFloat16:
		return T(math.Float32bits(float32(x)) >> 16)
	case Float16:
		return T(dtype.Float16FromFloat32(float32(x)))
	}
	return T(x)
}

// operand is a random matrix within guarded memory. Between its elements are NaN.
type operand[T element] struct {
	mat        Mat
	rows, cols int
}

func (o operand[T]) at(i, j int) *T {
	return (*T)(unsafe.Add(o.mat.P, (i*o.mat.RS+j*o.mat.CS)*int(unsafe.Sizeof(T(0)))))
}

// layouts are row-major, transposed, both with and without a gap, the awkward
// ones, and those with strides that are zero or negative.
func newOperand[T element](t testing.TB, r *rand.Rand, rows, cols, layout int) operand[T] {
	o := operand[T]{rows: rows, cols: cols}
	switch layout {
	case 0:
		o.mat.RS, o.mat.CS = cols, 1
	case 1:
		o.mat.RS, o.mat.CS = 1, rows
	case 2:
		o.mat.RS, o.mat.CS = cols+r.IntN(9), 1
	case 3:
		o.mat.RS, o.mat.CS = 1, rows+r.IntN(9)
	case 4:
		o.mat.RS, o.mat.CS = 2*cols+3, 2
	case 5:
		o.mat.RS, o.mat.CS = 0, 1
	case 6:
		o.mat.RS, o.mat.CS = 1, 0
	case 7:
		o.mat.RS, o.mat.CS = -cols, 1
	case 8:
		o.mat.RS, o.mat.CS = (cols+1023)/1024*1024, 1
	case 9:
		o.mat.RS, o.mat.CS = 1, (rows+1023)/1024*1024
	}
	size := int(unsafe.Sizeof(T(0)))
	n := 1 + (rows-1)*max(o.mat.RS, -o.mat.RS) + (cols-1)*o.mat.CS
	o.mat.P = guarded(t, n*size)
	for i := range unsafe.Slice((*T)(o.mat.P), n) {
		unsafe.Slice((*T)(o.mat.P), n)[i] = from[T](math.NaN())
	}
	if o.mat.RS < 0 {
		o.mat.P = unsafe.Add(o.mat.P, -o.mat.RS*(rows-1)*size)
	}
	for i := range rows {
		for j := range cols {
			*o.at(i, j) = from[T](r.Float64()*2 - 1)
		}
	}
	return o
}

// floats lists the elements row by row.
func (o operand[T]) floats() []float64 {
	var l []float64
	for i := range o.rows {
		for j := range o.cols {
			l = append(l, toFloat(*o.at(i, j)))
		}
	}
	return l
}

// contexts are those that products are checked with, by their number of workers.
var contexts = sync.OnceValue(func() (all []*Ctx) {
	for _, workers := range []int{1, 2, 3, 8} {
		all = append(all, NewCtx(pool.New(workers)))
	}
	return all
})

// check runs a problem serially and with several numbers of workers, compares with float64 arithmetic, and wants the
// same bits from all of them. T is the type of the operands and U that of C.
func check[T element, U Float](t *testing.T, r *rand.Rand, m, n, k, la, lb int, acc bool) {
	t.Helper()
	a, b := newOperand[T](t, r, m, k, la), newOperand[T](t, r, k, n, lb)
	size := int(unsafe.Sizeof(U(0)))
	ldc := n + r.IntN(5)
	count := (m-1)*ldc + n
	start := make([]U, count)
	for i := range start {
		start[i] = U(r.Float64())
	}
	var first []U
	for which, ctx := range append(contexts(), nil) {
		c := unsafe.Slice((*U)(guarded(t, count*size)), count)
		copy(c, start)
		covered := make([]int32, m*n)
		p := Problem{Type: typeOf[T](), Whole: true, M: m, N: n, K: k, A: a.mat, B: b.mat, C: unsafe.Pointer(&c[0]), LDC: ldc, Accumulate: acc,
			Done: func(_, r0, r1, c0, c1 int) {
				for i := r0; i < r1; i++ {
					for j := c0; j < c1; j++ {
						covered[i*n+j]++
					}
				}
			}}
		if ctx == nil {
			p.RunSerial(contexts()[0].Worker(0))
		} else {
			p.Run(ctx)
		}
		if slices.ContainsFunc(covered, func(n int32) bool { return n != 1 }) {
			t.Fatalf("m=%d n=%d k=%d: Done does not cover the result exactly once", m, n, k)
		}
		for i := range start {
			if i%ldc >= n && c[i] != start[i] {
				t.Fatalf("m=%d n=%d k=%d ldc=%d: wrote between the rows", m, n, k, ldc)
			}
		}
		if first == nil {
			first = slices.Clone(c)
		} else if !slices.Equal(first, c) {
			t.Fatalf("m=%d n=%d k=%d layouts %d %d, context %d: other bits than with one worker", m, n, k, la, lb, which)
		}
	}
	eps := 2.4e-7 // twice the distance of adjacent numbers
	if size == 8 {
		eps = 4.5e-16
	}
	fa, fb := a.floats(), b.floats()
	for i := range m {
		for j := range n {
			want, scale := 0.0, 0.0
			if acc {
				want = float64(start[i*ldc+j])
				scale = math.Abs(want)
			}
			for l := range k {
				x := fa[i*k+l] * fb[l*n+j]
				want += x
				scale += math.Abs(x)
			}
			if got := float64(first[i*ldc+j]); !(math.Abs(got-want) <= eps*(scale*math.Sqrt(float64(k)+1)+1e-30)) {
				t.Fatalf("m=%d n=%d k=%d layouts %d %d acc=%v: (%d, %d) = %v, want %v", m, n, k, la, lb, acc, i, j, got, want)
			}
		}
	}
}

func TestProduct(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for range 120 {
			m, n, k := 1+r.IntN(40), 1+r.IntN(80), 1+r.IntN(60)
			if r.IntN(4) == 0 {
				k += 400
			}
			check[float32, float32](t, r, m, n, k, r.IntN(10), r.IntN(10), r.IntN(2) == 0)
			check[float64, float64](t, r, m, n, min(k, 50), r.IntN(10), r.IntN(10), r.IntN(2) == 0)
			check[bf16, float32](t, r, m, n, k, r.IntN(10), r.IntN(10), r.IntN(2) == 0)
			check[f16, float32](t, r, m, n, k, r.IntN(10), r.IntN(10), r.IntN(2) == 0)
		}
		// Every height and width of a tile.
		for m := 1; m <= 15; m++ {
			for n := 1; n <= 34; n += 3 {
				check[float32, float32](t, r, m, n, 1+r.IntN(9), m%2, r.IntN(2), false)
				check[bf16, float32](t, r, m, n, 1+r.IntN(9), m%2, r.IntN(2), false)
				check[f16, float32](t, r, m, n, 1+r.IntN(9), m%2, r.IntN(2), false)
			}
		}
		// Large enough for packing, several blocks and parallel grids.
		for la := range 2 {
			for lb := range 2 {
				check[float32, float32](t, r, 130, 150, 420, la, lb, la == lb)
				check[bf16, float32](t, r, 130, 150, 801, la, lb, la == lb)
				check[f16, float32](t, r, 130, 150, 801, la, lb, la == lb)
			}
		}
		check[float32, float32](t, r, 33, 1100, 65, 1, 0, false)
		check[float32, float32](t, r, 70, 70, 512, 8, 8, true)
		check[float32, float32](t, r, 130, 130, 400, 9, 0, false)
		check[float64, float64](t, r, 70, 70, 300, 0, 1, false)
		check[bf16, float32](t, r, 33, 1100, 65, 1, 0, false)
		check[f16, float32](t, r, 33, 1100, 65, 1, 0, false)
		check[bf16, float32](t, r, 70, 70, 1024, 8, 8, true)
		check[f16, float32](t, r, 70, 70, 1024, 8, 8, true)
	})
}

// Few vectors and a large matrix, every number of them, layout and rest.
func TestStream(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(5, 6))
		for few := 1; few <= 9; few++ {
			for layout := range 16 {
				k := 1 + r.IntN(300)
				if layout == 3 {
					k += 1000 * 8 / few
				}
				many := streamFrom/k + 1 + r.IntN(100)
				m, n := few, many
				if r.IntN(2) == 0 {
					m, n = many, few
				}
				check[float32, float32](t, r, m, n, k, layout%4, layout/4, r.IntN(2) == 0)
				check[bf16, float32](t, r, m, n, k, layout%4, layout/4, r.IntN(2) == 0)
				check[f16, float32](t, r, m, n, k, layout%4, layout/4, r.IntN(2) == 0)
			}
		}
		// Too large to be cached.
		for few := 5; few <= 8; few += 1 + r.IntN(2) {
			k, many := 600+r.IntN(9), 1000+r.IntN(99)
			check[float32, float32](t, r, few, many, k, 0, 0, true)
			check[float32, float32](t, r, many, few, k, 1, 1, true)
			check[bf16, float32](t, r, few, 2*many, k, 0, 0, false)
			check[f16, float32](t, r, few, 2*many, k, 0, 0, false)
		}
	})
}

func TestNothingToMultiply(t *testing.T) {
	ctx := NewCtx(pool.New(1))
	c := []float32{1, 2, 3, 4}
	p := Problem{M: 2, N: 2, C: unsafe.Pointer(&c[0]), LDC: 2, Accumulate: true}
	p.Run(ctx)
	if c[3] != 4 {
		t.Error("an empty product was added as something else than zero")
	}
	p.Accumulate = false
	p.Run(ctx)
	if !slices.Equal(c, make([]float32, 4)) {
		t.Error("an empty product must be zero")
	}
	p.M = 0
	p.Run(ctx)
}

// Rows of B at arbitrary places, as convolutions have them.
func TestRows(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 4))
		ctx := NewCtx(pool.New(1))
		for _, n := range []int{1, 7, 16, 20, 33, 64} {
			m, k := 1+r.IntN(20), 1+r.IntN(500)
			a := newOperand[float32](t, r, m, k, 0)
			image := newOperand[float32](t, r, 1, 2000+n, 0)
			rows := make([]int, k)
			for i := range rows {
				rows[i] = 4 * r.IntN(2001)
			}
			c := make([]float32, m*n)
			p := Problem{M: m, N: n, K: k, A: a.mat, B: Mat{P: image.mat.P, CS: 1}, Rows: rows, C: unsafe.Pointer(&c[0]), LDC: n}
			p.RunSerial(ctx.Worker(0))
			for i := range m {
				for j := range n {
					want := 0.0
					for l := range k {
						want += float64(*a.at(i, l)) * float64(*image.at(0, rows[l]/4+j))
					}
					if got := float64(c[i*n+j]); math.Abs(got-want) > 1e-4 {
						t.Fatalf("m=%d n=%d k=%d: (%d, %d) = %v, want %v", m, n, k, i, j, got, want)
					}
				}
			}
		}
	})
}

func TestIntProduct(t *testing.T) {
	a := []int32{
		1, 2, 3,
		4, 5, 6,
	}
	b := []int32{
		1, -1,
		2, 0,
		1 << 30, 1,
	}
	c := make([]int32, 4)
	IntProduct[int32](0, 2, 2, 3, Mat{unsafe.Pointer(&a[0]), 3, 1}, Mat{unsafe.Pointer(&b[0]), 2, 1}, unsafe.Pointer(&c[0]), 2)
	// 5 + 3·2³⁰ and 14 + 6·2³⁰ wrap around.
	if want := []int32{5 - 1<<30, 2, 14 - 1<<31, 2}; !slices.Equal(c, want) {
		t.Errorf("got %v, want %v", c, want)
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	workers := pool.New(2)
	defer workers.Close()
	ctx := NewCtx(workers)
	n := 160
	a, b, c := make([]float32, n*n), make([]float32, n*n), make([]float32, n*n)
	p := Problem{M: n, N: n, K: n, A: Mat{unsafe.Pointer(&a[0]), n, 1}, B: Mat{unsafe.Pointer(&b[0]), 1, n}, C: unsafe.Pointer(&c[0]), LDC: n}
	if got := testing.AllocsPerRun(20, func() { p.Run(ctx) }); got > 0.5 {
		t.Errorf("%v allocations per product", got)
	}
}

func BenchmarkGemm(b *testing.B) {
	for _, s := range []struct {
		m, n, k int
		form    string
	}{
		{64, 64, 64, "NN"}, {128, 128, 128, "NN"}, {256, 256, 256, "NN"}, {512, 512, 512, "NN"}, {1024, 1024, 1024, "NN"},
		{128, 512, 784, "NN"}, {256, 256, 256, "NT"}, {256, 256, 256, "TN"}, {128, 512, 784, "NT"},
		{1, 4096, 4096, "NT"}, {4, 4096, 4096, "NN"}, {8, 4096, 4096, "NT"}, {50176, 64, 288, "NN"},
	} {
		for _, workers := range []int{1, 2} {
			b.Run(fmt.Sprintf("%dx%dx%d/%s/workers=%d", s.m, s.n, s.k, s.form, workers), func(b *testing.B) {
				wp := pool.New(workers)
				defer wp.Close()
				ctx := NewCtx(wp)
				r := rand.New(rand.NewPCG(1, 1))
				x := newOperand[float32](b, r, s.m, s.k, int(s.form[0]-'N')/6)
				y := newOperand[float32](b, r, s.k, s.n, int(s.form[1]-'N')/6)
				c := make([]float32, s.m*s.n)
				p := Problem{M: s.m, N: s.n, K: s.k, A: x.mat, B: y.mat, C: unsafe.Pointer(&c[0]), LDC: s.n}
				for b.Loop() {
					p.Run(ctx)
				}
				b.ReportMetric(2*float64(s.m*s.n*s.k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}
