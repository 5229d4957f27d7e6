// Package resample scales pictures as Pillow does, and torchvision with antialias:
// separably, with a filter that is widened where the picture shrinks, so that every
// pixel of the source counts.
//
// An Axis holds what one direction needs: for each place of the result the sources
// it is made of and their weights. data/view.go applies it to the samples of files,
// in integers; data/transforms to float32.
package resample

import (
	"math"
	"slices"
)

// Filter is the shape of the weights.
type Filter uint8

const (
	Bilinear Filter = iota // a triangle
	Bicubic                // Keys' cubic with a = −1/2
)

// support is how far the filter reaches.
func (f Filter) support() float64 {
	if f == Bicubic {
		return 2
	}
	return 1
}

// at is the filter's value. The cubic is of R. Keys, "Cubic convolution interpolation
// for digital image processing" (1981).
func (f Filter) at(x float64) float64 {
	x = math.Abs(x)
	if f == Bilinear {
		return max(0, 1-x)
	}
	const a = -0.5
	switch {
	case x < 1:
		return ((a+2)*x-(a+3))*x*x + 1
	case x < 2:
		return ((x-5)*x+8)*x*a - 4*a
	}
	return 0
}

// Axis is how one direction is scaled: place i of the result is the sum over t of
// Weights[i·Taps+t] times source First[i]+t. Weights of a place add up to 1.
type Axis struct {
	Taps    int
	First   []int32
	Weights []float32

	exact []float64
}

// Set makes the axis anew: the places from to before to of a result that has size
// places in all, for the stretch of the source from origin on, of the given length,
// which need not be whole. Sources are taken from lo to before hi; that has to hold
// at least one. With more weights than a place needs, the rest is 0.
func (a *Axis) Set(f Filter, origin, length float64, lo, hi, size, from, to int) {
	scale := length / float64(size)
	wide := max(scale, 1)
	support := f.support() * wide
	n := to - from
	a.Taps = min(int(math.Ceil(support))*2+1, hi-lo)
	if cap(a.First) < n {
		a.First = make([]int32, n)
	}
	a.First = a.First[:n]
	if cap(a.Weights) < n*a.Taps {
		a.Weights = make([]float32, n*a.Taps)
	}
	a.Weights = a.Weights[:n*a.Taps]
	if cap(a.exact) < a.Taps {
		a.exact = make([]float64, a.Taps)
	}
	exact := a.exact[:a.Taps]
	most := 1
	for i := range n {
		center := origin + (float64(from+i)+0.5)*scale
		first := max(int(math.Floor(center-support+0.5)), lo)
		end := min(int(math.Floor(center+support+0.5)), hi)
		first = min(first, hi-1)
		end = max(end, first+1)
		first = min(first, hi-a.Taps)
		sum := 0.0
		for t := range exact {
			exact[t] = 0
			if at := first + t; at < end {
				exact[t] = f.at((float64(at) - center + 0.5) / wide)
				sum += exact[t]
				if exact[t] != 0 {
					most = max(most, t+1)
				}
			}
		}
		if sum == 0 { // beyond the filter's reach: chroma at the edge of its plane
			exact[min(max(int(math.Floor(center)), first), first+a.Taps-1)-first], sum = 1, 1
			most = a.Taps
		}
		a.First[i] = int32(first)
		w := a.Weights[i*a.Taps : (i+1)*a.Taps]
		for t := range w {
			w[t] = float32(exact[t] / sum)
		}
	}
	// Mostly no place needs as many as the filter might reach.
	if most < a.Taps {
		for i := range n {
			copy(a.Weights[i*most:(i+1)*most], a.Weights[i*a.Taps:])
		}
		a.Taps, a.Weights = most, a.Weights[:n*most]
	}
}

// Reverse turns the result over.
func (a *Axis) Reverse() {
	slices.Reverse(a.First)
	for i, j := 0, len(a.Weights)-a.Taps; i < j; i, j = i+a.Taps, j-a.Taps {
		for t := range a.Taps {
			a.Weights[i+t], a.Weights[j+t] = a.Weights[j+t], a.Weights[i+t]
		}
	}
}

// Fixed writes the weights as whole numbers of 2^−bits, those of a place adding up
// to exactly 1.
func (a *Axis) Fixed(dst []int64, bits int) []int64 {
	dst = dst[:0]
	one := float64(int64(1) << bits)
	for i := 0; i < len(a.Weights); i += a.Taps {
		rest, largest := int64(1)<<bits, i
		for t, w := range a.Weights[i : i+a.Taps] {
			v := int64(math.Round(float64(w) * one))
			dst = append(dst, v)
			rest -= v
			if v > dst[largest] {
				largest = i + t
			}
		}
		dst[largest] += rest
	}
	return dst
}
