package lt

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/dl/cublaslt"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// Routine is a product that is ready to be called. It is a gpu.Routine.
type Routine struct {
	p *Planner
	d described
	s descriptors
	// One algorithm is for addresses that are aligned as the places say. In the body of a
	// loop they may be less so; then another one is asked for.
	algo  cublaslt.Algo
	other map[int]cublaslt.Algo
	args  []codegen.Arg
	label string
}

// descriptors are the library's objects that a product takes. C and D share a layout
// where they lie alike, which they always do.
type descriptors struct {
	desc       cublaslt.Desc
	a, b, c, d cublaslt.Layout
}

// routine makes the Routine of a product, or says why there is none.
func (p *Planner) routine(l *kernel.Library, d described) (*Routine, string, error) {
	r := &Routine{p: p, d: d, label: l.Name}
	why, err := r.prepare(l.Scratch)
	if why != "" || err != nil {
		if err != nil {
			err = fmt.Errorf("%s: %w", l.Name, err)
		}
		return nil, why, errors.Join(err, p.destroy(&r.s))
	}
	return r, "", nil
}

func (r *Routine) prepare(scratch int) (why string, err error) {
	if r.s, err = r.p.descriptors(&r.d.product); err != nil {
		if unsupported(err) {
			return err.Error(), nil
		}
		return "", err
	}
	if r.algo, why, err = r.p.choose(&r.d, &r.s); why != "" || err != nil {
		return why, err
	}
	places := r.d.places(scratch)
	for i, there := range r.d.has() {
		if there {
			r.args = append(r.args, places[i].Arg)
		}
	}
	return "", nil
}

// places are where a product lies, in the order of Args, with some that may not be there.
func (d *described) places(scratch int) [7]place {
	return [...]place{d.a, d.b, d.c, d.d, d.bias, d.aux, {Arg: codegen.Arg{Slot: scratch}}}
}

// has tells which of the places are there.
func (d *described) has() [7]bool {
	return [...]bool{true, true, d.Beta, true, d.bias.shift != nil, d.aux.shift != nil, d.Workspace > 0}
}

// Args are the places in memory that the product is called on.
func (r *Routine) Args() []codegen.Arg { return r.args }

// Epilogue tells whether the product's epilogue is done, too.
func (r *Routine) Epilogue() bool { return r.d.inEpilogue }

// Sums tells whether a sum of an operand is taken along.
func (r *Routine) Sums() bool { return r.d.sums }

// Close destroys the descriptors.
func (r *Routine) Close() { _ = r.p.destroy(&r.s) }

// Run puts the product into a stream. at are the addresses of Args. The memory must not
// be used by anything else at the same time, the workspace included.
func (r *Routine) Run(at []uintptr, stream uintptr) error {
	if len(at) != len(r.args) {
		return fmt.Errorf("%s: %d addresses for %d places", r.label, len(at), len(r.args))
	}
	m := r.d.memory(at)
	algo, err := r.algorithm(m)
	if err != nil {
		return err
	}
	for call := range r.d.calls {
		if err := r.p.matmul(&r.d, &r.s, algo, m, call, stream); err != nil {
			return fmt.Errorf("%s: %w", r.label, err)
		}
	}
	return nil
}

// memory is where the places are, in their order; 0 for one that is not there.
type memory [7]uintptr

func (d *described) memory(at []uintptr) (m memory) {
	n := 0
	for i, there := range d.has() {
		if there {
			m[i] = at[n]
			n++
		}
	}
	return m
}

// algorithm is the one for addresses as they are aligned.
func (r *Routine) algorithm(at memory) (*cublaslt.Algo, error) {
	d := r.d
	align, less := 64, false
	for i, m := range []*matrix{&d.A, &d.B, &d.C, &d.D} {
		for at[i]%uintptr(align) != 0 {
			align /= 2
		}
		less = less || at[i]%uintptr(m.Align) != 0
	}
	if !less {
		return &r.algo, nil
	}
	if a, ok := r.other[align]; ok {
		return &a, nil
	}
	for _, m := range []*matrix{&d.A, &d.B, &d.C, &d.D} {
		m.Align = min(m.Align, align)
	}
	results, err := r.p.heuristic(&d, &r.s, 1)
	if err != nil || len(results) == 0 {
		return nil, fmt.Errorf("%s: no algorithm of cuBLASLt for memory that is aligned to %d bytes: %w", r.label, align, errors.Join(err))
	}
	if r.other == nil {
		r.other = make(map[int]cublaslt.Algo)
	}
	r.other[align] = results[0].Algo
	return &results[0].Algo, nil
}

// matmul does one call of a product.
func (p *Planner) matmul(d *described, s *descriptors, algo *cublaslt.Algo, at memory, call int, stream uintptr) error {
	for i, place := range []*place{&d.a, &d.b, &d.c, &d.d, &d.bias, &d.aux} {
		if at[i] != 0 {
			at[i] += uintptr(place.shift[call])
		}
	}
	a, b, c, out, bias, aux, work := at[0], at[1], at[2], at[3], at[4], at[5], (at[6]+workAlign-1)&^(workAlign-1)
	if bias != 0 {
		if err := cublaslt.SetDesc(p.lib, s.desc, cublaslt.BiasPointer, bias); err != nil {
			return err
		}
	}
	if aux != 0 {
		if err := cublaslt.SetDesc(p.lib, s.desc, cublaslt.AuxPointer, aux); err != nil {
			return err
		}
	}
	one, beta := unsafe.Pointer(&ones.f32), unsafe.Pointer(&zeros.f32)
	if d.Scale == cublaslt.F64 {
		one, beta = unsafe.Pointer(&ones.f64), unsafe.Pointer(&zeros.f64)
	}
	if d.Beta {
		beta = one
	} else {
		c = out
	}
	return p.lib.Matmul(p.handle, s.desc, one, a, s.a, b, s.b, beta, c, s.c, out, s.d, algo, work, d.Workspace, stream)
}

// Factors in either type, where C can read them at any time.
type factor struct {
	f32 float32
	f64 float64
}

var ones, zeros = factor{1, 1}, factor{}

// somewhere is what heuristics see in the place of a bias and of an auxiliary matrix.
// They look at whether it is there and how it is aligned, not at what is there; with
// every call it is said where it really is.
const somewhere = uintptr(1<<20 + 16)

// descriptors makes the library's objects for a product. Those that were made are
// returned along with an error, too.
func (p *Planner) descriptors(d *product) (s descriptors, err error) {
	if s.desc, err = p.lib.DescCreate(d.Compute, d.Scale); err != nil {
		return s, err
	}
	transposed := map[bool]int32{true: 1}
	if err = errors.Join(
		cublaslt.SetDesc(p.lib, s.desc, cublaslt.TransA, transposed[d.A.Transposed]),
		cublaslt.SetDesc(p.lib, s.desc, cublaslt.TransB, transposed[d.B.Transposed]),
		cublaslt.SetDesc(p.lib, s.desc, cublaslt.EpilogueKind, uint32(d.Epilogue)),
	); err != nil {
		return s, err
	}
	switch d.Epilogue {
	case cublaslt.Bias, cublaslt.ReLUBias, cublaslt.GELUBias, cublaslt.GELUAuxBias, cublaslt.BGradA, cublaslt.BGradB:
		if err = errors.Join(
			cublaslt.SetDesc(p.lib, s.desc, cublaslt.BiasType, int32(d.D.Type)),
			cublaslt.SetDesc(p.lib, s.desc, cublaslt.BiasPointer, somewhere),
		); err != nil {
			return s, err
		}
	}
	if d.AuxLD > 0 {
		if err = errors.Join(
			cublaslt.SetDesc(p.lib, s.desc, cublaslt.AuxLD, int64(d.AuxLD)),
			cublaslt.SetDesc(p.lib, s.desc, cublaslt.AuxPointer, somewhere),
		); err != nil {
			return s, err
		}
		if d.Count > 1 {
			if err = cublaslt.SetDesc(p.lib, s.desc, cublaslt.AuxBatchStride, int64(d.D.Batch)); err != nil {
				return s, err
			}
		}
	}
	for _, m := range []struct {
		to *cublaslt.Layout
		of *matrix
	}{{&s.a, &d.A}, {&s.b, &d.B}, {&s.c, &d.C}, {&s.d, &d.D}} {
		if *m.to, err = p.lib.LayoutCreate(m.of.Type, m.of.Rows, m.of.Cols, m.of.LD); err != nil {
			return s, err
		}
		if d.Count > 1 {
			if err = errors.Join(
				cublaslt.SetLayout(p.lib, *m.to, cublaslt.BatchCount, int32(d.Count)),
				cublaslt.SetLayout(p.lib, *m.to, cublaslt.BatchStride, int64(m.of.Batch)),
			); err != nil {
				return s, err
			}
		}
	}
	return s, nil
}

// destroy destroys what descriptors has made.
func (p *Planner) destroy(s *descriptors) error {
	var errs []error
	for _, l := range []cublaslt.Layout{s.a, s.b, s.c, s.d} {
		if l != 0 {
			errs = append(errs, p.lib.LayoutDestroy(l))
		}
	}
	if s.desc != 0 {
		errs = append(errs, p.lib.DescDestroy(s.desc))
	}
	*s = descriptors{}
	return errors.Join(errs...)
}
