package gemm

import (
	"unsafe"

	"github.com/sinter-dl/sinter/internal/dtype"
)

// Products of a large matrix W with few vectors take as long as reading W. They
// have kernels of their own, which read it once, as it lies. Such a product is x·W
// with few rows of x, or W·x with few columns; either way its result, seen as one
// vector for each x, is W times x.

// stream says how a Problem is one of W, n×K, with vecs vectors.
type stream struct {
	vecs, n   int
	x, w      Mat  // vecs×K and n×K
	turned    bool // the vectors are columns of B; otherwise rows of A
	dot       bool // rows of W are contiguous; otherwise columns
	ldy, step int  // elements of C from a result vector to the next, from one of its elements to the next

	px    unsafe.Pointer // the vectors as the kernels read them
	ldx   int            // bytes from one to the next
	tasks int
}

const (
	maxVecs    = 8
	streamFrom = 1 << 14 // elements of W from which they are worth it
	cached     = 2 << 20 // bytes of W that the second level cache holds
	spreadFrom = 1 << 19 // bytes of W from which workers are called in
	callBytes  = 1 << 20 // a call reads so much of W, within some 50 µs
)

// streamKernel is a kernel for several rows of W, or for one.
type streamKernel struct {
	rows int
	run  func(*streamArgs)
}

// streamArgs is what the kernels read. Strides are in bytes; gen/stream.go knows
// the order of the fields.
type streamArgs struct {
	y, x, w unsafe.Pointer
	ldy     int // between result vectors
	ldx     int // dot: between vectors
	ldw     int // between rows of W, or columns
	step    int // dot: between elements of a result vector
	n       int // dot: whole steps along K; axpy: whole blocks of columns
	mask    uint64
	groups  int // of rows at a time
	acc     int // 1: add to y
}

// streams tells whether the product is to be computed so, and prepares it.
func (p *Problem) streams() bool {
	if !p.Whole || p.fam.dot == nil || min(p.M, p.N) > maxVecs || max(p.M, p.N)*p.K < streamFrom {
		return false
	}
	s := &p.stream
	if p.M <= p.N {
		*s = stream{vecs: p.M, n: p.N, x: p.a, w: Mat{p.b.P, p.b.CS, p.b.RS}, ldy: p.LDC, step: 1}
	} else {
		*s = stream{vecs: p.N, n: p.M, x: Mat{p.b.P, p.b.CS, p.b.RS}, w: p.a, turned: true, ldy: 1, step: p.LDC}
	}
	s.dot = s.w.CS == 1
	if s.dot {
		return true
	}
	// A W that is cached is read as fast by the kernels for tiles, which keep the
	// results in registers; from five vectors on that counts.
	return s.w.RS == 1 && (s.vecs <= 4 || s.n*p.K*p.fam.in >= cached)
}

// runStream computes the product with the scratch memory s of the calling worker,
// and on all workers if c is not nil.
func (p *Problem) runStream(s *Scratch, c *Ctx) {
	p.packVectors(s)
	p.tasks = 1
	if c == nil || p.n*p.K*p.fam.in < spreadFrom {
		p.streamPart(s, 0, p.n)
		return
	}
	p.ctx = c
	p.tasks = max(1, min(4*c.pool.Workers(), p.n/64))
	if p.streamed == nil {
		p.streamed = p.streamTask
	}
	c.pool.Run(p.tasks, p.streamed)
}

func (p *Problem) streamTask(worker, chunk int) {
	at := func(i int) int { return i * p.n / p.tasks &^ 15 }
	end := p.n
	if chunk+1 < p.tasks {
		end = at(chunk + 1)
	}
	p.streamPart(p.ctx.Worker(worker), at(chunk), end)
}

// packVectors makes float32 vectors of x: adjacent values of each one for a dot
// kernel, with those in even and odd places apart if W is bfloat16, and adjacent
// values of all vectors for an axpy kernel.
func (p *Problem) packVectors(s *Scratch) {
	narrow := p.Type == BFloat16
	if !narrow && p.x.CS == 1 && (p.dot || p.vecs == 1) {
		p.px, p.ldx = p.x.P, p.x.RS*4
		return
	}
	length := (p.K + 31) &^ 31
	s.a.need(p.vecs * length * 4)
	p.px, p.ldx = s.a.p, length*4
	for v := range p.vecs {
		d := unsafe.Slice((*float32)(s.a.p), p.vecs*length)
		from := p.in(p.x.P, v*p.x.RS)
		switch {
		case !p.dot && narrow:
			for k := range p.K {
				d[k*p.vecs+v] = dtype.BFloat16ToFloat32(*(*uint16)(unsafe.Add(from, k*p.x.CS*2)))
			}
		case !p.dot:
			for k := range p.K {
				d[k*p.vecs+v] = *(*float32)(unsafe.Add(from, k*p.x.CS*4))
			}
		case narrow:
			d = d[v*length : (v+1)*length]
			clear(d[(p.K-1)&^31:])
			for k := range p.K {
				d[k&^31|k&1<<4|k&31>>1] = dtype.BFloat16ToFloat32(*(*uint16)(unsafe.Add(from, k*p.x.CS*2)))
			}
		default:
			d = d[v*length : (v+1)*length]
			for k := range p.K {
				d[k] = *(*float32)(unsafe.Add(from, k*p.x.CS*4))
			}
		}
	}
}

// streamPart computes elements j0 … j1 of the result vectors.
func (p *Problem) streamPart(s *Scratch, j0, j1 int) {
	if p.dot {
		p.dotPart(s, j0, j1)
	} else {
		p.axpyPart(s, j0, j1)
	}
	switch {
	case p.Done == nil:
	case p.turned:
		p.Done(s.id, j0, j1, 0, p.N)
	default:
		p.Done(s.id, 0, p.M, j0, j1)
	}
}

// dotPart does so where the rows of W are contiguous. They are taken in chunks, so
// that the vectors' chunks stay in the first level cache; the chunks depend on the
// number of vectors and K alone.
func (p *Problem) dotPart(s *Scratch, j0, j1 int) {
	f, a := p.fam, &s.stream
	lanes := 64 / f.in // values of W in a step
	chunk := 8192 / p.vecs &^ 31
	a.ldx, a.ldw, a.ldy, a.step = p.ldx, p.w.RS*f.in, p.ldy*4, p.step*4
	for k := 0; k < p.K; k += chunk {
		kk := min(chunk, p.K-k)
		a.n, a.mask = kk/lanes, 1<<(kk%lanes)-1
		a.x = unsafe.Add(p.px, k*4)
		a.acc = 0
		if p.Accumulate || k > 0 {
			a.acc = 1
		}
		for j := j0; j < j1; {
			kernel := &f.dot[p.vecs][0]
			if j1-j < kernel.rows {
				kernel = &f.dot[p.vecs][1]
			}
			a.groups = min((j1-j)/kernel.rows, max(1, callBytes/(kernel.rows*kk*f.in)))
			a.w = p.in(p.w.P, j*p.w.RS+k)
			a.y = p.elem(p.C, j*p.step)
			j += a.groups * kernel.rows
			kernel.run(a)
		}
	}
}

// axpyPart does so where the columns of W, its values at one k, are contiguous. They
// are taken in strips, so that the results stay in the first level cache.
func (p *Problem) axpyPart(s *Scratch, j0, j1 int) {
	f, a := p.fam, &s.stream
	block := 64 // columns that a kernel takes at a time
	if p.vecs > 4 {
		block = 32
	}
	const strip = 2048
	a.ldw = p.w.CS * f.in
	for j := j0; j < j1; j += strip {
		n := min(strip, j1-j)
		a.n, a.mask = n/block, 1<<(n%block)-1
		start := 0
		if p.step == 1 {
			a.y, a.ldy = p.elem(p.C, j), p.ldy*4
			if p.Accumulate {
				start = 1
			}
		} else {
			s.b.need(p.vecs * strip * 4)
			a.y, a.ldy = s.b.p, strip*4
		}
		for k := 0; k < p.K; {
			kernel := &f.axpy[p.vecs][0]
			if p.K-k < kernel.rows {
				kernel = &f.axpy[p.vecs][1]
			}
			a.groups = min((p.K-k)/kernel.rows, max(1, callBytes/(kernel.rows*n*f.in)))
			a.acc = start
			start = 1
			a.w = p.in(p.w.P, j+k*p.w.CS)
			a.x = unsafe.Add(p.px, k*p.vecs*4)
			k += a.groups * kernel.rows
			kernel.run(a)
		}
		if p.step != 1 {
			for v := range p.vecs {
				spread(p.elem(p.C, v*p.ldy+j*p.step), p.elem(s.b.p, v*strip), n, p.step, p.Accumulate)
			}
		}
	}
}

// spread writes n adjacent values to places step apart, or adds them.
func spread(dst, src unsafe.Pointer, n, step int, add bool) {
	for i, x := range unsafe.Slice((*float32)(src), n) {
		d := (*float32)(unsafe.Add(dst, i*step*4))
		if add {
			x += *d
		}
		*d = x
	}
}
