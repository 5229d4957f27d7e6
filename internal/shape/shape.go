// Package shape holds the rules that give the shape of a result from the shapes
// of its operands. They return errors, in the words a user would want to read;
// whoever builds a graph decides what becomes of them.
//
// A shape is a []int of extents, outermost axis first; a scalar has none. Tensors
// are row-major.
package shape

import (
	"fmt"
	"slices"
)

// Elements is the product of the extents.
func Elements(s []int) int {
	n := 1
	for _, d := range s {
		n *= d
	}
	return n
}

// Strides are the distances, in elements, between neighbours along each axis of
// a row-major tensor.
func Strides(s []int) []int {
	st := make([]int, len(s))
	n := 1
	for i := len(s) - 1; i >= 0; i-- {
		st[i] = n
		n *= s[i]
	}
	return st
}

// Check reports a negative extent.
func Check(s []int) error {
	for i, d := range s {
		if d < 0 {
			return fmt.Errorf("axis %d of shape %v has a negative extent", i, s)
		}
	}
	return nil
}

// Axis resolves a possibly negative axis against a rank.
func Axis(axis, rank int) (int, error) {
	a := axis
	if a < 0 {
		a += rank
	}
	if a < 0 || a >= rank {
		return 0, fmt.Errorf("axis %d is out of range for a tensor of rank %d", axis, rank)
	}
	return a, nil
}

// AxisSet resolves a list of axes: ascending, without repeats. An empty list
// means all axes.
func AxisSet(axes []int, rank int) ([]int, error) {
	out := make([]int, 0, rank)
	if len(axes) == 0 {
		for i := range rank {
			out = append(out, i)
		}
		return out, nil
	}
	for _, x := range axes {
		a, err := Axis(x, rank)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	slices.Sort(out)
	for i := 1; i < len(out); i++ {
		if out[i] == out[i-1] {
			return nil, fmt.Errorf("axis %d is given twice in %v", out[i], axes)
		}
	}
	return out, nil
}

// Broadcast is the common shape of two operands by NumPy's rule: aligned at the
// last axis, extents must be equal or 1.
func Broadcast(a, b []int) ([]int, error) {
	if slices.Equal(a, b) {
		return a, nil
	}
	n := max(len(a), len(b))
	out := make([]int, n)
	for i := range n {
		x, y := 1, 1
		if j := i - (n - len(a)); j >= 0 {
			x = a[j]
		}
		if j := i - (n - len(b)); j >= 0 {
			y = b[j]
		}
		switch {
		case x == y || y == 1:
			out[i] = x
		case x == 1:
			out[i] = y
		default:
			return nil, fmt.Errorf("shapes %v and %v do not broadcast: %d and %d differ at axis %d and neither is 1", a, b, x, y, i)
		}
	}
	return out, nil
}

// Reshape resolves a target shape with at most one -1 for n elements.
func Reshape(from, to []int) ([]int, error) {
	n := Elements(from)
	out := slices.Clone(to)
	known, hole := 1, -1
	for i, d := range out {
		switch {
		case d == -1 && hole < 0:
			hole = i
		case d < 0:
			return nil, fmt.Errorf("%v: only one extent may be -1 and none may be smaller", to)
		default:
			known *= d
		}
	}
	if hole >= 0 {
		if known == 0 || n%known != 0 {
			return nil, fmt.Errorf("%d elements of shape %v do not divide into %v", n, from, to)
		}
		out[hole] = n / known
		known = n
	}
	if known != n {
		return nil, fmt.Errorf("shape %v has %d elements, %v has %d", from, n, to, known)
	}
	return out, nil
}

// Without is s with the given (resolved, ascending) axes removed.
func Without(s, axes []int) []int {
	out := make([]int, 0, len(s))
	j := 0
	for i, d := range s {
		if j < len(axes) && axes[j] == i {
			j++
			continue
		}
		out = append(out, d)
	}
	return out
}

// Permutation checks that p is a permutation of 0…rank-1.
func Permutation(p []int, rank int) error {
	seen := make([]bool, rank)
	if len(p) != rank {
		return fmt.Errorf("permutation %v does not name each of the %d axes once", p, rank)
	}
	for _, a := range p {
		if a < 0 || a >= rank || seen[a] {
			return fmt.Errorf("permutation %v does not name each of the %d axes once", p, rank)
		}
		seen[a] = true
	}
	return nil
}

// Window is the extent of a sliding window's result along one axis of extent n:
// floor((n + low + high − dilation·(size−1) − 1) / stride) + 1.
func Window(n, size, stride, low, high, dilation int) (int, error) {
	span := dilation*(size-1) + 1
	switch {
	case size < 1 || stride < 1 || dilation < 1:
		return 0, fmt.Errorf("window size %d, stride %d and dilation %d must be at least 1", size, stride, dilation)
	case low < 0 || high < 0:
		return 0, fmt.Errorf("padding %d, %d must not be negative", low, high)
	case n+low+high < span:
		return 0, fmt.Errorf("a window that spans %d does not fit in extent %d with padding %d and %d", span, n, low, high)
	}
	return (n+low+high-span)/stride + 1, nil
}
