package lt

import (
	"fmt"
	"slices"
	"testing"

	"github.com/sinter-dl/sinter/internal/backend/cuda/card"
	"github.com/sinter-dl/sinter/internal/dl/cublaslt"
	"github.com/sinter-dl/sinter/internal/dl/find"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/testenv"
)

// The real cuBLASLt, where it is installed, takes all descriptors and attributes. It needs
// no card for that, unlike for a handle and for heuristics.
func TestInstalled(t *testing.T) {
	libs := find.Search(find.Want{})
	found := libs.Library(find.CublasLt)
	testenv.Require(t, "cublaslt", found.Usable(), "cuBLASLt is not installed")
	lib, err := libs.Open(find.CublasLt)
	testenv.Require(t, "cublaslt", err == nil, fmt.Sprint(err))
	fns, err := cublaslt.Load(lib)
	if err != nil {
		t.Fatal(err)
	}
	p := &Planner{Options: Options{Card: card.Of(90)}, lib: fns, version: fns.Version()}
	for _, d := range []dtype.DType{dtype.Float32, dtype.Float64, dtype.Float16, dtype.BFloat16} {
		for _, batch := range [][]int{nil, {3}, {2, 5}} {
			sh := func(m, n int) []int { return append(slices.Clone(batch), m, n) }
			l := &kernel.Library{Op: ir.DotGeneral, Scratch: 3, In: []kernel.Operand{operand(0, d, sh(64, 32)...), operand(1, d, sh(32, 128)...)}, Out: []kernel.Operand{operand(2, d, sh(64, 128)...)}}
			product, why := p.describe(l, true)
			if why != "" {
				t.Fatal(why)
			}
			for _, e := range []cublaslt.Epilogue{cublaslt.Default, cublaslt.Bias, cublaslt.ReLU, cublaslt.ReLUBias, cublaslt.GELU, cublaslt.GELUBias, cublaslt.GELUAux, cublaslt.GELUAuxBias, cublaslt.DGELU, cublaslt.BGradA, cublaslt.BGradB} {
				c := product.product
				if c.Epilogue = e; e >= cublaslt.GELUAux && e <= cublaslt.DGELU {
					c.AuxLD = c.D.LD
				}
				s, err := p.descriptors(&c)
				if err != nil {
					t.Errorf("cuBLASLt %d: %v, batch %v, epilogue %d: %v", p.version, d, batch, e, err)
				}
				if err := p.destroy(&s); err != nil {
					t.Error(err)
				}
			}
		}
	}
	pref, err := fns.PreferenceCreate()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []cublaslt.PrefAttr{cublaslt.AlignmentA, cublaslt.AlignmentB, cublaslt.AlignmentC, cublaslt.AlignmentD} {
		if err := cublaslt.SetPreference(fns, pref, a, uint32(16)); err != nil {
			t.Error(err)
		}
	}
	if err := cublaslt.SetPreference(fns, pref, cublaslt.MaxWorkspace, uint64(32<<20)); err != nil {
		t.Error(err)
	}
	if err := cublaslt.SetPreference(fns, pref, cublaslt.ReductionMask, cublaslt.ReductionTyped); err != nil {
		t.Error(err)
	}
	if err := fns.PreferenceDestroy(pref); err != nil {
		t.Error(err)
	}
}
