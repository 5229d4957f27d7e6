package lt

import (
	"errors"
	"fmt"
	"time"

	"github.com/sinter-dl/sinter/internal/dl/cublaslt"
)

// choice is an algorithm, or the reason why there is none.
type choice struct {
	algo cublaslt.Algo
	why  string
}

// candidates is how many algorithms are timed.
const candidates = 8

// choose finds an algorithm for a product, with descriptors that are made of it.
func (p *Planner) choose(d *described, s *descriptors) (cublaslt.Algo, string, error) {
	if c, ok := p.chosen[d.product]; ok {
		return c.algo, c.why, nil
	}
	key := fmt.Sprintf("cublaslt %d %s sm_%d timed=%v %+v", p.version, p.Name, p.Card.Arch, p.Timed != nil, d.product)
	if p.Cache != nil {
		if data, ok := p.Cache.Get(key); ok && len(data) == len(cublaslt.Algo{}) {
			c := choice{algo: cublaslt.Algo(data)}
			p.chosen[d.product] = c
			return c.algo, "", nil
		}
	}
	n := 1
	if p.Timed != nil {
		n = candidates
	}
	results, err := p.heuristic(d, s, n)
	var c choice
	switch {
	case err != nil && !unsupported(err):
		return c.algo, "", err
	case len(results) == 0:
		c.why = "cuBLASLt has no algorithm for it"
	case len(results) == 1:
		c.algo = results[0].Algo
	default:
		if c.algo, err = p.fastest(d, s, results); err != nil {
			return c.algo, "", err
		}
	}
	p.chosen[d.product] = c
	if p.Cache != nil && c.why == "" {
		p.Cache.Put(key, c.algo[:])
	}
	return c.algo, c.why, nil
}

// unsupported tells whether a status says that a product cannot be computed in this way.
func unsupported(err error) bool {
	var s cublaslt.Status
	return errors.As(err, &s) && (s == cublaslt.NotSupported || s == cublaslt.InvalidValue || s == cublaslt.ArchMismatch)
}

// heuristic asks for algorithms that need no more than the product's workspace and
// alignment. Partial sums are added in float32 or wider.
func (p *Planner) heuristic(d *described, s *descriptors, n int) (good []cublaslt.Result, err error) {
	pref, err := p.lib.PreferenceCreate()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.lib.PreferenceDestroy(pref)) }()
	if err := errors.Join(
		cublaslt.SetPreference(p.lib, pref, cublaslt.MaxWorkspace, uint64(d.Workspace)),
		cublaslt.SetPreference(p.lib, pref, cublaslt.ReductionMask, cublaslt.ReductionTyped),
		cublaslt.SetPreference(p.lib, pref, cublaslt.AlignmentA, uint32(d.A.Align)),
		cublaslt.SetPreference(p.lib, pref, cublaslt.AlignmentB, uint32(d.B.Align)),
		cublaslt.SetPreference(p.lib, pref, cublaslt.AlignmentC, uint32(d.C.Align)),
		cublaslt.SetPreference(p.lib, pref, cublaslt.AlignmentD, uint32(d.D.Align)),
	); err != nil {
		return nil, err
	}
	results, err := p.lib.Heuristic(p.handle, s.desc, s.a, s.b, s.c, s.d, pref, n)
	for _, r := range results {
		if r.State == 0 && r.Workspace <= uint64(d.Workspace) {
			good = append(good, r)
		}
	}
	return good, err
}

// fastest times algorithms. Those that fail do not count, unless all do.
func (p *Planner) fastest(d *described, s *descriptors, results []cublaslt.Result) (cublaslt.Algo, error) {
	best := -1
	var least time.Duration
	var failed error
	bytes := d.extents()
	for i := range results {
		took, err := p.Timed(bytes, func(at []uintptr, stream uintptr) error {
			return p.matmul(d, s, &results[i].Algo, d.memory(at), 0, stream)
		})
		if err != nil {
			failed = err
			continue
		}
		if best < 0 || took < least {
			best, least = i, took
		}
	}
	if best < 0 {
		return cublaslt.Algo{}, fmt.Errorf("timing %d algorithms of cuBLASLt: %w", len(results), failed)
	}
	return results[best].Algo, nil
}

// extents are the bytes that the first call of a product reaches from where each of its
// places begins.
func (d *described) extents() []int {
	size := func(t cublaslt.Type) int {
		switch t {
		case cublaslt.F16, cublaslt.BF16:
			return 2
		case cublaslt.F64:
			return 8
		}
		return 4
	}
	of := func(m *matrix) int {
		return size(m.Type) * ((d.Count-1)*m.Batch + (m.Cols-1)*m.LD + m.Rows)
	}
	out := of(&d.D)
	bias := d.D.Rows
	if d.Epilogue == cublaslt.BGradB {
		bias = d.D.Cols
	}
	all := [...]int{of(&d.A), of(&d.B), out, out, size(d.D.Type) * bias, out, d.Workspace + workAlign}
	var list []int
	for i, there := range d.has() {
		if there {
			list = append(list, all[i])
		}
	}
	return list
}
