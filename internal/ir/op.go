package ir

import "math"

// Op is a primitive operation.
type Op uint8

// The primitives, in the order of the table below.
const (
	OpInvalid Op = iota

	// Leaves.
	Input   // a buffer that exists: a batch, a variable's current value, an evaluated tensor
	Param   // a placeholder of a Scan body
	Const   // a scalar literal
	Iota    // the coordinate along one axis
	RNGBits // Philox4x32-10 bits as int32; the operand is the step counter

	// Unary, elementwise.
	Neg
	Abs
	Sign
	Exp
	Expm1
	Log
	Log1p
	Sqrt
	Rsqrt
	Sin
	Cos
	Tanh
	Logistic
	Erf
	Floor
	Ceil
	Round   // half to even
	Not     // bool: logical; integers: bitwise
	Convert // float to integer: cut off towards zero, then to the nearest there is, NaN to zero; integers wrap; to bool: not zero
	Bitcast

	// Binary, elementwise, operands of one shape and type.
	Add
	Sub
	Mul
	Div // integers: truncated towards zero; by zero gives zero
	Rem // the sign of the dividend, as C's fmod and Go's %; integers by zero give zero
	Pow // integers: a negative exponent gives the integer part of the power, and zero for zero
	Max // NaN if either is NaN
	Min
	And
	Or
	Xor
	Shl // a count that is negative, or not below the width, shifts everything out
	Shr // arithmetic on signed types; the count as for Shl
	Eq
	Ne
	Lt
	Le

	// Ternary, elementwise: Select(condition bool, then, else).
	Select

	// Layout.
	Reshape
	Transpose
	BroadcastInDim
	Slice
	Pad
	Reverse
	Concatenate

	// Reductions.
	ReduceSum
	ReduceMax
	ReduceMin
	ArgMax
	ArgMin
	CumSum

	// Windows.
	ReduceWindowSum
	ReduceWindowMax
	ReduceWindowArgMax
	ReduceWindowMaxGrad

	// Indexing.
	Gather
	Scatter
	ScatterAdd
	DynamicSlice
	DynamicUpdateSlice
	Sort // the permutation that sorts, int64

	// Contractions.
	DotGeneral
	Conv

	// Structure.
	StopGradient
	Barrier // its first operand, kept in memory; not before the others have been computed
	Assign
	Composite
	Scan
	Result // output i of a Composite or Scan

	opCount
)

// Class groups operations by what a compiler may do with them.
type Class uint8

const (
	ClassLeaf Class = iota
	ClassElementwise
	ClassView   // an affine re-indexing of its operand: costs nothing where it can be folded into a load
	ClassStore  // writes its operands into regions of its result: Pad, Concatenate
	ClassReduce // ReduceSum, ReduceMax, ReduceMin
	ClassLibrary
	ClassStructure
)

// Info is what is declared about an operation, once, for the whole house: the
// fuser reads the class, the CPU interpreter and the constant folder take the
// scalar meaning, the printer the name, and the verifier calls the shape rule
// (see rules.go) and checks the arity. Gradient rules are in package grad, one
// per operation under the same name.
type Info struct {
	Name  string
	Arity int // -1: any number
	Class Class
	// F64 is the meaning on float64 and, where it is exact there, on the
	// narrower types. It is nil for operations that are not elementwise, that
	// work on bits, or whose meaning depends on the type (Convert).
	F64 func(a, b float64) float64
	// Commutes is true where operands may be exchanged without changing a bit.
	Commutes bool
	// Cost is the weight of one element in additions; it guides what the fuser
	// computes again instead of keeping.
	Cost int
}

var table = [opCount]Info{
	Input:   {Name: "input", Class: ClassLeaf},
	Param:   {Name: "param", Class: ClassLeaf},
	Const:   {Name: "const", Class: ClassLeaf},
	Iota:    {Name: "iota", Class: ClassElementwise, Cost: 1},
	RNGBits: {Name: "rng_bits", Arity: 1, Class: ClassElementwise, Cost: 20},

	Neg:      {Name: "neg", Arity: 1, Class: ClassElementwise, Cost: 1, F64: func(a, _ float64) float64 { return -a }},
	Abs:      {Name: "abs", Arity: 1, Class: ClassElementwise, Cost: 1, F64: func(a, _ float64) float64 { return math.Abs(a) }},
	Sign:     {Name: "sign", Arity: 1, Class: ClassElementwise, Cost: 2, F64: func(a, _ float64) float64 { return sign(a) }},
	Exp:      {Name: "exp", Arity: 1, Class: ClassElementwise, Cost: 12, F64: func(a, _ float64) float64 { return math.Exp(a) }},
	Expm1:    {Name: "expm1", Arity: 1, Class: ClassElementwise, Cost: 20, F64: func(a, _ float64) float64 { return math.Expm1(a) }},
	Log:      {Name: "log", Arity: 1, Class: ClassElementwise, Cost: 14, F64: func(a, _ float64) float64 { return math.Log(a) }},
	Log1p:    {Name: "log1p", Arity: 1, Class: ClassElementwise, Cost: 20, F64: func(a, _ float64) float64 { return math.Log1p(a) }},
	Sqrt:     {Name: "sqrt", Arity: 1, Class: ClassElementwise, Cost: 6, F64: func(a, _ float64) float64 { return math.Sqrt(a) }},
	Rsqrt:    {Name: "rsqrt", Arity: 1, Class: ClassElementwise, Cost: 8, F64: func(a, _ float64) float64 { return 1 / math.Sqrt(a) }},
	Sin:      {Name: "sin", Arity: 1, Class: ClassElementwise, Cost: 24, F64: func(a, _ float64) float64 { return math.Sin(a) }},
	Cos:      {Name: "cos", Arity: 1, Class: ClassElementwise, Cost: 24, F64: func(a, _ float64) float64 { return math.Cos(a) }},
	Tanh:     {Name: "tanh", Arity: 1, Class: ClassElementwise, Cost: 24, F64: func(a, _ float64) float64 { return math.Tanh(a) }},
	Logistic: {Name: "logistic", Arity: 1, Class: ClassElementwise, Cost: 16, F64: func(a, _ float64) float64 { return 1 / (1 + math.Exp(-a)) }},
	Erf:      {Name: "erf", Arity: 1, Class: ClassElementwise, Cost: 24, F64: func(a, _ float64) float64 { return math.Erf(a) }},
	Floor:    {Name: "floor", Arity: 1, Class: ClassElementwise, Cost: 1, F64: func(a, _ float64) float64 { return math.Floor(a) }},
	Ceil:     {Name: "ceil", Arity: 1, Class: ClassElementwise, Cost: 1, F64: func(a, _ float64) float64 { return math.Ceil(a) }},
	Round:    {Name: "round", Arity: 1, Class: ClassElementwise, Cost: 1, F64: func(a, _ float64) float64 { return math.RoundToEven(a) }},
	Not:      {Name: "not", Arity: 1, Class: ClassElementwise, Cost: 1},
	Convert:  {Name: "convert", Arity: 1, Class: ClassElementwise, Cost: 1},
	Bitcast:  {Name: "bitcast", Arity: 1, Class: ClassElementwise, Cost: 1},

	Add: {Name: "add", Arity: 2, Class: ClassElementwise, Cost: 1, Commutes: true, F64: func(a, b float64) float64 { return a + b }},
	Sub: {Name: "sub", Arity: 2, Class: ClassElementwise, Cost: 1, F64: func(a, b float64) float64 { return a - b }},
	Mul: {Name: "mul", Arity: 2, Class: ClassElementwise, Cost: 1, Commutes: true, F64: func(a, b float64) float64 { return a * b }},
	Div: {Name: "div", Arity: 2, Class: ClassElementwise, Cost: 5, F64: func(a, b float64) float64 { return a / b }},
	Rem: {Name: "rem", Arity: 2, Class: ClassElementwise, Cost: 12, F64: func(a, b float64) float64 { return math.Mod(a, b) }},
	Pow: {Name: "pow", Arity: 2, Class: ClassElementwise, Cost: 40, F64: func(a, b float64) float64 { return math.Pow(a, b) }},
	Max: {Name: "max", Arity: 2, Class: ClassElementwise, Cost: 1, F64: func(a, b float64) float64 { return max(a, b) }},
	Min: {Name: "min", Arity: 2, Class: ClassElementwise, Cost: 1, F64: func(a, b float64) float64 { return min(a, b) }},
	And: {Name: "and", Arity: 2, Class: ClassElementwise, Cost: 1, Commutes: true},
	Or:  {Name: "or", Arity: 2, Class: ClassElementwise, Cost: 1, Commutes: true},
	Xor: {Name: "xor", Arity: 2, Class: ClassElementwise, Cost: 1, Commutes: true},
	Shl: {Name: "shl", Arity: 2, Class: ClassElementwise, Cost: 1},
	Shr: {Name: "shr", Arity: 2, Class: ClassElementwise, Cost: 1},
	Eq:  {Name: "eq", Arity: 2, Class: ClassElementwise, Cost: 1, Commutes: true, F64: func(a, b float64) float64 { return truth(a == b) }},
	Ne:  {Name: "ne", Arity: 2, Class: ClassElementwise, Cost: 1, Commutes: true, F64: func(a, b float64) float64 { return truth(a != b) }},
	Lt:  {Name: "lt", Arity: 2, Class: ClassElementwise, Cost: 1, F64: func(a, b float64) float64 { return truth(a < b) }},
	Le:  {Name: "le", Arity: 2, Class: ClassElementwise, Cost: 1, F64: func(a, b float64) float64 { return truth(a <= b) }},

	Select: {Name: "select", Arity: 3, Class: ClassElementwise, Cost: 1},

	Reshape:        {Name: "reshape", Arity: 1, Class: ClassView},
	Transpose:      {Name: "transpose", Arity: 1, Class: ClassView},
	BroadcastInDim: {Name: "broadcast_in_dim", Arity: 1, Class: ClassView},
	Slice:          {Name: "slice", Arity: 1, Class: ClassView},
	Reverse:        {Name: "reverse", Arity: 1, Class: ClassView},
	Pad:            {Name: "pad", Arity: 1, Class: ClassStore},
	Concatenate:    {Name: "concatenate", Arity: -1, Class: ClassStore},

	ReduceSum: {Name: "reduce_sum", Arity: 1, Class: ClassReduce, Cost: 1},
	ReduceMax: {Name: "reduce_max", Arity: 1, Class: ClassReduce, Cost: 1},
	ReduceMin: {Name: "reduce_min", Arity: 1, Class: ClassReduce, Cost: 1},
	ArgMax:    {Name: "argmax", Arity: 1, Class: ClassLibrary},
	ArgMin:    {Name: "argmin", Arity: 1, Class: ClassLibrary},
	CumSum:    {Name: "cumsum", Arity: 1, Class: ClassLibrary},

	ReduceWindowSum:     {Name: "reduce_window_sum", Arity: 1, Class: ClassLibrary},
	ReduceWindowMax:     {Name: "reduce_window_max", Arity: 1, Class: ClassLibrary},
	ReduceWindowArgMax:  {Name: "reduce_window_argmax", Arity: 1, Class: ClassLibrary},
	ReduceWindowMaxGrad: {Name: "reduce_window_max_grad", Arity: 2, Class: ClassLibrary},

	Gather:             {Name: "gather", Arity: 2, Class: ClassLibrary},
	Scatter:            {Name: "scatter", Arity: 3, Class: ClassLibrary},
	ScatterAdd:         {Name: "scatter_add", Arity: 3, Class: ClassLibrary},
	DynamicSlice:       {Name: "dynamic_slice", Arity: 2, Class: ClassLibrary},
	DynamicUpdateSlice: {Name: "dynamic_update_slice", Arity: 3, Class: ClassLibrary},
	Sort:               {Name: "sort", Arity: 1, Class: ClassLibrary},

	DotGeneral: {Name: "dot_general", Arity: 2, Class: ClassLibrary},
	Conv:       {Name: "conv", Arity: 2, Class: ClassLibrary},

	StopGradient: {Name: "stop_gradient", Arity: 1, Class: ClassStructure},
	Barrier:      {Name: "barrier", Arity: -1, Class: ClassStructure},
	Assign:       {Name: "assign", Arity: 2, Class: ClassStructure},
	Composite:    {Name: "composite", Arity: -1, Class: ClassStructure},
	Scan:         {Name: "scan", Arity: -1, Class: ClassLibrary},
	Result:       {Name: "result", Arity: 1, Class: ClassStructure},
}

// Info is the operation's entry in the table.
func (o Op) Info() *Info { return &table[o] }

// Class is short for Info().Class.
func (o Op) Class() Class { return table[o].Class }

func (o Op) String() string { return table[o].Name }

// Ops lists every operation.
func Ops() []Op {
	l := make([]Op, 0, opCount-1)
	for o := Op(1); o < opCount; o++ {
		l = append(l, o)
	}
	return l
}

// IsCompare tells whether the result is bool whatever the operands' type.
func (o Op) IsCompare() bool { return o >= Eq && o <= Le }

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func sign(a float64) float64 {
	switch {
	case a > 0:
		return 1
	case a < 0:
		return -1
	}
	return a // ±0 and NaN stay
}
