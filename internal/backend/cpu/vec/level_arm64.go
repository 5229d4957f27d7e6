package vec

import (
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
)

// Levels lists what this processor has.
func Levels() []Level { return []Level{Generic, NEON} }

// Use switches to a level that Levels lists. It is for the start of the program
// and for tests: kernels that are compiled already keep their routines.
func Use(l Level) {
	level = l
	fast = table{}
	if l == NEON {
		useNEON()
	}
}

func useNEON() {
	fast = table{
		unary: [256]Func{
			ir.Neg: negNEON, ir.Abs: absNEON, ir.Sqrt: sqrtNEON, ir.Rsqrt: rsqrtNEON,
			ir.Floor: floorNEON, ir.Ceil: ceilNEON, ir.Round: roundNEON,
			ir.Exp: expNEON, ir.Log: logNEON, ir.Tanh: tanhNEON, ir.Logistic: logisticNEON, ir.Erf: erfNEON,
			ir.Expm1: expm1NEON, ir.Log1p: log1pNEON, ir.Sign: signNEON,
		},
		binary: [256][3]Func{
			ir.Add: {addVVNEON, addSVNEON, addVSNEON},
			ir.Sub: {subVVNEON, subSVNEON, subVSNEON},
			ir.Mul: {mulVVNEON, mulSVNEON, mulVSNEON},
			ir.Div: {divVVNEON, divSVNEON, divVSNEON},
			ir.Max: {maxVVNEON, maxSVNEON, maxVSNEON},
			ir.Min: {minVVNEON, minSVNEON, minVSNEON},
		},
		convert: map[[2]dtype.DType]Func{
			{dtype.Int32, dtype.Float32}:     intToFloatNEON,
			{dtype.BFloat16, dtype.BFloat16}: roundBF16NEON,
		},
		rowReduce: map[ir.Op]Func{ir.ReduceSum: rowSumNEON, ir.ReduceMax: rowMaxNEON, ir.ReduceMin: rowMinNEON},
		colReduce: map[ir.Op]Func{ir.ReduceSum: colSumNEON, ir.ReduceMax: colMaxNEON, ir.ReduceMin: colMinNEON},
	}
}

func bytesToUnit(dst, src []byte) int { return 0 }
