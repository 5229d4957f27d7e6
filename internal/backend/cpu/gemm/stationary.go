package gemm

import "unsafe"

// Stationary is a product that is computed again and again with the same B, like
// that with the weights of a recurrent net: B is packed once, by Pack, and the
// products read the packed copy. A product is one job for the pool, whatever K.
//
// The bits are those of a Problem.
type Stationary struct {
	p      Problem
	ctx    *Ctx
	packed unsafe.Pointer // every panel is all of K, with zeros beyond the last column

	gm, gn int // grid of tasks
	parts  []part
	pack   func(worker, chunk int)
	task   func(worker, chunk int)
}

// part is one worker's block of the product.
type part struct {
	p      Problem
	r0, c0 int // where it begins
	_      [128]byte
}

// NewStationary prepares for products with the sizes, strides and Done of p. A, B
// and C are given later.
func NewStationary(c *Ctx, p Problem) *Stationary {
	s := &Stationary{p: p, ctx: c, gm: 1, gn: 1, parts: make([]part, c.pool.Workers())}
	s.p.prepare()
	if workers := c.pool.Workers(); p.M*p.N*p.K >= parallelFrom {
		s.gn = min(workers, s.p.panels)
		s.gm = min((workers+s.gn-1)/s.gn, s.p.tiles)
	}
	for i := range s.parts {
		w := &s.parts[i]
		w.p = p
		if p.Done != nil {
			w.p.Done = func(worker, r0, r1, c0, c1 int) {
				p.Done(worker, w.r0+r0, w.r0+r1, w.c0+c0, w.c0+c1)
			}
		}
	}
	s.pack, s.task = s.packTask, s.runTask
	return s
}

// Bytes is the size of the packed copy of B.
func (s *Stationary) Bytes() int { return s.p.panels * s.p.panel(s.p.K) }

// Pack copies the matrix at b to memory of Bytes bytes, aligned to 64.
func (s *Stationary) Pack(b, to unsafe.Pointer) {
	s.packed, s.p.b.P = to, b
	s.ctx.pool.Run(s.p.panels, s.pack)
}

func (s *Stationary) packTask(_, j int) {
	p, f := &s.p, s.p.fam
	f.packB(unsafe.Add(s.packed, j*p.panel(p.K)), p.in(p.b.P, j*f.nr*p.b.CS), p.b, p.K, min(f.nr, p.N-j*f.nr))
}

// Run computes the product of the matrix at a with the packed one into c.
func (s *Stationary) Run(a, c unsafe.Pointer) {
	s.p.A.P, s.p.C = a, c
	s.ctx.pool.Run(s.gm*s.gn, s.task)
}

func (s *Stationary) runTask(worker, chunk int) {
	p, w := &s.p, &s.parts[worker]
	im, in := chunk%s.gm, chunk/s.gm
	j := in * p.panels / s.gn
	w.r0, w.c0 = im*p.M/s.gm, j*p.fam.nr
	w.p.M = (im+1)*p.M/s.gm - w.r0
	w.p.N = min((in+1)*p.panels/s.gn*p.fam.nr, p.N) - w.c0
	w.p.A.P, w.p.C = p.in(p.A.P, w.r0*p.A.RS), p.elem(p.C, w.r0*p.LDC+w.c0)
	w.p.packed = unsafe.Add(s.packed, j*p.panel(p.K))
	w.p.RunSerial(s.ctx.Worker(worker))
}
