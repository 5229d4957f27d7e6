package cpu

// Convolutions, as matrix products without an unfolded copy of the image.
//
// The source (x, or y for the input gradient) is copied to scratch memory with its
// padding, each channel to a plane. In a padded plane, an output position and a
// window tap meet at
//
//	place(output) + offset(tap)
//
// if outputs are numbered by the rows of the plane, those at the end of a row
// being junk. So row (channel, tap) of the unfolded image is a shifted view of the
// source, and package gemm, told the offsets of the rows, multiplies by the
// weights as it reads it. Results come out in a tile of scratch memory, from which
// the rows are copied to their places without the junk.
//
// A stride s would make neighbouring outputs read elements s apart. The copy
// therefore deals them out to s planes, one per residue; a tap reads one of them.
//
// The input gradient is a convolution of y with the weights turned around. With a
// stride, inputs of different residues see different taps; each residue is a
// convolution of its own (a phase) whose results are written s apart.
//
// The weight gradient multiplies source planes, one row per channel of x or per
// tap along the last axis, by y with its channels adjacent; junk positions are
// zero in y. It sums over images in order.
//
// Images are worked on in rounds that are large enough to occupy all workers and
// small enough for the copies to stay small. Everything is decided by shapes
// alone.

import (
	"fmt"
	"slices"
	"unsafe"

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

// product is the element type of its matrix products.
func (s *convShape) product() gemm.Type {
	if s.wide {
		return gemm.Float64
	}
	return gemm.Float32
}

// multiplications is the work for one image.
func (s *convShape) multiplications() int {
	return s.groups * s.cg * s.kg * s.taps * product(s.y[:])
}

// planes is the padded source: for every channel one plane, or one per residue
// that a tap reads.
type planes struct {
	from     [3]int // extents of a channel as it lies in memory
	low      [3]int // zeros before it; negative: elements left out
	step     [3]int // number of residues
	residues [3][]int
	q        [3]int // extents of a plane
	count    int    // planes of a channel
	stride   int    // elements from one channel to the next
	inPlace  bool   // the source is what the copy would be
}

func newPlanes(from, low, step, q [3]int, used [3][]int) *planes {
	p := &planes{from: from, low: low, step: step, residues: used, q: q, count: 1}
	for i := range 3 {
		p.count *= len(used[i])
	}
	p.inPlace = p.count == 1 && from == q && low == [3]int{} && step == [3]int{1, 1, 1}
	p.stride = p.count * product(q[:])
	if !p.inPlace {
		// Channels a power of two apart would fall on each other in the cache.
		p.stride = (p.stride+15)&^15 | 16
	}
	return p
}

// index is which of a channel's planes holds residues r.
func (p *planes) index(r [3]int) int {
	at := 0
	for i := range 3 {
		at = at*len(p.residues[i]) + slices.Index(p.residues[i], r[i])
	}
	return at
}

// place is the offset of a position in a plane.
func (p *planes) place(d, h, w int) int { return (d*p.q[1]+h)*p.q[2] + w }

// fill copies one channel.
func fill[T uint32 | uint64](p *planes, dst, src unsafe.Pointer) {
	size := product(p.q[:])
	out := unsafe.Slice((*T)(dst), p.count*size)
	in := unsafe.Slice((*T)(src), product(p.from[:]))
	for _, rd := range p.residues[0] {
		for _, rh := range p.residues[1] {
			for _, rw := range p.residues[2] {
				for d := range p.q[0] {
					for h := range p.q[1] {
						row := out[:p.q[2]]
						out = out[p.q[2]:]
						id, ih := d*p.step[0]+rd-p.low[0], h*p.step[1]+rh-p.low[1]
						if id < 0 || id >= p.from[0] || ih < 0 || ih >= p.from[1] {
							clear(row)
							continue
						}
						fillRow(row, in[(id*p.from[1]+ih)*p.from[2]:][:p.from[2]], rw-p.low[2], p.step[2])
					}
				}
			}
		}
	}
}

// fillRow sets row[i] to in[first + i·step], zero outside.
func fillRow[T uint32 | uint64](row, in []T, first, step int) {
	lo := min(len(row), max(0, (-first+step-1)/step))
	hi := max(lo, min(len(row), (len(in)-first+step-1)/step))
	clear(row[:lo])
	clear(row[hi:])
	if step == 1 {
		copy(row[lo:hi], in[first+lo:])
		return
	}
	for i, at := lo, first+lo*step; i < hi; i, at = i+1, at+step {
		row[i] = in[at]
	}
}

// phase is a convolution whose result fills positions start, start+step, … of the
// target.
type phase struct {
	v           [3]int // positions along each axis
	base        int    // place of the first of them in the planes
	rows        []int  // offsets in bytes, one per (channel, tap)
	weights     int    // elements before the phase's weights
	start, step [3]int
}

// sources are the planes of the padded input, shared by the forward direction and
// the weight gradient, with the offset of every tap.
func (s *convShape) sources() (*planes, []int) {
	var used [3][]int
	var q [3]int
	for i := range 3 {
		q[i] = s.y[i] + (s.w[i]-1)*s.dil[i]/s.stride[i]
		for t := range s.w[i] {
			if r := t * s.dil[i] % s.stride[i]; !slices.Contains(used[i], r) {
				used[i] = append(used[i], r)
			}
		}
	}
	p := newPlanes(s.x, s.low, s.stride, q, used)
	var offsets []int
	s.eachTap(func(t [3]int) {
		var r, v [3]int
		for i := range 3 {
			r[i], v[i] = t[i]*s.dil[i]%s.stride[i], t[i]*s.dil[i]/s.stride[i]
		}
		offsets = append(offsets, p.index(r)*product(q[:])+p.place(v[0], v[1], v[2]))
	})
	return p, offsets
}

func (s *convShape) eachTap(f func(t [3]int)) {
	for d := range s.w[0] {
		for h := range s.w[1] {
			for w := range s.w[2] {
				f([3]int{d, h, w})
			}
		}
	}
}

// forward is the one phase of the forward direction.
func (s *convShape) forward() (*planes, []phase) {
	p, offsets := s.sources()
	ph := phase{v: s.y, step: [3]int{1, 1, 1}}
	for c := range s.cg {
		for _, o := range offsets {
			ph.rows = append(ph.rows, (c*p.stride+o)*s.size)
		}
	}
	return p, []phase{ph}
}

// backward are the phases of the input gradient.
//
// Input i and output o meet at tap t where i + low = o·stride + t·dil. Written as
// i + low = v·stride + r, the taps of residue r are those with t·dil ≡ r, and
// they read outputs o = v - ⌊t·dil/stride⌋.
func (s *convShape) backward() (*planes, []phase) {
	var first, q [3]int // the lowest output that is read, the extent from there
	for i := range 3 {
		first[i] = floorDiv(s.low[i], s.stride[i]) - (s.w[i]-1)*s.dil[i]/s.stride[i]
		q[i] = floorDiv(s.low[i]+s.x[i]-1, s.stride[i]) - first[i] + 1
	}
	one := [3]int{1, 1, 1}
	p := newPlanes(s.y, [3]int{-first[0], -first[1], -first[2]}, one, q, [3][]int{{0}, {0}, {0}})
	var phases []phase
	weights := 0
	for rd := range s.stride[0] {
		for rh := range s.stride[1] {
			for rw := range s.stride[2] {
				r := [3]int{rd, rh, rw}
				ph := phase{weights: weights, step: s.stride}
				var v [3]int // of the first position
				for i := range 3 {
					v[i] = floorDiv(s.low[i]-r[i]+s.stride[i]-1, s.stride[i])
					ph.start[i] = v[i]*s.stride[i] + r[i] - s.low[i]
					ph.v[i] = max(0, (s.x[i]-ph.start[i]+s.stride[i]-1)/s.stride[i])
				}
				if product(ph.v[:]) == 0 {
					continue
				}
				ph.base = p.place(v[0]-first[0], v[1]-first[1], v[2]-first[2])
				taps := s.phaseTaps(r)
				for k := range s.kg {
					for _, t := range taps {
						o := p.place(t[0]*s.dil[0]/s.stride[0], t[1]*s.dil[1]/s.stride[1], t[2]*s.dil[2]/s.stride[2])
						ph.rows = append(ph.rows, (k*p.stride-o)*s.size)
					}
				}
				weights += s.groups * s.cg * len(ph.rows)
				phases = append(phases, ph)
			}
		}
	}
	return p, phases
}

// phaseTaps are the taps of inputs of residue r.
func (s *convShape) phaseTaps(r [3]int) [][3]int {
	var taps [][3]int
	s.eachTap(func(t [3]int) {
		for i := range 3 {
			if t[i]*s.dil[i]%s.stride[i] != r[i] {
				return
			}
		}
		taps = append(taps, t)
	})
	return taps
}

func floorDiv(a, b int) int {
	if a < 0 {
		return -((-a + b - 1) / b)
	}
	return a / b
}

// A round has at least roundWork multiplications, or all images, unless its copies
// would need more than roundBytes.
const (
	roundWork  = 1 << 27
	roundBytes = 64 << 20
)

func (s *convShape) round(bytesPerImage int) int {
	n := (roundWork + s.multiplications() - 1) / max(1, s.multiplications())
	return max(1, min(n, s.n, roundBytes/max(1, bytesPerImage)))
}

// copies returns a loop that fills the planes of images first … first+count.
func (d *Device) copies(s *convShape, p *planes, channels int) func(dst, src unsafe.Pointer, first, count int) {
	f := fill[uint32]
	if s.wide {
		f = fill[uint64]
	}
	var dst, src unsafe.Pointer
	var first int
	loop := newEach(0, 0, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			f(p, unsafe.Add(dst, i*p.stride*s.size), unsafe.Add(src, (first*channels+i)*product(p.from[:])*s.size))
		}
	})
	return func(to, from unsafe.Pointer, image, count int) {
		dst, src, first = to, from, image
		loop.n = count * channels
		loop.chunks = min(loop.n, max(1, loop.n*p.stride/chunkWork), 256)
		loop.run(d)
	}
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
	return d.convImages(l, s, sc, at.Dir == ir.InputGrad, after), nil
}

// columns is about how many columns of the unfolded image a task multiplies: wide
// enough for the weights to be read seldom.
const columns = 512

// strip is a range of a phase's positions that one task computes: rows h0 … h1 at
// depth d and of each w0 … w1; with more than one row these are whole.
type strip struct{ phase, d, h0, h1, w0, w1 int }

func (p *planes) strips(phases []phase) []strip {
	var l []strip
	for i := range phases {
		v := phases[i].v
		rows := max(1, columns/p.q[2])
		for d := range v[0] {
			for h := 0; h < v[1]; h += rows {
				for w := 0; w < v[2]; w += 2 * columns {
					l = append(l, strip{i, d, h, min(v[1], h+rows), w, min(v[2], w+2*columns)})
				}
			}
		}
	}
	return l
}

// convImages computes the forward direction or the input gradient.
func (d *Device) convImages(l *kernel.Library, s *convShape, sc scratch, backward bool, after *fusedKernel) routine {
	src, weights, out := &l.In[0], &l.In[1], &l.Out[0]
	p, phases := s.forward()
	inner, outer, target := s.cg, s.kg, s.y // channels of a group in source and result
	if backward {
		p, phases = s.backward()
		inner, outer, target = s.kg, s.cg, s.x
	}
	strips := p.strips(phases)
	perImage := p.stride * inner * s.groups
	round := s.n
	planesAt, bytes := 0, 0
	if backward {
		planesAt = align(weights.Elements() * s.size)
		bytes = planesAt
	}
	if !p.inPlace {
		round = s.round(perImage * s.size)
		bytes += align(round*perImage*s.size + gemm.Slack)
	}

	// Rows of the result per task: as many as a tile holds, fewer if that leaves
	// too few tasks.
	widest := 1
	for i := range strips {
		widest = max(widest, strips[i].width(p))
	}
	height := min(outer, max(1, tileElements/widest))
	if few := 32 / (round * s.groups * len(strips)); few > 1 {
		height = min(height, max(14, (outer/few+13)/14*14))
	}
	blocks := (outer + height - 1) / height

	var slots []unsafe.Pointer
	var image, result, w unsafe.Pointer
	var first int
	problems := make([]gemm.Problem, d.pool.Workers())
	boxes := make([]box, d.pool.Workers())
	rank := len(out.Shape)
	for i := range boxes {
		boxes[i] = newBox(rank)
	}
	epilogue := boxed(l, after) && !backward
	volume := product(target[:])
	task := func(worker, chunk int) {
		block := chunk % blocks
		st := &strips[chunk/blocks%len(strips)]
		g := chunk / (blocks * len(strips)) % s.groups
		n := chunk / (blocks * len(strips) * s.groups)
		ph := &phases[st.phase]
		r0 := block * height
		r1 := min(outer, r0+height)
		k := len(ph.rows)

		pr := &problems[worker]
		pr.Type, pr.M, pr.N, pr.K = s.product(), r1-r0, st.width(p), k
		pr.A = gemm.Mat{P: unsafe.Add(w, (ph.weights+(g*outer+r0)*k)*s.size), RS: k, CS: 1}
		at := n*perImage + g*inner*p.stride + ph.base + p.place(st.d, st.h0, st.w0)
		pr.B = gemm.Mat{P: unsafe.Add(image, at*s.size), CS: 1}
		pr.Rows, pr.InPlace = ph.rows, !p.inPlace

		// The first position of the strip in the result's channel, and the step
		// from row to row.
		to := ((first+n)*s.groups+g)*outer + r0
		origin := (ph.start[0]+st.d*ph.step[0])*target[1] + ph.start[1] + st.h0*ph.step[1]
		origin = origin*target[2] + ph.start[2] + st.w0*ph.step[2]
		dst := unsafe.Add(result, (to*volume+origin)*s.size)
		direct := ph.step[2] == 1 && (st.h1-st.h0 == 1 || ph.step[1] == 1 && p.q[2] == target[2])
		if direct {
			pr.C, pr.LDC = dst, volume
			pr.RunSerial(d.gemm.Worker(worker))
		} else {
			pr.C, pr.LDC = d.tile(worker), pr.N
			pr.RunSerial(d.gemm.Worker(worker))
			place := spread[uint32]
			if s.wide {
				place = spread[uint64]
			}
			for r := range pr.M {
				place(unsafe.Add(dst, r*volume*s.size), unsafe.Add(pr.C, r*pr.N*s.size),
					st.h1-st.h0, st.w1-st.w0, p.q[2], ph.step[1]*target[2], ph.step[2])
			}
		}
		if epilogue {
			b := &boxes[worker]
			lo, hi := [3]int{st.d, st.h0, st.w0}, [3]int{st.d + 1, st.h1, st.w1}
			b.lo[0], b.hi[0] = first+n, first+n+1
			b.lo[1], b.hi[1] = g*outer+r0, g*outer+r1
			copy(b.lo[2:], lo[5-rank:])
			copy(b.hi[2:], hi[5-rank:])
			after.runBox(worker, slots, b.lo, b.hi)
		}
	}
	fillPlanes := d.copies(s, p, inner*s.groups)
	turn := d.turnWeights(s, phases)
	return routine{workspace: bytes, epilogue: epilogue, run: func(sl []unsafe.Pointer) {
		slots = sl
		source := address(slots, src)
		w, result = address(slots, weights), address(slots, out)
		if backward {
			turn(sc.at(slots), w)
			w = sc.at(slots)
		}
		for first = 0; first < s.n; first += round {
			count := min(round, s.n-first)
			if p.inPlace {
				image = unsafe.Add(source, first*perImage*s.size)
			} else {
				image = unsafe.Add(sc.at(slots), planesAt)
				fillPlanes(image, source, first, count)
			}
			d.pool.Run(count*s.groups*len(strips)*blocks, task)
		}
	}}
}

// width is the number of columns of a strip, junk included.
func (st *strip) width(p *planes) int { return (st.h1-st.h0-1)*p.q[2] + st.w1 - st.w0 }

// spread copies rows of n elements, from apart, to places to apart, and the
// elements of a row to places step apart.
func spread[T uint32 | uint64](dst, src unsafe.Pointer, rows, n, from, to, step int) {
	size := int(unsafe.Sizeof(T(0)))
	for r := range rows {
		in := unsafe.Slice((*T)(unsafe.Add(src, r*from*size)), n)
		p := unsafe.Add(dst, r*to*size)
		if step == 1 {
			copy(unsafe.Slice((*T)(p), n), in)
			continue
		}
		for i, v := range in {
			*(*T)(unsafe.Add(p, i*step*size)) = v
		}
	}
}

// turnWeights copies weights [K, C/groups, taps] for the input gradient: for every
// phase and group a matrix of C/groups rows, its columns numbered as the phase's
// rows of the source, (output channel, tap).
func (d *Device) turnWeights(s *convShape, phases []phase) func(dst, src unsafe.Pointer) {
	taps := make([][]int, len(phases))
	for i := range phases {
		ph := &phases[i]
		var r [3]int
		for a := range 3 {
			r[a] = (ph.start[a] + s.low[a]) % s.stride[a]
		}
		for _, t := range s.phaseTaps(r) {
			taps[i] = append(taps[i], (t[0]*s.w[1]+t[1])*s.w[2]+t[2])
		}
	}
	var dst, src unsafe.Pointer
	loop := newEach(s.groups*s.cg, s.kg*s.taps, func(lo, hi int) {
		for gc := lo; gc < hi; gc++ {
			g, c := gc/s.cg, gc%s.cg
			for i := range phases {
				at := phases[i].weights + gc*len(phases[i].rows)
				for k := range s.kg {
					from := ((g*s.kg+k)*s.cg + c) * s.taps
					for _, t := range taps[i] {
						move(unsafe.Add(dst, at*s.size), unsafe.Add(src, (from+t)*s.size), s.size)
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

// rowSet is a number of rows of the weight gradient's product that lie at regular
// distances in the source: the channels at one tap, or, where there are fewer
// channels than that, the taps of one residue along the last axis at one channel.
type rowSet struct {
	count      int
	from, step int // elements in the planes
	to, ld     int // rows in the sums
}

// rowSets cuts the rows; a row of the sums is numbered channel·taps + tap.
func (s *convShape) rowSets(p *planes, offsets []int) []rowSet {
	var l []rowSet
	if s.cg >= s.w[2] {
		height := min(s.cg, 56)
		if few := 32 / (s.groups * s.taps); few > 1 {
			height = min(height, max(14, (s.cg/few+13)/14*14))
		}
		for t, o := range offsets {
			for c := 0; c < s.cg; c += height {
				l = append(l, rowSet{min(height, s.cg-c), c*p.stride + o, p.stride, c*s.taps + t, s.taps})
			}
		}
		return l
	}
	// Taps t and t+next have the same residue.
	next := s.stride[2] / gcd(s.dil[2], s.stride[2])
	for c := range s.cg {
		for t := 0; t < s.taps; t += s.w[2] {
			for i := range min(next, s.w[2]) {
				l = append(l, rowSet{(s.w[2] - i + next - 1) / next, c*p.stride + offsets[t+i], next * s.dil[2] / s.stride[2], c*s.taps + t + i, next})
			}
		}
	}
	return l
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// convWeights computes the weight gradient: sums [group, channel, tap, output
// channel], which are turned around at the end.
func (d *Device) convWeights(l *kernel.Library, s *convShape, sc scratch) routine {
	// A panel of y is as wide as a kernel; for few channels it is narrower, so as
	// not to be mostly zeros.
	width := 32
	switch {
	case s.kg == 1:
		width = 1
	case s.kg <= 16:
		width = 16
	}
	x, y, out := &l.In[0], &l.In[1], &l.Out[0]
	p, offsets := s.sources()
	sets := s.rowSets(p, offsets)
	panels := (s.kg + width - 1) / width
	ld := panels * width

	// y of one image, group and panel: for every depth a matrix with the
	// positions of a plane as rows, junk included, and output channels as columns.
	length := (s.y[1]-1)*p.q[2] + s.y[2]
	panel := s.y[0] * length * width
	perImage := p.stride * s.cg * s.groups
	perImageY := s.groups * panels * panel

	sumsBytes := align(s.groups * s.cg * s.taps * ld * s.size)
	roundBytes := perImageY * s.size
	if !p.inPlace {
		roundBytes += perImage * s.size
	}
	round := s.round(roundBytes)
	yBytes := align(round*perImageY*s.size + gemm.Slack)
	bytes := sumsBytes + yBytes
	if !p.inPlace {
		bytes += align(round * perImage * s.size)
	}

	var source, ySource, sums, image, turned unsafe.Pointer
	var first, count int
	volume := product(s.y[:])
	turn := func(_, chunk int) {
		panelOf := chunk % panels
		g := chunk / panels % s.groups
		n := chunk / (panels * s.groups)
		k := panelOf * width
		from := ((first+n)*s.groups+g)*s.kg + k
		src := unsafe.Add(ySource, from*volume*s.size)
		dst := unsafe.Add(turned, chunk*panel*s.size)
		for d := range s.y[0] {
			for h := range s.y[1] {
				row := d*length + h*p.q[2]
				if h > 0 {
					junk := (p.q[2] - s.y[2]) * width * s.size
					clear(unsafe.Slice((*byte)(unsafe.Add(dst, row*width*s.size-junk)), junk))
				}
				gemm.Transpose(s.wide, unsafe.Add(dst, row*width*s.size), unsafe.Add(src, (d*s.y[1]+h)*s.y[2]*s.size),
					s.y[2], volume, min(width, s.kg-k), width)
			}
		}
	}
	problems := make([]gemm.Problem, d.pool.Workers())
	task := func(worker, chunk int) {
		set := &sets[chunk%len(sets)]
		pn := chunk / len(sets) % panels
		g := chunk / (len(sets) * panels)
		pr := &problems[worker]
		pr.Type, pr.InPlace = s.product(), true
		pr.M, pr.N, pr.K = set.count, min(width, (s.kg-pn*width+15)&^15), length
		pr.C, pr.LDC = unsafe.Add(sums, ((g*s.cg*s.taps+set.to)*ld+pn*width)*s.size), set.ld*ld
		for n := range count {
			for dep := range s.y[0] {
				at := n*perImage + g*s.cg*p.stride + set.from + p.place(dep, 0, 0)
				pr.A = gemm.Mat{P: unsafe.Add(image, at*s.size), RS: set.step, CS: 1}
				pr.B = gemm.Mat{P: unsafe.Add(turned, (((n*s.groups+g)*panels+pn)*panel+dep*length*width)*s.size), RS: width, CS: 1}
				pr.Accumulate = first+n+dep > 0
				pr.RunSerial(d.gemm.Worker(worker))
			}
		}
	}
	var result unsafe.Pointer
	finish := newEach(s.groups*s.kg, s.cg*s.taps, func(lo, hi int) {
		rows := s.cg * s.taps
		for gk := lo; gk < hi; gk++ {
			g, k := gk/s.kg, gk%s.kg
			for r := range rows {
				move(unsafe.Add(result, (gk*rows+r)*s.size), unsafe.Add(sums, ((g*rows+r)*ld+k)*s.size), s.size)
			}
		}
	})
	fillPlanes := d.copies(s, p, s.cg*s.groups)
	return routine{workspace: bytes, run: func(slots []unsafe.Pointer) {
		source, ySource, result = address(slots, x), address(slots, y), address(slots, out)
		sums = sc.at(slots)
		turned = unsafe.Add(sums, sumsBytes)
		for first = 0; first < s.n; first += round {
			count = min(round, s.n-first)
			if p.inPlace {
				image = unsafe.Add(source, first*perImage*s.size)
			} else {
				image = unsafe.Add(turned, yBytes)
				fillPlanes(image, source, first, count)
			}
			d.pool.Run(count*s.groups*panels, turn)
			d.pool.Run(len(sets)*panels*s.groups, task)
		}
		finish.run(d)
	}}
}
