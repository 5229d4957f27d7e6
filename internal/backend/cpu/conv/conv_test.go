package conv

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// floats is guarded memory of n numbers, seen as a slice.
func floats(t *testing.T, r *rand.Rand, n int) []float32 {
	v := unsafe.Slice((*float32)(guarded(t, n*4, r.IntN(2) == 0)), n)
	for i := range v {
		v[i] = r.Float32() - 0.5
	}
	return v
}

func at(v []float32) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(v)) }

// each runs a test for every set of kernels.
func each(t *testing.T, f func(t *testing.T, k *Kernels, r *rand.Rand)) {
	for _, level := range []string{"avx512", "generic"} {
		t.Run(level, func(t *testing.T) {
			k := For(level, false)
			if k == &generic32 && level != "generic" {
				t.Skipf("this processor has no %s", level)
			}
			r := rand.New(rand.NewPCG(1, 2))
			for range 200 {
				f(t, k, r)
			}
		})
	}
}

func same(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: element %d of %d is %v, want %v", what, i, len(want), got[i], want[i])
		}
	}
}

func TestUnfold(t *testing.T) {
	each(t, func(t *testing.T, k *Kernels, r *rand.Rand) {
		step, planes, rows, n, width := 1+r.IntN(2), 1+r.IntN(3), 1+r.IntN(4), 1+r.IntN(70), 1+r.IntN(50)
		first := r.IntN(9) - 4
		vectors := (width + Lanes - 1) / Lanes
		masks := make([]uint32, vectors)
		src := floats(t, r, planes*rows*n)
		stride := rows*width + Lanes
		dst, want := floats(t, r, planes*stride), make([]float32, planes*stride)
		for i := range width {
			x := first + i*step
			if x < 0 || x >= n {
				continue
			}
			masks[i/Lanes] |= 1 << (i % Lanes * step)
			for p := range planes {
				for row := range rows {
					want[p*stride+row*width+i] = src[(p*rows+row)*n+x]
				}
			}
		}
		k.Unfold(&Unfold{Dst: at(dst), Src: at(src), Offset: first * 4, Planes: planes, DstPlane: stride * 4, SrcPlane: rows * n * 4,
			Rows: rows, DstRow: width * 4, SrcRow: n * 4, Vectors: vectors, Masks: unsafe.Pointer(&masks[0])}, step)
		for p := range planes {
			same(t, fmt.Sprintf("step %d, %d rows of %d from %d of %d", step, rows, width, first, n),
				dst[p*stride:][:rows*width], want[p*stride:][:rows*width])
		}
	})
}

func TestSpread(t *testing.T) {
	each(t, func(t *testing.T, k *Kernels, r *rand.Rand) {
		n, rows := 1+r.IntN(70), 1+r.IntN(4)
		src, dst := floats(t, r, rows*n), floats(t, r, rows*2*n-1)
		want := append([]float32(nil), dst...)
		for i := range rows * n {
			want[i/n*2*n+2*(i%n)] = src[i]
		}
		k.Spread(&Spread{Dst: at(dst), Src: at(src), N: n, Rows: rows, DstRow: 2 * n * 4, SrcRow: n * 4})
		same(t, fmt.Sprintf("%d rows of %d", rows, n), dst, want)
	})
}

// A tap's products and sums, in float64.
func TestTaps(t *testing.T) {
	each(t, func(t *testing.T, k *Kernels, r *rand.Rand) {
		n, taps, room := 1+r.IntN(300), 1+r.IntN(26), r.IntN(40)
		src, y, w := floats(t, r, n+room), floats(t, r, n), floats(t, r, taps)
		offsets := make([]int, taps)
		sums, wantSums := floats(t, r, taps*Lanes), make([]float64, taps*Lanes)
		want := make([]float64, n)
		for i := range wantSums {
			wantSums[i] = float64(sums[i])
		}
		for i := range offsets {
			o := r.IntN(room + 1)
			offsets[i] = o * 4
			for j := range n {
				want[j] += float64(w[i]) * float64(src[o+j])
				wantSums[i*Lanes+j%Lanes] += float64(y[j]) * float64(src[o+j])
			}
		}
		near := func(what string, got []float32, want []float64) {
			for i := range want {
				if math.Abs(float64(got[i])-want[i]) > 1e-5 {
					t.Fatalf("%s, %d taps, %d elements: element %d is %v, want %v", what, taps, n, i, got[i], want[i])
				}
			}
		}
		k.TapSums(&Taps{Dst: at(y), Src: at(src), N: n, Offsets: &offsets[0], Weights: at(sums), K: taps})
		near("TapSums", sums, wantSums)
		wide := floats(t, r, n+room+Lanes-1)
		copy(wide, src)
		k.Taps(&Taps{Dst: at(y), Src: at(wide), N: n, Offsets: &offsets[0], Weights: at(w), K: taps})
		near("Taps", y, want)
	})
}

// Where masks leave elements out, nothing is read.
func TestMaskedTaps(t *testing.T) {
	each(t, func(t *testing.T, k *Kernels, r *rand.Rand) {
		if k.MaskedTaps == nil {
			t.Skip("these kernels have no masks: what they leave out, the caller does not ask for")
		}
		n, taps := 1+r.IntN(300), 1+r.IntN(26)
		src, y, w := floats(t, r, n), floats(t, r, n), floats(t, r, taps)
		offsets := make([]int, taps)
		masks := make([]uint16, (n+Lanes-1)/Lanes*taps)
		sums, wantSums := floats(t, r, taps*Lanes), make([]float64, taps*Lanes)
		want := make([]float64, n)
		for i := range wantSums {
			wantSums[i] = float64(sums[i])
		}
		for i := range offsets {
			o := r.IntN(41) - 20
			offsets[i] = o * 4
			for j := range n {
				if j+o < 0 || j+o >= n || r.IntN(4) == 0 {
					continue
				}
				masks[j/Lanes*taps+i] |= 1 << (j % Lanes)
				want[j] += float64(w[i]) * float64(src[j+o])
				wantSums[i*Lanes+j%Lanes] += float64(y[j]) * float64(src[j+o])
			}
		}
		a := Taps{Dst: at(y), Src: at(src), N: n, Offsets: &offsets[0], Weights: at(sums), K: taps, Masks: &masks[0], MaskRow: taps * 2}
		k.MaskedSums(&a)
		for i := range wantSums {
			if math.Abs(float64(sums[i])-wantSums[i]) > 1e-5 {
				t.Fatalf("%d taps, %d elements: sum %d is %v, want %v", taps, n, i, sums[i], wantSums[i])
			}
		}
		a.Weights = at(w)
		k.MaskedTaps(&a)
		for i := range want {
			if math.Abs(float64(y[i])-want[i]) > 1e-5 {
				t.Fatalf("%d taps, %d elements: element %d is %v, want %v", taps, n, i, y[i], want[i])
			}
		}
	})
}

func TestRows3(t *testing.T) {
	each(t, func(t *testing.T, k *Kernels, r *rand.Rand) {
		if k.Rows3 == nil {
			t.Skip("these kernels take rows one at a time only")
		}
		rows, width := 1+r.IntN(9), 1+r.IntN(70)
		src, y, w := floats(t, r, rows*width), floats(t, r, rows*width), floats(t, r, 9)
		sums := floats(t, r, 9*Lanes)
		clear(sums)
		want, turned := make([]float64, rows*width), make([]float64, rows*width)
		var wantSums [9]float64
		for i := range want {
			for tap := range 9 {
				h, x := i/width+tap/3-1, i%width+tap%3-1
				if h >= 0 && h < rows && x >= 0 && x < width {
					want[i] += float64(w[tap]) * float64(src[h*width+x])
					turned[i] += float64(w[8-tap]) * float64(src[h*width+x])
					wantSums[tap] += float64(y[i]) * float64(src[h*width+x])
				}
			}
		}
		masks := Masks3(width)
		a := Rows3{Dst: at(y), Src: at(src), Rows: rows, Row: width * 4, Weights: at(sums), Masks: &masks[0], Pairs: len(masks) / 2}
		what := fmt.Sprintf("%d rows of %d", rows, width)
		k.Sums3(&a)
		for tap, want := range wantSums {
			got := 0.0
			for _, v := range sums[tap*Lanes:][:Lanes] {
				got += float64(v)
			}
			if math.Abs(got-want) > 1e-4 {
				t.Fatalf("%s: the sum of tap %d is %v, want %v", what, tap, got, want)
			}
		}
		for step, want := range map[int][]float64{4: want, -4: turned} {
			a.Weights, a.WeightStep = at(w), step
			if step < 0 {
				a.Weights = at(w[8:])
			}
			k.Rows3(&a)
			for i := range want {
				if math.Abs(float64(y[i])-want[i]) > 1e-5 {
					t.Fatalf("%s, weights %d apart: element %d is %v, want %v", what, step, i, y[i], want[i])
				}
			}
		}
	})
}

func TestTurn(t *testing.T) {
	each(t, func(t *testing.T, k *Kernels, r *rand.Rand) {
		n, rows, width := 1+r.IntN(70), 1+r.IntN(32), 32
		if rows <= 16 && r.IntN(2) == 0 {
			width = 16
		}
		stride := width + r.IntN(3)
		src, dst := floats(t, r, rows*n), floats(t, r, (n-1)*stride+width)
		want := append([]float32(nil), dst...)
		for i := range n {
			for j := range width {
				want[i*stride+j] = 0
				if j < rows {
					want[i*stride+j] = src[j*n+i]
				}
			}
		}
		k.Turn(&Turn{Dst: at(dst), Src: at(src), N: n, Rows: rows, Width: width, DstRow: stride * 4, SrcRow: n * 4})
		same(t, fmt.Sprintf("%d rows of %d to width %d", rows, n, width), dst, want)
	})
}

func TestAdd(t *testing.T) {
	each(t, func(t *testing.T, k *Kernels, r *rand.Rand) {
		n := r.IntN(70)
		a, b := floats(t, r, n), floats(t, r, n)
		want := append([]float32(nil), a...)
		for i := range want {
			want[i] += b[i]
		}
		k.Add(at(a), at(b), n)
		same(t, fmt.Sprint(n), a, want)
	})
}

// The two positions of a pair, and the gradient of its weights, come out as by three
// taps.
func TestPairs(t *testing.T) {
	each(t, func(t *testing.T, k *Kernels, r *rand.Rand) {
		planes, rows, n, width := 1+r.IntN(3), 1+r.IntN(4), 1+r.IntN(70), 1+r.IntN(50)
		first := r.IntN(9) - 4
		vectors := (width + Lanes - 1) / Lanes
		masks := make([]uint32, 2*vectors)
		src := floats(t, r, planes*rows*n)
		element := func(row, x int) float64 {
			if x < 0 || x >= n {
				return 0
			}
			return float64(src[row*n+x])
		}
		for i := range width {
			for d := range 4 {
				if x := first + 2*i + d; x >= 0 && x < n {
					masks[i/Lanes*2+d/2] |= 1 << (i%Lanes*2 + d%2)
				}
			}
		}
		point := (rows*width + 2*Lanes) &^ (Lanes - 1)
		copied := floats(t, r, 4*planes*point)
		k.Pairs(&Unfold{Dst: at(copied), Src: at(src), Offset: first * 4, Planes: planes, DstPlane: 4 * point * 4, SrcPlane: rows * n * 4,
			Rows: rows, DstRow: width * 4, SrcRow: n * 4, Vectors: vectors, Masks: unsafe.Pointer(&masks[0]), Point: point * 4})

		g := [3]float32{r.Float32(), r.Float32(), r.Float32()}
		h := Points(g)
		products := floats(t, r, len(copied))
		for i := range products {
			products[i] = copied[i] * h[i/point%4]
		}
		what := fmt.Sprintf("%d rows of %d pairs from %d of %d", rows, width, first, n)
		for p := range planes {
			y := floats(t, r, rows*width*2)
			k.Join(&Join{Dst: at(y), Src: at(products[4*p*point:]), N: width, Rows: rows, DstRow: width * 8, SrcRow: width * 4, Point: point * 4})
			for i, got := range y {
				want := 0.0
				for tap, w := range g {
					want += float64(w) * element(p*rows+i/(2*width), first+i%(2*width)+tap)
				}
				if math.Abs(float64(got)-want) > 1e-6 {
					t.Fatalf("%s: position %d is %v, want %v", what, i, got, want)
				}
			}
		}

		const channels = 16
		y := floats(t, r, 2*rows*width*channels)
		sum, difference := floats(t, r, rows*width*channels), floats(t, r, rows*width*channels)
		k.Part(&Part{Sum: at(sum), Difference: at(difference), Src: at(y), N: rows * width, Width: channels})
		var s [4]float32
		var want [3]float64
		for i := range rows * width {
			a, b := y[2*i*channels], y[(2*i+1)*channels]
			for j, v := range []float32{a, sum[i*channels], difference[i*channels], -b} {
				s[j] += copied[j*point+i] * v
			}
			for tap := range want {
				x := first + 2*(i%width) + tap
				want[tap] += float64(a)*element(i/width, x) + float64(b)*element(i/width, x+1)
			}
		}
		for tap, got := range TapsOf(s) {
			if math.Abs(float64(got)-want[tap]) > 1e-5 {
				t.Fatalf("%s: gradient %d is %v, want %v", what, tap, got, want[tap])
			}
		}
	})
}
