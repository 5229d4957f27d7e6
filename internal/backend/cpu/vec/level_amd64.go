package vec

import (
	"unsafe"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"golang.org/x/sys/cpu"
)

// Levels lists what this processor has.
func Levels() []Level {
	l := []Level{Generic}
	x := &cpu.X86
	if x.HasAVX2 && x.HasFMA {
		l = append(l, AVX2)
		if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL {
			l = append(l, AVX512)
		}
	}
	return l
}

// Use switches to a level that Levels lists. It is for the start of the program
// and for tests: kernels that are compiled already keep their routines.
func Use(l Level) {
	level = l
	fast = table{}
	switch l {
	case AVX2:
		useAVX2()
	case AVX512:
		useAVX512()
	}
}

func useAVX2() {
	fast = table{
		unary: [256]Func{
			ir.Neg: negAVX2, ir.Abs: absAVX2, ir.Sqrt: sqrtAVX2, ir.Rsqrt: rsqrtAVX2,
			ir.Floor: floorAVX2, ir.Ceil: ceilAVX2, ir.Round: roundAVX2,
			ir.Exp: expAVX2, ir.Log: logAVX2, ir.Tanh: tanhAVX2, ir.Logistic: logisticAVX2, ir.Erf: erfAVX2,
			ir.Expm1: expm1AVX2, ir.Log1p: log1pAVX2, ir.Sin: sinAVX2, ir.Cos: cosAVX2, ir.Sign: signAVX2,
		},
		binary: [256][3]Func{
			ir.Add: {addVVAVX2, addSVAVX2, addVSAVX2},
			ir.Sub: {subVVAVX2, subSVAVX2, subVSAVX2},
			ir.Mul: {mulVVAVX2, mulSVAVX2, mulVSAVX2},
			ir.Div: {divVVAVX2, divSVAVX2, divVSAVX2},
			ir.Pow: {powVVAVX2, powSVAVX2, powVSAVX2},
			ir.Max: {maxVVAVX2, maxSVAVX2, maxVSAVX2},
			ir.Min: {minVVAVX2, minSVAVX2, minVSAVX2},
			ir.Eq:  compareAVX2(ir.Eq, eqVVAVX2, eqSVAVX2, eqVSAVX2),
			ir.Ne:  compareAVX2(ir.Ne, neVVAVX2, neSVAVX2, neVSAVX2),
			ir.Lt:  compareAVX2(ir.Lt, ltVVAVX2, ltSVAVX2, ltVSAVX2),
			ir.Le:  compareAVX2(ir.Le, leVVAVX2, leSVAVX2, leVSAVX2),
		},
		sel: [4]Func{
			tailed(selectVVAVX2, choose[uint32], 4, 1, 4, 4), tailed(selectSVAVX2, choose[uint32], 4, 1, 0, 4),
			tailed(selectVSAVX2, choose[uint32], 4, 1, 4, 0), tailed(selectSSAVX2, choose[uint32], 4, 1, 0, 0),
		},
		move4: moveWith(gatherAVX2),
		convert: map[[2]dtype.DType]Func{
			{dtype.Int32, dtype.Float32}:     intToFloatAVX2,
			{dtype.BFloat16, dtype.BFloat16}: roundBF16AVX2,
		},
		rowReduce: map[ir.Op]Func{ir.ReduceSum: rowSumAVX2, ir.ReduceMax: rowMaxAVX2, ir.ReduceMin: rowMinAVX2},
		colReduce: map[ir.Op]Func{ir.ReduceSum: colSumAVX2, ir.ReduceMax: colMaxAVX2, ir.ReduceMin: colMinAVX2},
		window: map[ir.Op][2]Func{
			ir.ReduceWindowSum:    {windowSum1AVX2, windowSum2AVX2},
			ir.ReduceWindowMax:    {windowMax1AVX2, windowMax2AVX2},
			ir.ReduceWindowArgMax: {windowArgMax1AVX2, windowArgMax2AVX2},
		},
		maxPairs: maxPairsAVX2,

		softmaxColumns: softmaxColumnsAVX2, softmaxGradColumns: softmaxGradColumnsAVX2, scale: scaleVSAVX2,
	}
}

func useAVX512() {
	fast = table{
		unary: [256]Func{
			ir.Neg: negAVX512, ir.Abs: absAVX512, ir.Sqrt: sqrtAVX512, ir.Rsqrt: rsqrtAVX512,
			ir.Floor: floorAVX512, ir.Ceil: ceilAVX512, ir.Round: roundAVX512,
			ir.Exp: expAVX512, ir.Log: logAVX512, ir.Tanh: tanhAVX512, ir.Logistic: logisticAVX512, ir.Erf: erfAVX512,
			ir.Expm1: expm1AVX512, ir.Log1p: log1pAVX512, ir.Sin: sinAVX512, ir.Cos: cosAVX512, ir.Sign: signAVX512,
		},
		binary: [256][3]Func{
			ir.Add: {addVVAVX512, addSVAVX512, addVSAVX512},
			ir.Sub: {subVVAVX512, subSVAVX512, subVSAVX512},
			ir.Mul: {mulVVAVX512, mulSVAVX512, mulVSAVX512},
			ir.Div: {divVVAVX512, divSVAVX512, divVSAVX512},
			ir.Pow: {powVVAVX512, powSVAVX512, powVSAVX512},
			ir.Max: {maxVVAVX512, maxSVAVX512, maxVSAVX512},
			ir.Min: {minVVAVX512, minSVAVX512, minVSAVX512},
			ir.Eq:  {eqVVAVX512, eqSVAVX512, eqVSAVX512},
			ir.Ne:  {neVVAVX512, neSVAVX512, neVSAVX512},
			ir.Lt:  {ltVVAVX512, ltSVAVX512, ltVSAVX512},
			ir.Le:  {leVVAVX512, leSVAVX512, leVSAVX512},
		},
		move4: moveWith(gatherAVX512),
		sel:   [4]Func{selectVVAVX512, selectSVAVX512, selectVSAVX512, selectSSAVX512},
		convert: map[[2]dtype.DType]Func{
			{dtype.Int32, dtype.Float32}:     intToFloatAVX512,
			{dtype.Bool, dtype.Float32}:      byteToFloatAVX512,
			{dtype.Uint8, dtype.Float32}:     byteToFloatAVX512,
			{dtype.BFloat16, dtype.BFloat16}: roundBF16AVX512,
			{dtype.BFloat16, dtype.Float32}:  bf16ToFloatAVX512,
			{dtype.Float32, dtype.BFloat16}:  floatToBF16AVX512,
			{dtype.Float16, dtype.Float16}:   roundF16AVX512,
			{dtype.Float16, dtype.Float32}:   f16ToFloatAVX512,
			{dtype.Float32, dtype.Float16}:   floatToF16AVX512,
		},
		rowReduce: map[ir.Op]Func{ir.ReduceSum: rowSumAVX512, ir.ReduceMax: rowMaxAVX512, ir.ReduceMin: rowMinAVX512},
		colReduce: map[ir.Op]Func{ir.ReduceSum: colSumAVX512, ir.ReduceMax: colMaxAVX512, ir.ReduceMin: colMinAVX512},
		window: map[ir.Op][2]Func{
			ir.ReduceWindowSum:    {windowSum1AVX512, windowSum2AVX512},
			ir.ReduceWindowMax:    {windowMax1AVX512, windowMax2AVX512},
			ir.ReduceWindowArgMax: {windowArgMax1AVX512, windowArgMax2AVX512},
		},
		maxPairs: maxPairsAVX512,

		softmaxColumns: softmaxColumnsAVX512, softmaxGradColumns: softmaxGradColumnsAVX512, scale: scaleVSAVX512,
	}
}

func compareAVX2(op ir.Op, vv, sv, vs Func) [3]Func {
	rest := compare[float32](op)
	return [3]Func{tailed(vv, rest, 1, 4, 4, 0), tailed(sv, rest, 1, 0, 4, 0), tailed(vs, rest, 1, 4, 0, 0)}
}

// tailed makes a routine for any length of one for multiples of 8, which AVX2
// cannot mask, and a portable one that does the rest of each row; dst, a, b and c
// are the bytes that each operand advances by an element.
func tailed(f, rest Func, dst, a, b, c int) Func {
	return func(g *Args) {
		n := g.N
		whole := n &^ 7
		if whole > 0 {
			g.N = whole
			f(g)
		}
		if n > whole {
			d, x, y, z := g.Dst, g.A, g.B, g.C
			g.N = n - whole
			g.Dst, g.A = unsafe.Add(d, dst*whole), unsafe.Add(x, a*whole)
			g.B, g.C = unsafe.Add(y, b*whole), unsafe.Add(z, c*whole)
			rest(g)
			g.Dst, g.A, g.B, g.C = d, x, y, z
		}
		g.N = n
	}
}

// moveWith uses a routine that gathers where the destination is contiguous and the
// source is not, which includes transposes; within a vector it can reach 2 GiB.
func moveWith(gather Func) Func {
	return func(g *Args) {
		if g.DstCol == 4 && g.ACol != 4 && max(g.ACol, -g.ACol) < 1<<26 {
			gather(g)
			return
		}
		move[uint32](g)
	}
}

// bytesToUnit does as many bytes of src as instructions can, from the first on.
func bytesToUnit(dst, src []byte) int {
	n := len(src)
	if level == AVX2 {
		n &^= 7
	}
	if n == 0 || level == Generic {
		return 0
	}
	g := Args{Dst: unsafe.Pointer(&dst[0]), A: unsafe.Pointer(&src[0]), N: n, Rows: 1}
	if level == AVX2 {
		byteToUnitAVX2(&g)
	} else {
		byteToUnitAVX512(&g)
	}
	return n
}
