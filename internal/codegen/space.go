package codegen

import (
	"fmt"
	"math"
	"slices"

	"github.com/sinter-dl/sinter/internal/kernel"
)

// axis is an axis of a kernel's index space with the stride of every argument.
type axis struct {
	n      int
	stride []int

	// Names of parameters that extent and strides are passed in; literals if empty.
	count string
	step  []string
}

// passed makes extents and strides of axes parameters, so that one kernel serves all
// shapes: axes of extent 1 are put in front until there are two, four or eight. It gives
// the arguments.
func passed(b *Builder, axes []axis, places int) ([]axis, []Arg) {
	rank := 2
	for rank < len(axes) {
		rank *= 2
	}
	l := make([]axis, rank-len(axes), rank)
	for i := range l {
		l[i] = axis{n: 1, stride: make([]int, places)}
	}
	l = append(l, axes...)
	var args []Arg
	for i := range l {
		a := &l[i]
		a.count = b.Number("u32")
		args = append(args, Int(a.n))
		a.step = nil
		for _, st := range a.stride {
			a.step = append(a.step, b.Number("i32"))
			args = append(args, Int(st))
		}
	}
	return l, args
}

// extent is an axis's as text, so many points taken as one.
func (a *axis) extent(lanes int) string {
	if a.count != "" {
		return a.count
	}
	return fmt.Sprintf("%du", a.n/lanes)
}

// space is a part as it is walked: axes of extent 1 are left out, reversed ones are
// turned around, the axis along which most memory is contiguous is the last, and
// neighbours that all arguments walk as one are one.
type space struct {
	outer, inner []axis
	offset       []int // by argument
}

func points(axes []axis) int {
	n := 1
	for i := range axes {
		n *= axes[i].n
	}
	return n
}

// stride is that of an argument along the last of some axes, 0 without any.
func lastStride(axes []axis, arg int) int {
	if len(axes) == 0 {
		return 0
	}
	return axes[len(axes)-1].stride[arg]
}

// simplify normalises a part. weight is what it counts that an argument is contiguous
// along the last axis; arguments of weight 0, as those of Index, have no say.
func simplify(part *kernel.Part, weight []int) *space {
	s := &space{offset: make([]int, len(part.Args))}
	for i := range part.Args {
		s.offset[i] = part.Args[i].Offset
	}
	read := func(extents []int, first int) []axis {
		var axes []axis
		for k, n := range extents {
			if n == 1 {
				continue
			}
			a := axis{n: n, stride: make([]int, len(part.Args))}
			turned := 0
			for i := range part.Args {
				a.stride[i] = part.Args[i].Stride[first+k]
				switch {
				case weight[i] == 0:
				case a.stride[i] < 0:
					turned += weight[i]
				case a.stride[i] > 0:
					turned -= weight[i]
				}
			}
			if turned > 0 && n > 0 {
				for i := range a.stride {
					s.offset[i] += a.stride[i] * (n - 1)
					a.stride[i] = -a.stride[i]
				}
			}
			axes = append(axes, a)
		}
		return merge(order(axes, weight))
	}
	s.outer = read(part.Outer, 0)
	s.inner = read(part.Inner, len(part.Outer))
	return s
}

// units is the weight of the arguments that are contiguous along an axis.
func units(a *axis, weight []int) int {
	n := 0
	for i, st := range a.stride {
		if st == 1 {
			n += weight[i]
		}
	}
	return n
}

// order puts the axis along which most memory is contiguous last, and others in the
// order of their strides.
func order(axes []axis, weight []int) []axis {
	reach := func(a *axis) int {
		n := 0
		for i, st := range a.stride {
			n = max(n, min(1, weight[i])*max(st, -st))
		}
		return n
	}
	slices.SortStableFunc(axes, func(a, b axis) int { return reach(&b) - reach(&a) })
	best, most := -1, 0
	for i := range axes {
		if u := units(&axes[i], weight); u > 0 && u >= most {
			best, most = i, u
		}
	}
	if best >= 0 {
		a := axes[best]
		axes = append(slices.Delete(axes, best, best+1), a)
	}
	return axes
}

// merge joins neighbours.
func merge(axes []axis) []axis {
	var l []axis
	for _, a := range axes {
		if len(l) > 0 {
			p := &l[len(l)-1]
			joins := a.n > 0
			for i := range a.stride {
				joins = joins && p.stride[i] == a.stride[i]*a.n
			}
			if joins {
				p.n *= a.n
				p.stride = a.stride
				continue
			}
		}
		l = append(l, a)
	}
	return l
}

// narrow tells whether offsets of an argument, over all points, fit an i32.
func (s *space) narrow(arg int) bool {
	low, high := 0, 0
	for _, axes := range [][]axis{s.outer, s.inner} {
		for i := range axes {
			d := axes[i].stride[arg] * (axes[i].n - 1)
			low, high = low+min(0, d), high+max(0, d)
		}
	}
	return low > -math.MaxInt32/2 && high < math.MaxInt32/2
}
