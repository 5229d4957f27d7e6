package cpu

// Convolutions, as matrix products with a copy of the source that is unfolded along
// the last axis only (package conv).
//
// A phase is a convolution whose positions are numbered by rows without gaps: the
// forward direction is one. The input gradient is a convolution of y with the
// weights turned around; with a stride, inputs of different residues see different
// taps, and each residue is a phase of its own whose results are written a stride
// apart.
//
// A task computes a strip of positions of one image and group for all channels of
// the result. It copies what the strip sees of the source to memory of its worker's,
// for every channel and every tap along the last axis a plane,
//
//	plane[row·pitch + column] = source[row·step + first, column·step + first of the tap]
//
// zero outside. What a tap meets at the positions of the strip is then a run of
// adjacent elements in a plane: row (channel, tap) of the unfolded image. Package
// gemm, told where these rows lie, multiplies them by the weights and writes the
// rows of the result to their places. Pointwise convolutions need no copy.
//
// The weight gradient multiplies the same rows, as many as have equal distances, by
// y with its channels adjacent. It sums over the images of a split in order, and then
// over the splits.
//
// Depthwise convolutions have one row on either side, for which package conv has
// kernels of its own. Everything is decided by shapes alone.

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/backend/cpu/conv"
	"github.com/sinter-dl/sinter/internal/backend/cpu/gemm"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// convShape is a convolution over three spatial axes, those it lacks being 1.
type convShape struct {
	n, groups        int
	cg, kg           int // input and output channels of a group
	x, w, y          [3]int
	stride, low, dil [3]int
	taps             int // Π w
	size             int // bytes of an element
	wide             bool
	copied           bool // the source is copied even where it could be read in place
}

func newConvShape(l *kernel.Library, at ir.ConvAttr) (*convShape, error) {
	rank := len(at.Stride)
	if rank < 1 || rank > 3 {
		return nil, fmt.Errorf("convolution over %d spatial axes", rank)
	}
	var x, w, y []int
	switch a, b, c := l.In[0].Shape, l.In[1].Shape, l.Out[0].Shape; at.Dir {
	case ir.Forward:
		x, w, y = a, b, c
	case ir.InputGrad:
		y, w, x = a, b, c
	case ir.WeightGrad:
		x, y, w = a, b, c
	}
	s := &convShape{n: x[0], groups: at.Groups, cg: x[1] / at.Groups, kg: w[0] / at.Groups, taps: product(w[2:])}
	for i := range 3 {
		s.x[i], s.w[i], s.y[i], s.stride[i], s.dil[i] = 1, 1, 1, 1, 1
		if j := i - (3 - rank); j >= 0 {
			s.x[i], s.w[i], s.y[i] = x[2+j], w[2+j], y[2+j]
			s.stride[i], s.low[i], s.dil[i] = at.Stride[j], at.Low[j], at.Dilation[j]
		}
	}
	switch l.In[0].DType {
	case dtype.Float32:
		s.size = 4
	case dtype.Float64:
		s.size, s.wide = 8, true
	default:
		return nil, fmt.Errorf("convolution of %v", l.In[0].DType)
	}
	return s, nil
}

func (d *Device) conv(l *kernel.Library, sc scratch, after *fusedKernel) (routine, error) {
	at, ok := l.Attr.(ir.ConvAttr)
	if !ok {
		return routine{}, fmt.Errorf("attribute is %T", l.Attr)
	}
	s, err := newConvShape(l, at)
	if err != nil {
		return routine{}, err
	}
	switch {
	case l.Out[0].Elements() == 0:
		return routine{run: func([]unsafe.Pointer) {}}, nil
	case l.In[0].Elements() == 0 || l.In[1].Elements() == 0:
		out := &l.Out[0]
		return routine{run: func(slots []unsafe.Pointer) {
			clear(unsafe.Slice((*byte)(address(slots, out)), out.Elements()*s.size))
		}}, nil
	case at.Dir == ir.WeightGrad:
		return d.convWeights(l, s, sc), nil
	}
	if m := s.inPlace(at.Dir == ir.InputGrad); m != nil {
		return d.convMasked(l, s, m, after), nil
	}
	return d.convImages(l, s, sc, at.Dir == ir.InputGrad, after), nil
}

// product is the element type of its matrix products.
func (s *convShape) product() gemm.Type {
	if s.wide {
		return gemm.Float64
	}
	return gemm.Float32
}

// depthwise tells whether there are kernels for the convolution that are no matrix
// products.
func (s *convShape) depthwise() bool {
	return s.cg == 1 && s.kg == 1 && conv.For(gemm.Level(), s.wide).Fast
}

// phase is a convolution whose result fills positions start, start+apart, … of the
// target.
type phase struct {
	v            [3]int   // positions along each axis
	step         [3]int   // from one to the next, in the source
	taps         [3][]tap // along each axis
	start, apart [3]int
	weights      int // elements before the phase's weights

	// paired says that positions along the last axis are pairs of positions. The
	// taps there are then four points (package conv), which meet the same elements;
	// window tells which taps of the window they come from, in order of the source.
	paired bool
	window [3]int
}

// tap is a tap along one axis: which of the window, and what it meets at position 0.
type tap struct{ index, first int }

// count is the number of taps in all.
func (ph *phase) count() int { return len(ph.taps[0]) * len(ph.taps[1]) * len(ph.taps[2]) }

// eachTap goes through the taps as numbered along the axes.
func (ph *phase) eachTap(f func(t [3]int)) {
	for a := range ph.taps[0] {
		for b := range ph.taps[1] {
			for c := range ph.taps[2] {
				f([3]int{a, b, c})
			}
		}
	}
}

// pair turns a phase into one of pairs where that saves multiplications: three
// adjacent taps, and enough channels for the sums to outweigh the rest.
func (s *convShape) pair(ph phase) phase {
	taps := ph.taps[2]
	if !conv.For(gemm.Level(), s.wide).Fast || min(s.cg, s.kg) < minPaired || len(taps) != 3 || ph.v[2]%2 != 0 ||
		ph.step[2] != 1 || ph.apart[2] != 1 || taps[0].first+taps[2].first != 2*taps[1].first || abs(taps[0].first-taps[1].first) != 1 {
		return ph
	}
	for i, t := range taps {
		ph.window[1+(t.first-taps[1].first)] = taps[i].index
	}
	first := tap{first: taps[1].first - 1}
	ph.paired = true
	ph.v[2], ph.step[2], ph.taps[2] = ph.v[2]/2, 2, []tap{first, first, first, first}
	return ph
}

// minPaired is the least number of channels on either side for pairs to pay.
const minPaired = 8

// width is the number of results of a position.
func (ph *phase) width() int {
	if ph.paired {
		return 2
	}
	return 1
}

// forward is the phase of the forward direction.
func (s *convShape) forward() phase {
	ph := phase{v: s.y, step: s.stride, apart: [3]int{1, 1, 1}}
	for i := range 3 {
		for t := range s.w[i] {
			ph.taps[i] = append(ph.taps[i], tap{t, t*s.dil[i] - s.low[i]})
		}
	}
	return s.pair(ph)
}

// backward are the phases of the input gradient; those that differ along the last
// axis only are together.
//
// Input i and output o meet at tap t where i + low = o·stride + t·dil. Written as
// i + low = v·stride + r, the taps of residue r are those with t·dil ≡ r, and
// they read outputs o = v - ⌊t·dil/stride⌋.
func (s *convShape) backward() [][]phase {
	along := func(i, r int) (v, start int, taps []tap) {
		first := floorDiv(s.low[i]-r+s.stride[i]-1, s.stride[i])
		start = first*s.stride[i] + r - s.low[i]
		v = max(0, (s.x[i]-start+s.stride[i]-1)/s.stride[i])
		for t := range s.w[i] {
			if t*s.dil[i]%s.stride[i] == r {
				taps = append(taps, tap{t, first - t*s.dil[i]/s.stride[i]})
			}
		}
		return
	}
	var groups [][]phase
	weights := 0
	for rd := range s.stride[0] {
		for rh := range s.stride[1] {
			var group []phase
			for rw := range s.stride[2] {
				ph := phase{step: [3]int{1, 1, 1}, apart: s.stride, weights: weights}
				for i, r := range []int{rd, rh, rw} {
					ph.v[i], ph.start[i], ph.taps[i] = along(i, r)
				}
				if product(ph.v[:]) > 0 {
					ph = s.pair(ph)
					weights += s.groups * s.cg * s.kg * ph.count()
					group = append(group, ph)
				}
			}
			if len(group) > 0 {
				groups = append(groups, group)
			}
		}
	}
	return groups
}

func floorDiv(a, b int) int {
	if a < 0 {
		return -((-a + b - 1) / b)
	}
	return a / b
}

// strip is a range of positions: rows h0 … h1 at depth d, and of each w0 … w1; with
// more than one row these are whole.
type strip struct{ d, h0, h1, w0, w1 int }

// unfolded is the layout of the copy that a strip of a phase sees.
type unfolded struct {
	*phase
	size    int    // bytes of an element
	from    [3]int // extents of the source
	inPlace bool   // the source is what the copy would be

	// Rows of positions see rows of the source that lie a step apart. Taps along
	// the middle axis whose distance is a multiple of the step read the same rows,
	// more or less far down: they are a class. Classes have planes of their own.
	classes []int    // the first row of the source
	at      [][2]int // by tap: class, rows further down
	further int      // the most of these

	channels int // in one copy
	pitch    int // elements from row to row
	plane    int // … from plane to plane
}

// unfold lays out the copies for strips of at most rows × pitch positions.
func (s *convShape) unfold(ph *phase, from [3]int, channels, rows, pitch int) *unfolded {
	u := &unfolded{phase: ph, size: s.size, from: from, channels: channels}
	u.inPlace = !s.copied && ph.v == from && ph.step == [3]int{1, 1, 1}
	for _, taps := range ph.taps {
		u.inPlace = u.inPlace && len(taps) == 1 && taps[0].first == 0
	}
	step := ph.step[1]
	for _, t := range ph.taps[1] {
		same := func(c int) bool { return (c-t.first)%step == 0 }
		if i := slices.IndexFunc(u.classes, same); i < 0 {
			u.classes = append(u.classes, t.first)
		} else {
			u.classes[i] = min(u.classes[i], t.first)
		}
	}
	for _, t := range ph.taps[1] {
		i := slices.IndexFunc(u.classes, func(c int) bool { return (c-t.first)%step == 0 })
		u.at = append(u.at, [2]int{i, (t.first - u.classes[i]) / step})
		u.further = max(u.further, (t.first-u.classes[i])/step)
	}
	u.pitch = min(pitch, ph.v[2])
	// The last row of a plane is written beyond its end. Planes a power of two
	// apart would fall on each other in the cache.
	u.plane = ((rows+u.further)*u.pitch+2*conv.Lanes-2)&^(conv.Lanes-1) | conv.Lanes
	return u
}

// planes is the number of planes of a channel.
func (u *unfolded) planes() int { return len(u.taps[0]) * len(u.classes) * len(u.taps[2]) }

// bytes is the size of a copy.
func (u *unfolded) bytes() int {
	if u.inPlace {
		return 0
	}
	return u.planes()*u.channels*u.plane*u.size + gemm.Slack
}

// offset is where the elements begin that a tap meets in channel c, in bytes.
func (u *unfolded) offset(c int, t [3]int) int {
	if u.inPlace {
		return c * product(u.from[:]) * u.size
	}
	class := t[0]*len(u.classes) + u.at[t[1]][0]
	return (((class*u.channels+c)*len(u.taps[2])+t[2])*u.plane + u.at[t[1]][1]*u.pitch) * u.size
}

// list gives the offsets of all rows, the taps of a channel together. Those of a
// paired phase are the offsets at the first point.
func (u *unfolded) list() []int {
	l := make([]int, 0, u.channels*u.count())
	for c := range u.channels {
		u.eachTap(func(t [3]int) {
			if !u.paired || t[2] == 0 {
				l = append(l, u.offset(c, t))
			}
		})
	}
	return l
}

// begins is where the source of a strip begins that is read in place; in bytes.
func (u *unfolded) begins(st *strip) int {
	return ((st.d*u.from[1]+st.h0)*u.from[2] + st.w0) * u.size
}

// flat tells whether positions follow one another as elements of the source do, so
// that a plane is one long row.
func (u *unfolded) flat() bool {
	return u.step[1] == 1 && u.step[2] == u.width() && u.pitch*u.width() == u.from[2] && u.v[2] == u.pitch
}

// prepare makes the masks of the copies for a strip: by tap along the last axis, or
// for all points, and a list of zeros behind them.
func (u *unfolded) prepare(st *strip) (masks [][]uint32) {
	if u.inPlace || u.step[2] > 2 || u.count() == 0 {
		return nil
	}
	n := min(st.w1, u.v[2]) - st.w0
	if u.flat() {
		n = (st.h1 - st.h0 + u.further) * u.pitch
	}
	vectors := (n + conv.Lanes - 1) / conv.Lanes
	inside := func(i, first int) bool {
		x := (st.w0+i)*u.step[2] + first
		if u.flat() {
			x = i%u.pitch*u.step[2] + first
			if row := st.h0 + u.classes[0] + i/u.pitch; row < 0 || row >= u.from[1] {
				return false
			}
		}
		return x >= 0 && x < u.from[2]
	}
	if u.paired {
		m := make([]uint32, 2*vectors)
		for i := range 4 * n {
			if pair, d := i/4, i%4; inside(pair, u.taps[2][0].first+d) {
				m[pair/conv.Lanes*2+d/2] |= 1 << (pair%conv.Lanes*2 + d%2)
			}
		}
		return [][]uint32{m, make([]uint32, len(m))}
	}
	for _, t := range u.taps[2] {
		m := make([]uint32, vectors)
		for i := range n {
			if inside(i, t.first) {
				m[i/conv.Lanes] |= 1 << (i % conv.Lanes * u.step[2])
			}
		}
		masks = append(masks, m)
	}
	return append(masks, make([]uint32, vectors))
}

// fillWork bounds the vectors that one call copies, some tens of microseconds.
const fillWork = 1 << 14

// fill copies what a strip sees of the given number of channels.
func (u *unfolded) fill(k *conv.Kernels, c *conv.Unfold, dst, src unsafe.Pointer, st *strip, masks [][]uint32, channels int) {
	width := min(st.w1, u.v[2]) - st.w0
	rows := st.h1 - st.h0 + u.further
	volume := product(u.from[:]) * u.size
	*c = conv.Unfold{
		Src: src, DstPlane: len(u.taps[2]) * u.plane * u.size, SrcPlane: volume,
		DstRow: u.pitch * u.size, SrcRow: u.step[1] * u.from[2] * u.size, Point: u.plane * u.size,
	}
	defer func() { *c = conv.Unfold{} }() // so that it does not keep the caller's memory alive
	copyRows := func(mask []uint32, plane, from, to, offset int) {
		if from >= to {
			return
		}
		c.Rows, c.Vectors, c.Masks = to-from, len(mask)/u.width(), unsafe.Pointer(&mask[0])
		step := max(1, fillWork/(c.Rows*c.Vectors))
		for n := 0; n < channels; n += step {
			c.Planes = min(step, channels-n)
			c.Dst = unsafe.Add(dst, plane+n*c.DstPlane+from*c.DstRow)
			c.Offset = offset + n*c.SrcPlane + from*c.SrcRow
			if u.paired {
				k.Pairs(c)
			} else {
				k.Unfold(c, u.step[2])
			}
		}
	}
	for a, t0 := range u.taps[0] {
		depth := st.d*u.step[0] + t0.first
		for b, first := range u.classes {
			first += st.h0 * u.step[1]
			lo := min(rows, max(0, (-first+u.step[1]-1)/u.step[1]))
			hi := max(lo, min(rows, (u.from[1]-first+u.step[1]-1)/u.step[1]))
			if depth < 0 || depth >= u.from[0] {
				lo, hi = rows, rows
			}
			for i, t2 := range u.taps[2] {
				if u.paired && i > 0 {
					break // all points are done together
				}
				plane := ((a*len(u.classes)+b)*u.channels*len(u.taps[2]) + i) * u.plane * u.size
				column := st.w0*u.step[2] + t2.first
				offset := ((depth*u.from[1]+first)*u.from[2] + column) * u.size
				switch {
				case u.step[2] > 2:
					u.gather(unsafe.Add(dst, plane), src, depth, first, column, lo, hi, rows, width, channels)
				case u.flat() && lo < hi:
					copyRows(masks[i], plane, 0, 1, offset)
				case u.flat():
					copyRows(masks[len(masks)-1], plane, 0, 1, 0)
				default:
					none := masks[len(masks)-1]
					copyRows(none, plane, 0, lo, 0)
					copyRows(masks[i], plane, lo, hi, offset)
					copyRows(none, plane, hi, rows, 0)
				}
			}
		}
	}
}

// gather is fill for one tap along the last axis, with any step.
func (u *unfolded) gather(dst, src unsafe.Pointer, depth, first, column, lo, hi, rows, width, channels int) {
	for c := range channels {
		for r := range rows {
			to := unsafe.Add(dst, (c*len(u.taps[2])*u.plane+r*u.pitch)*u.size)
			from := unsafe.Add(src, ((c*u.from[0]+depth)*u.from[1]+first+r*u.step[1])*u.from[2]*u.size)
			for i := range width {
				if x := column + i*u.step[2]; r >= lo && r < hi && x >= 0 && x < u.from[2] {
					move(unsafe.Add(to, i*u.size), unsafe.Add(from, x*u.size), u.size)
				} else {
					clear(unsafe.Slice((*byte)(unsafe.Add(to, i*u.size)), u.size))
				}
			}
		}
	}
}

// Limits of a strip: the bytes of its copy, which is to stay in the second-level
// cache beside weights and result, and its positions. There should be fewTasks tasks,
// as long as strips have fewColumns positions.
const (
	copyBytes  = 640 << 10
	maxColumns = 4096
	fewTasks   = 16
	fewColumns = 256
)

// strips cuts the positions of phases that differ along the last axis only. A
// position of a row needs perColumn bytes beside its part of the copy; others is the
// number of tasks for each strip.
func (s *convShape) strips(phases []phase, from [3]int, channels, perColumn, others int) []strip {
	var v [3]int
	row, further := 0, 0 // bytes of a row of positions; rows that are copied besides
	copies := false
	for i := range phases {
		ph := &phases[i]
		u := s.unfold(ph, from, channels, 1, ph.v[2])
		v = [3]int{ph.v[0], ph.v[1], max(v[2], ph.v[2])}
		if !u.inPlace {
			copies = true
			row, further = max(row, u.planes()*channels*ph.v[2]*s.size), max(further, u.further)
		}
	}
	width := v[2]
	budget := copyBytes
	if !copies {
		row, budget = width*s.size, maxColumns/2*s.size
	}
	row = max(row, width*s.size) + width*perColumn // phases may have no taps
	if whole := row * (1 + further); whole > budget || width > maxColumns {
		column := max(1, whole/width)
		width = min(width, maxColumns, max(32, budget/column&^31))
		width = (v[2] + (v[2]+width-1)/width - 1) / ((v[2] + width - 1) / width)
	}
	height := 1
	if width == v[2] {
		height = max(1, min(v[1], budget/row-further, maxColumns/width))
		for others*v[0]*((v[1]+height-1)/height) < fewTasks && height*width >= 2*fewColumns && height > 1 {
			height = (height + 1) / 2
		}
		n := (v[1] + height - 1) / height
		height = (v[1] + n - 1) / n
	}
	var l []strip
	for d := range v[0] {
		for h := 0; h < v[1]; h += height {
			for w := 0; w < v[2]; w += width {
				l = append(l, strip{d, h, min(v[1], h+height), w, min(v[2], w+width)})
			}
		}
	}
	return l
}

// extents are the largest numbers of rows and columns of strips.
func extents(l []strip) (rows, columns int) {
	for _, st := range l {
		rows, columns = max(rows, st.h1-st.h0), max(columns, st.w1-st.w0)
	}
	return
}

// worker is what a task of a convolution writes to.
type convWorker struct {
	problem gemm.Problem
	unfold  conv.Unfold
	join    conv.Join
	part    conv.Part
	spread  conv.Spread
	taps    conv.Taps
	rows    conv.Rows3
	turn    conv.Turn
	box     box
	_       [128]byte
}

// portion is a phase of a strip with its copy.
type portion struct {
	*unfolded
	table []int // offsets of the rows of the unfolded image
	masks [][]uint32
}

// cut is a strip with the phases that are computed for it.
type cut struct {
	strip
	parts []portion
}

func (s *convShape) cuts(phases []phase, from [3]int, channels, perColumn, others int) (l []cut, copyBytes int) {
	strips := s.strips(phases, from, channels, perColumn, others)
	rows, columns := extents(strips)
	var whole []portion
	for i := range phases {
		u := s.unfold(&phases[i], from, channels, rows, columns)
		whole = append(whole, portion{unfolded: u, table: u.list()})
		copyBytes = max(copyBytes, align(u.bytes()))
	}
	for _, st := range strips {
		c := cut{strip: st, parts: slices.Clone(whole)}
		for i := range c.parts {
			c.parts[i].masks = c.parts[i].prepare(&st)
		}
		l = append(l, c)
	}
	return l, copyBytes
}

// tileElements is the size of a block of a result that has yet to be moved to its
// places.
const tileElements = 1 << 16

// convImages computes the forward direction or the input gradient.
func (d *Device) convImages(l *kernel.Library, s *convShape, sc scratch, backward bool, after *fusedKernel) routine {
	src, weights, out := &l.In[0], &l.In[1], &l.Out[0]
	groups := [][]phase{{s.forward()}}
	inner, outer, from, target := s.cg, s.kg, s.x, s.y // channels of a group, extents
	if backward {
		groups = s.backward()
		inner, outer, from, target = s.kg, s.cg, s.y, s.x
	}
	kernels := conv.For(gemm.Level(), s.wide)
	depthwise := s.depthwise()
	s.copied = depthwise // whole vectors are read

	// A task of a depthwise convolution does several channels.
	together := 1
	if depthwise {
		together = min(s.groups, max(1, 1<<15/max(1, product(target[:]))))
	}
	teams := (s.groups + together - 1) / together
	var cuts []cut
	unfoldBytes, tileBytes := 0, 0
	for _, phases := range groups {
		c, bytes := s.cuts(phases, from, inner*together, 0, s.n*teams*len(groups))
		cuts, unfoldBytes = append(cuts, c...), max(unfoldBytes, bytes)
	}
	direct := len(groups) == 1 && len(groups[0]) == 1 // results are written where they belong
	// Results of different phases lie in between one another. A task does them all if
	// there are tasks enough, so that workers do not write to each other's cache lines.
	bunch := 1
	if !direct && s.n*teams >= fewTasks {
		bunch = len(cuts)
	}
	blocks := 1
	if n := s.n * teams * len(cuts); n < fewTasks && !depthwise {
		blocks = min((fewTasks+n-1)/n, (outer+13)/14)
	}
	if !direct || groups[0][0].paired {
		tileBytes = tileElements*s.size + gemm.Slack
	}

	var slots []unsafe.Pointer
	var source, result, w unsafe.Pointer
	rank := len(out.Shape)
	workers := make([]convWorker, d.pool.Workers())
	for i := range workers {
		workers[i].box = newBox(rank)
	}
	epilogue := boxed(l, after) && direct
	sourceVolume, volume := product(from[:])*s.size, product(target[:])*s.size
	compute := func(worker, n, g, block int, cut *cut) {
		me := &workers[worker]
		count := min(together, s.groups-g)
		st := &cut.strip
		r0, r1 := block*outer/blocks, (block+1)*outer/blocks
		if depthwise {
			r0, r1 = 0, count
		}
		local := d.memory(worker, unfoldBytes+tileBytes)
		tile := unsafe.Add(local, unfoldBytes)
		channels := unsafe.Add(source, (n*s.groups+g)*inner*sourceVolume)
		first := (n*s.groups+g)*outer + r0 // channel of the result
		for i := range cut.parts {
			p := &cut.parts[i]
			columns := min(st.w1, p.v[2]) - st.w0
			if columns <= 0 {
				continue
			}
			width := (st.h1-st.h0-1)*p.pitch + columns
			image := unsafe.Add(channels, p.begins(st))
			if !p.inPlace {
				image = local
				if len(p.table) > 0 {
					p.fill(kernels, &me.unfold, image, channels, st, p.masks, inner*count)
				}
			}
			origin := (p.start[0]+st.d*p.apart[0])*target[1] + p.start[1] + st.h0*p.apart[1]
			origin = (origin*target[2] + p.start[2] + st.w0*p.apart[2]*p.width()) * s.size
			height := r1 - r0
			switch {
			case p.paired:
				n := (height + pairedRows - 1) / pairedRows
				height = min((height+n-1)/n, max(1, tileElements/(4*width)))
			case !direct:
				height = max(1, min(height, tileElements/width))
			}
			for r := r0; r < r1; r += height {
				rows := min(height, r1-r)
				dst := unsafe.Add(result, (first+r-r0)*volume+origin)
				to, apart := dst, volume
				if !direct {
					to, apart = tile, width*s.size
				}
				switch {
				case p.paired:
					d.pairRows(s, kernels, worker, me, p, st, dst, tile, image, w, g*outer+r, rows, width, columns, target)
					continue
				case depthwise:
					s.tapRows(kernels, &me.taps, p, to, apart, image, w, g+r, r, rows, width)
				default:
					k := len(p.table)
					pr := &me.problem
					pr.Type, pr.M, pr.N, pr.K = s.product(), rows, width, k
					pr.A = gemm.Mat{P: unsafe.Add(w, (p.weights+(g*outer+r)*k)*s.size), RS: k, CS: 1}
					pr.B = gemm.Mat{P: image, CS: 1}
					pr.Rows, pr.InPlace = p.table, !p.inPlace
					pr.C, pr.LDC = to, apart/s.size
					pr.RunSerial(d.gemm.Worker(worker))
				}
				if !direct {
					s.place(kernels, &me.spread, p.phase, dst, tile, rows, st.h1-st.h0, columns, p.pitch, target)
				}
			}
		}
		if epilogue {
			b := &me.box
			step := cut.parts[0].width()
			lo, hi := [3]int{st.d, st.h0, st.w0 * step}, [3]int{st.d + 1, st.h1, st.w1 * step}
			b.lo[0], b.hi[0] = n, n+1
			b.lo[1], b.hi[1] = g*outer+r0, g*outer+r1
			copy(b.lo[2:], lo[5-rank:])
			copy(b.hi[2:], hi[5-rank:])
			after.runBox(worker, slots, b.lo, b.hi)
		}
	}
	bunches := len(cuts) / bunch
	task := func(worker, chunk int) {
		first := chunk / blocks % bunches * bunch
		g := chunk / (blocks * bunches) % teams * together
		n := chunk / (blocks * bunches * teams)
		for i := range cuts[first : first+bunch] {
			compute(worker, n, g, chunk%blocks, &cuts[first+i])
		}
	}
	arrange := d.arrange(s, groups, backward)
	copied, bytes := arranged(groups, backward), 0
	if copied {
		for _, ph := range slices.Concat(groups...) {
			bytes += s.groups * s.cg * s.kg * ph.count() * s.size
		}
	}
	return routine{workspace: align(bytes), epilogue: epilogue, run: func(sl []unsafe.Pointer) {
		slots = sl
		source, result, w = address(slots, src), address(slots, out), address(slots, weights)
		if copied {
			arrange(sc.at(slots), w)
			w = sc.at(slots)
		}
		d.pool.Run(s.n*teams*bunches*blocks, task)
	}}
}

// pairedRows is about how many rows a paired phase computes at a time: the products at
// four points are to stay in the cache.
const pairedRows = 32

// pairRows computes rows of a paired phase, the first of which is channel r of all
// groups' channels.
func (d *Device) pairRows(s *convShape, k *conv.Kernels, worker int, me *convWorker, p *portion, st *strip, dst, tile, image, weights unsafe.Pointer, r, rows, width, columns int, target [3]int) {
	pr := &me.problem
	taps := len(p.table)
	pr.Type, pr.M, pr.N, pr.K = s.product(), rows, width, taps
	pr.Rows, pr.InPlace, pr.LDC = p.table, true, width
	all := s.groups * s.cg * s.kg * p.count() / 4 // weights of a point
	for point := range 4 {
		pr.A = gemm.Mat{P: unsafe.Add(weights, (p.weights+point*all+r*taps)*s.size), RS: taps, CS: 1}
		pr.B = gemm.Mat{P: unsafe.Add(image, point*p.plane*s.size), CS: 1}
		pr.C = unsafe.Add(tile, point*rows*width*s.size)
		pr.RunSerial(d.gemm.Worker(worker))
	}
	volume := product(target[:])
	j := &me.join
	*j = conv.Join{N: columns, Rows: st.h1 - st.h0, DstRow: p.apart[1] * target[2] * s.size, SrcRow: p.pitch * s.size, Point: rows * width * s.size}
	if p.apart[1] == 1 && 2*p.pitch == target[2] { // the rows follow one another
		j.N, j.Rows = width, 1
	}
	for i := range rows {
		j.Dst, j.Src = unsafe.Add(dst, i*volume*s.size), unsafe.Add(tile, i*width*s.size)
		k.Join(j)
	}
	*j = conv.Join{}
}

// tapRows computes rows r0 … r0+rows of a depthwise convolution's team, the first of
// which is channel g.
func (s *convShape) tapRows(k *conv.Kernels, c *conv.Taps, p *portion, dst unsafe.Pointer, apart int, image, weights unsafe.Pointer, g, r0, rows, width int) {
	taps := p.count()
	if taps == 0 {
		for r := range rows {
			clear(unsafe.Slice((*byte)(unsafe.Add(dst, r*apart)), width*s.size))
		}
		return
	}
	channel := len(p.taps[2]) * p.plane * s.size
	*c = conv.Taps{N: width, Offsets: &p.table[0], K: taps}
	for r := range rows {
		c.Dst, c.Src = unsafe.Add(dst, r*apart), unsafe.Add(image, (r0+r)*channel)
		c.Weights = unsafe.Add(weights, (p.weights+(g+r)*taps)*s.size)
		k.Taps(c)
	}
	*c = conv.Taps{}
}

// place writes a tile, rows of which hold the positions of a strip, to dst.
func (s *convShape) place(k *conv.Kernels, c *conv.Spread, ph *phase, dst, tile unsafe.Pointer, rows, height, width, pitch int, target [3]int) {
	volume := product(target[:])
	line := (height-1)*pitch + width
	for r := range rows {
		to, from := unsafe.Add(dst, r*volume*s.size), unsafe.Add(tile, r*line*s.size)
		if ph.apart[2] == 2 {
			*c = conv.Spread{Dst: to, Src: from, N: width, Rows: height, DstRow: ph.apart[1] * target[2] * s.size, SrcRow: pitch * s.size}
			k.Spread(c)
			*c = conv.Spread{}
			continue
		}
		for h := range height {
			to, from := unsafe.Add(to, h*ph.apart[1]*target[2]*s.size), unsafe.Add(from, h*pitch*s.size)
			if ph.apart[2] == 1 {
				copy(unsafe.Slice((*byte)(to), width*s.size), unsafe.Slice((*byte)(from), width*s.size))
				continue
			}
			for i := range width {
				move(unsafe.Add(to, i*ph.apart[2]*s.size), unsafe.Add(from, i*s.size), s.size)
			}
		}
	}
}

// arranged tells whether weights have to be copied for the phases.
func arranged(groups [][]phase, backward bool) bool {
	return backward || groups[0][0].paired
}

// arrange copies weights [K, C/groups, taps]: for every phase and group a matrix with
// a row for each channel of the result, its columns numbered as the phase's rows of
// the source, (channel, tap). Paired phases have one for each point.
func (d *Device) arrange(s *convShape, groups [][]phase, backward bool) func(dst, src unsafe.Pointer) {
	inner, outer := s.cg, s.kg
	if backward {
		inner, outer = s.kg, s.cg
	}
	phases := slices.Concat(groups...)
	taps := make([][]int, len(phases))
	for i := range phases {
		ph := &phases[i]
		ph.eachTap(func(t [3]int) {
			if !ph.paired || t[2] == 0 {
				taps[i] = append(taps[i], (ph.taps[0][t[0]].index*s.w[1]+ph.taps[1][t[1]].index)*s.w[2]+ph.taps[2][t[2]].index)
			}
		})
	}
	var dst, src unsafe.Pointer
	loop := newEach(s.groups*outer, inner*s.taps, func(lo, hi int) {
		for row := lo; row < hi; row++ {
			g, r := row/outer, row%outer
			for i := range phases {
				ph := &phases[i]
				at := ph.weights + row*inner*len(taps[i])
				for c := range inner {
					from := ((g*s.kg+r)*s.cg + c) * s.taps
					if backward {
						from = ((g*s.kg+c)*s.cg + r) * s.taps
					}
					for _, t := range taps[i] {
						if ph.paired {
							w := unsafe.Slice((*float32)(unsafe.Add(src, (from+t)*4)), 3)
							for point, v := range conv.Points([3]float32{w[ph.window[0]], w[ph.window[1]], w[ph.window[2]]}) {
								*(*float32)(unsafe.Add(dst, (at+point*s.groups*outer*inner*len(taps[i]))*4)) = v
							}
						} else {
							move(unsafe.Add(dst, at*s.size), unsafe.Add(src, (from+t)*s.size), s.size)
						}
						at++
					}
				}
			}
		}
	})
	return func(to, from unsafe.Pointer) {
		dst, src = to, from
		loop.run(d)
	}
}

// splitBytes is how much the sums of all splits may take, if there are several.
const splitBytes = 2 << 20

// splits is the number of parts that the images are summed in: enough to have some
// tasks, others being the number of tasks for each split.
func (s *convShape) splits(others, bytes int) int {
	return max(1, min(s.n, (2*fewTasks+others-1)/others, splitBytes/max(1, bytes)))
}

// convWeights computes the weight gradient: sums [split, group, tap but for the last
// axis, channel, tap along the last axis, output channel], which are added and turned
// around at the end.
func (d *Device) convWeights(l *kernel.Library, s *convShape, sc scratch) routine {
	kernels := conv.For(gemm.Level(), s.wide)
	if kernels.Fast && (s.depthwise() || s.cg*s.w[2] <= fewRows) {
		return d.convTaps(l, s, sc, kernels)
	}
	// A panel of y is as wide as a kernel; for few channels it is narrower, so as
	// not to be mostly zeros.
	width := 32
	if s.kg <= 16 {
		width = 16
	}
	x, y, out := &l.In[0], &l.In[1], &l.Out[0]
	ph := s.forward()
	panels := (s.kg + width - 1) / width
	ld := panels * width

	// A task works on blocks of the channels on either side.
	const channelBlock, panelBlock = 64, 4
	cBlocks, kBlocks := (s.cg+channelBlock-1)/channelBlock, (panels+panelBlock-1)/panelBlock
	perBlock := (s.cg + cBlocks - 1) / cBlocks
	rows := ph.count() * s.cg // of the sums of a group
	sumBytes := s.groups * rows * ld * s.size
	splits := s.splits(s.groups*cBlocks*kBlocks, sumBytes)
	perColumn := min(panels, panelBlock) * width * s.size // bytes of y for a position
	if ph.paired {
		perColumn *= 4
	}
	cuts, unfoldBytes := s.cuts([]phase{ph}, s.x, perBlock, perColumn, fewTasks)
	longest := 0 // positions of a strip
	for i := range cuts {
		longest = max(longest, cuts[i].positions())
	}
	bytes := align(splits * sumBytes)
	perTap := len(ph.taps[2])

	var source, ySource, sums, result unsafe.Pointer
	volume := product(s.y[:]) * s.size
	workers := make([]convWorker, d.pool.Workers())
	task := func(worker, chunk int) {
		me := &workers[worker]
		k0 := chunk % kBlocks * panels / kBlocks
		k1 := (chunk%kBlocks + 1) * panels / kBlocks
		chunk /= kBlocks
		c0, c1 := chunk%cBlocks*s.cg/cBlocks, (chunk%cBlocks+1)*s.cg/cBlocks
		chunk /= cBlocks
		g, split := chunk%s.groups, chunk/s.groups
		local := d.memory(worker, unfoldBytes+align(longest*perColumn)+gemm.Slack)
		turned := unsafe.Add(local, unfoldBytes)
		to := unsafe.Add(sums, (split*s.groups+g)*rows*ld*s.size)
		begun := false
		for n := split * s.n / splits; n < (split+1)*s.n/splits; n++ {
			for i := range cuts {
				st, p := &cuts[i].strip, &cuts[i].parts[0]
				positions := cuts[i].positions()
				image := unsafe.Add(source, ((n*s.groups+g)*s.cg+c0)*product(s.x[:])*s.size)
				apart := product(s.x[:]) // from row to row
				if p.inPlace {
					image = unsafe.Add(image, p.begins(st))
				} else {
					p.fill(kernels, &me.unfold, local, image, st, p.masks, c1-c0)
					image, apart = local, p.plane
				}
				first := ((st.d*s.y[1]+st.h0)*s.y[2] + st.w0*p.width()) * s.size
				entries := positions * p.width() // rows of a panel
				panel := positions * width * s.size
				if p.paired {
					panel *= 4
				}
				for k := k0; k < k1; k++ {
					me.turn = conv.Turn{
						Dst: unsafe.Add(turned, (k-k0)*panel), Src: unsafe.Add(ySource, ((n*s.groups+g)*s.kg+k*width)*volume+first),
						N: entries, Rows: min(width, s.kg-k*width), Width: width, DstRow: width * s.size, SrcRow: volume,
					}
					kernels.Turn(&me.turn)
					if p.paired {
						y := me.turn.Dst
						sum := unsafe.Add(y, 2*positions*width*s.size)
						me.part = conv.Part{Sum: sum, Difference: unsafe.Add(sum, positions*width*s.size), Src: y, N: positions, Width: width}
						kernels.Part(&me.part)
					}
				}
				me.turn, me.part = conv.Turn{}, conv.Part{}
				pr := &me.problem
				pr.Type, pr.InPlace, pr.Accumulate, pr.K, pr.LDC = s.product(), true, begun, positions, ld
				for t := 0; t < ph.count(); t += perTap {
					a, b := t/perTap/len(ph.taps[1]), t/perTap%len(ph.taps[1])
					rows := unsafe.Add(image, p.offset(0, [3]int{a, b, 0}))
					for k := k0; k < k1; k++ {
						y := unsafe.Add(turned, (k-k0)*panel)
						sum := unsafe.Add(to, ((t*s.cg+c0*perTap)*ld+k*width)*s.size)
						pr.N = min(width, s.kg-k*width)
						if !p.paired {
							pr.M, pr.C = (c1-c0)*perTap, sum
							pr.A, pr.B = gemm.Mat{P: rows, RS: apart, CS: 1}, gemm.Mat{P: y, RS: width, CS: 1}
							pr.RunSerial(d.gemm.Worker(worker))
							continue
						}
						// The even positions, sums, differences and odd positions.
						pr.M, pr.LDC = c1-c0, 4*ld
						for point, at := range [4]int{0, 2 * positions, 3 * positions, 1} {
							pr.A = gemm.Mat{P: unsafe.Add(rows, point*p.plane*s.size), RS: 4 * apart, CS: 1}
							pr.B = gemm.Mat{P: unsafe.Add(y, at*width*s.size), RS: width, CS: 1}
							if point%3 == 0 {
								pr.B.RS = 2 * width
							}
							pr.C = unsafe.Add(sum, point*ld*s.size)
							pr.RunSerial(d.gemm.Worker(worker))
						}
					}
				}
				begun = true
			}
		}
	}
	// The rows of the points belong together.
	unit := 1
	if ph.paired {
		unit = 4
	}
	finish := newEach(s.groups*rows/unit, unit*(splits*ld/4+s.kg), func(lo, hi int) {
		for r := lo * unit; r < hi*unit; r += unit {
			sum := unsafe.Add(sums, r*ld*s.size)
			for i := 1; i < splits; i++ {
				kernels.Add(sum, unsafe.Add(sum, i*sumBytes), unit*ld)
			}
			g, row := r/rows, r%rows
			t, c := row/(s.cg*perTap)*perTap+row%perTap, row/perTap%s.cg
			if ph.paired {
				s.takePairs(unsafe.Add(result, ((g*s.kg*s.cg+c)*s.taps+t/4*3)*4), sum, ld, &ph)
				continue
			}
			for k := range s.kg {
				move(unsafe.Add(result, (((g*s.kg+k)*s.cg+c)*s.taps+t)*s.size), unsafe.Add(sum, k*s.size), s.size)
			}
		}
	})
	return routine{workspace: bytes, run: func(slots []unsafe.Pointer) {
		source, ySource, result = address(slots, x), address(slots, y), address(slots, out)
		sums = sc.at(slots)
		d.pool.Run(splits*s.groups*cBlocks*kBlocks, task)
		finish.run(d)
	}}
}

// takePairs writes the gradients of three taps of all output channels of a group,
// given their sums at the four points.
func (s *convShape) takePairs(dst, sums unsafe.Pointer, ld int, ph *phase) {
	for k := range s.kg {
		h := func(point int) float32 { return *(*float32)(unsafe.Add(sums, (point*ld+k)*4)) }
		to := unsafe.Slice((*float32)(unsafe.Add(dst, k*s.cg*s.taps*4)), 3)
		for i, v := range conv.TapsOf([4]float32{h(0), h(1), h(2), -h(3)}) {
			to[ph.window[i]] = v
		}
	}
}

// positions is the number of positions of a cut of one phase.
func (c *cut) positions() int { return (c.h1-c.h0-1)*c.parts[0].pitch + c.w1 - c.w0 }

// masked is a depthwise convolution whose results lie as its source does, so that the
// source can be read where it is: taps meet elements at fixed distances. For 3×3 taps
// there are kernels that read each row once.
type masked struct {
	offsets []int       // by tap, in bytes
	masks   []uint16    // by vector of positions and tap: which of its elements exist
	masks3  [][3]uint16 // for 3×3 taps, else nil
	step    int         // from weight to weight, in bytes
}

// maskBytes is the most that masks may take; they are to stay in the cache.
const maskBytes = 256 << 10

// inPlace is nil for convolutions that need a copy of their source.
func (s *convShape) inPlace(backward bool) *masked {
	one := [3]int{1, 1, 1}
	if !s.depthwise() || s.x != s.y || s.stride != one {
		return nil
	}
	m := &masked{step: s.size}
	if s.w == [3]int{1, 3, 3} && s.low == [3]int{0, 1, 1} && s.dil == one && s.x[0] == 1 && s.x[1] <= maskedWork {
		if backward {
			m.step = -s.size
		}
		m.masks3 = conv.Masks3(s.x[2])
		return m
	}
	vectors := (product(s.x[:]) + conv.Lanes - 1) / conv.Lanes
	if vectors*s.taps*2 > maskBytes {
		return nil
	}
	m.masks = make([]uint16, vectors*s.taps)
	for t := range s.taps {
		tap := [3]int{t / (s.w[1] * s.w[2]), t / s.w[2] % s.w[1], t % s.w[2]}
		for i := range tap {
			tap[i] = tap[i]*s.dil[i] - s.low[i]
			if backward {
				tap[i] = -tap[i]
			}
		}
		m.offsets = append(m.offsets, ((tap[0]*s.x[1]+tap[1])*s.x[2]+tap[2])*s.size)
		p := 0
		for d := range s.x[0] {
			for h := range s.x[1] {
				for w := range s.x[2] {
					inside := true
					for i, x := range [3]int{d, h, w} {
						inside = inside && x+tap[i] >= 0 && x+tap[i] < s.x[i]
					}
					if inside {
						m.masks[p/conv.Lanes*s.taps+t] |= 1 << (p % conv.Lanes)
					}
					p++
				}
			}
		}
	}
	return m
}

// maskedWork bounds the positions that one call computes.
const maskedWork = 1 << 14

// runMasked computes a channel, or adds up the gradients of its weights.
func (s *convShape) runMasked(m *masked, k *conv.Kernels, me *convWorker, sums bool, dst, src, weights unsafe.Pointer) {
	if m.masks3 != nil {
		c := &me.rows
		*c = conv.Rows3{Rows: s.x[1], Row: s.x[2] * s.size, Weights: weights, WeightStep: m.step}
		if m.step < 0 && !sums {
			c.Weights = unsafe.Add(weights, -8*m.step)
		}
		const columns = 2 * conv.Lanes
		pairs := max(1, maskedWork/columns/s.x[1])
		for p := 0; 2*p < len(m.masks3); p += pairs {
			c.Dst, c.Src = unsafe.Add(dst, p*columns*s.size), unsafe.Add(src, p*columns*s.size)
			c.Masks, c.Pairs = &m.masks3[2*p], min(pairs, len(m.masks3)/2-p)
			if sums {
				k.Sums3(c)
			} else {
				k.Rows3(c)
			}
		}
		*c = conv.Rows3{} // so that it does not keep the caller's memory alive
		return
	}
	c := &me.taps
	taps, positions := len(m.offsets), product(s.x[:])
	*c = conv.Taps{Offsets: &m.offsets[0], Weights: weights, K: taps, MaskRow: taps * 2}
	for p := 0; p < positions; p += maskedWork {
		c.Dst, c.Src, c.N = unsafe.Add(dst, p*s.size), unsafe.Add(src, p*s.size), min(maskedWork, positions-p)
		c.Masks = &m.masks[p/conv.Lanes*taps]
		if sums {
			k.MaskedSums(c)
		} else {
			k.MaskedTaps(c)
		}
	}
	*c = conv.Taps{}
}

// convMasked computes the forward direction or the input gradient in place.
func (d *Device) convMasked(l *kernel.Library, s *convShape, m *masked, after *fusedKernel) routine {
	src, weights, out := &l.In[0], &l.In[1], &l.Out[0]
	kernels := conv.For(gemm.Level(), s.wide)
	volume := product(s.x[:])
	workers := make([]convWorker, d.pool.Workers())
	finish := d.planeEpilogue(l, after, 2)
	var slots []unsafe.Pointer
	var source, w, result unsafe.Pointer
	loop := newEachOn(s.n*s.groups, volume*s.taps/8, func(worker, lo, hi int) {
		for p := lo; p < hi; p++ {
			s.runMasked(m, kernels, &workers[worker], false, unsafe.Add(result, p*volume*s.size),
				unsafe.Add(source, p*volume*s.size), unsafe.Add(w, p%s.groups*s.taps*s.size))
		}
		if finish != nil {
			finish(worker, slots, lo, hi)
		}
	})
	return routine{epilogue: finish != nil, run: func(sl []unsafe.Pointer) {
		slots, source, w, result = sl, address(sl, src), address(sl, weights), address(sl, out)
		loop.run(d)
	}}
}

// fewRows is the number of rows, of the channels and the taps along the last axis, up
// to which the weight gradient is computed tap by tap: so few would not occupy a matrix
// product.
const fewRows = 8

// convTaps computes the weight gradient tap by tap: sums [split, output
// channel, input channel, tap] of as many numbers as package conv adds side by side.
func (d *Device) convTaps(l *kernel.Library, s *convShape, sc scratch, kernels *conv.Kernels) routine {
	x, y, out := &l.In[0], &l.In[1], &l.Out[0]
	volume := product(s.y[:])
	perPair := s.taps * conv.Lanes * s.size // bytes of the sums of two channels
	perGroup := s.kg * s.cg * perPair
	together := min(s.groups, max(1, 1<<15/max(1, volume*s.kg*s.cg)))
	teams := (s.groups + together - 1) / together
	sumBytes := s.groups * perGroup
	splits := s.splits(teams, sumBytes)
	m := s.inPlace(false)
	var cuts []cut
	unfoldBytes := 0
	if m == nil {
		s.copied = true
		cuts, unfoldBytes = s.cuts([]phase{s.forward()}, s.x, together*s.cg, 0, fewTasks)
	}

	var source, ySource, sums, result unsafe.Pointer
	workers := make([]convWorker, d.pool.Workers())
	task := func(worker, chunk int) {
		me := &workers[worker]
		g := chunk % teams * together
		split := chunk / teams
		count := min(together, s.groups-g)
		local := d.memory(worker, unfoldBytes)
		to := unsafe.Add(sums, split*sumBytes+g*perGroup)
		clear(unsafe.Slice((*byte)(to), count*perGroup))
		for n := split * s.n / splits; n < (split+1)*s.n/splits; n++ {
			image := unsafe.Add(source, (n*s.groups+g)*s.cg*product(s.x[:])*s.size)
			gradient := unsafe.Add(ySource, (n*s.groups+g)*s.kg*volume*s.size)
			for c := 0; c < count && m != nil; c++ {
				s.runMasked(m, kernels, me, true, unsafe.Add(gradient, c*volume*s.size), unsafe.Add(image, c*volume*s.size), unsafe.Add(to, c*perPair))
			}
			for i := range cuts {
				st, p := &cuts[i].strip, &cuts[i].parts[0]
				p.fill(kernels, &me.unfold, local, image, st, p.masks, count*s.cg)
				first := (st.d*s.y[1]+st.h0)*s.y[2] + st.w0
				me.taps = conv.Taps{N: cuts[i].positions(), Offsets: &p.table[0], K: s.taps}
				for pair := range count * s.kg * s.cg {
					k, c := pair/s.cg, pair/(s.kg*s.cg)*s.cg+pair%s.cg
					me.taps.Dst = unsafe.Add(gradient, (k*volume+first)*s.size)
					me.taps.Src = unsafe.Add(local, c*len(p.taps[2])*p.plane*s.size)
					me.taps.Weights = unsafe.Add(to, pair*perPair)
					kernels.TapSums(&me.taps)
				}
				me.taps = conv.Taps{}
			}
		}
	}
	finish := newEach(s.groups*s.kg*s.cg, s.taps*conv.Lanes*(1+splits/4)/2, func(lo, hi int) {
		sum := unsafe.Add(sums, lo*perPair)
		for i := 1; i < splits; i++ {
			kernels.Add(sum, unsafe.Add(sum, i*sumBytes), (hi-lo)*s.taps*conv.Lanes)
		}
		to := unsafe.Slice((*float32)(unsafe.Add(result, lo*s.taps*s.size)), (hi-lo)*s.taps)
		for t := range to {
			v := (*[conv.Lanes]float32)(unsafe.Add(sum, t*conv.Lanes*s.size))
			to[t] = ((v[0] + v[1]) + (v[2] + v[3]) + ((v[4] + v[5]) + (v[6] + v[7]))) +
				((v[8] + v[9]) + (v[10] + v[11]) + ((v[12] + v[13]) + (v[14] + v[15])))
		}
	})
	return routine{workspace: align(splits * sumBytes), run: func(slots []unsafe.Pointer) {
		source, ySource, result = address(slots, x), address(slots, y), address(slots, out)
		sums = sc.at(slots)
		d.pool.Run(splits*teams, task)
		finish.run(d)
	}}
}
