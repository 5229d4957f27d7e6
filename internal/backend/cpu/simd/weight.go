package simd

import (
	"math"

	"github.com/sinter-dl/sinter/internal/backend/cpu/emit"
)

// Weight is d = e^x for the x of a softmax, which are not above 0 by more than a
// rounding error, or NaN. What would be less than the smallest normal number is zero:
// weights that small are none, and the processor takes a hundred times as long to
// compute them. x, t, u and K2 are destroyed.
func (v *V) Weight(x, d, t, u int) {
	const least = -87.33
	normal := Lanes{2, u}
	v.CompareC(notLess, x, bitsOf(least), normal)
	v.SetF(least, t)
	v.Op(emit.VMAXPS, x, t, x) // the bound is the first source, so that NaN passes
	v.OpF(emit.VMULPS, math.Log2E, x, t)
	v.Round(0, t, t)
	v.OpF(emit.VFNMADD231PS, 0.693359375, t, x)
	v.OpF(emit.VFNMADD231PS, -2.12194440e-4, t, x)
	horner(v, expPoly, x, d)
	if v.wide() {
		v.I(emit.VSCALEFPS|emit.Zero, v.Reg(t), v.Reg(d), emit.K(normal.K), v.Reg(d))
		return
	}
	v.Op(emit.VCVTPS2DQ, t, t)
	v.OpC(emit.VPADDD, 127, t, t)
	v.OpI(emit.VPSLLD, 23, t, t)
	v.Op(emit.VMULPS, t, d, d)
	v.Op(emit.VANDPS, u, d, d)
}
