package codegen

import (
	_ "embed"
	"fmt"
	"strings"
)

// The preludes give every dialect the same names:
//
//	f32 f64 i8 u8 i16 u16 i32 u32 i64 u64   types; bool is u8 with 0 and 1; float16 and bfloat16 are u16
//	vec16 {x y z w}, vec8 {x y}             16 and 8 bytes as words of u32, for loads and stores at multiples of their size
//
//	GROUP(i) LOCAL(i) GROUPS(i)   number of the group, of the thread in it, of groups along axis i = 0, 1, 2, an i32
//	SHARED T x[n];                memory of the group; declared in the outermost scope of a kernel, n a literal, not initialised
//	KERNEL, PTR, VAL, BIND, ENTRY  the frame, which Builder writes
//	GLOBAL, SHARED_PTR            in front of what a pointer points to: GLOBAL f32 *p, SHARED_PTR f32 *p
//	CONSTANT T x[n] = {…};        a table outside of functions
//	FN                            in front of a helper function: FN f32 f(f32 x) { … }
//	BARRIER(), BARRIER_GLOBAL()   all threads of the group; what they wrote to SHARED, and also to GLOBAL, is seen by all
//	UNROLL                        in front of a loop that is to be unrolled
//	ARCH, WARP                    those of the Target, as literals; FLOAT64 is defined where there is f64
//
//	bits_f32(f32) u32, f32_of_bits(u32); bits_f64, f64_of_bits
//	f32_of_f16(u16) f16_of_f32(f32); f32_of_bf16 bf16_of_f32   round to nearest even
//	round_f16(f32) round_bf16(f32)     the float32 that is left of a number when it is stored in 16 bits
//	pack_f16(lo, hi) pack_bf16(lo, hi) two floats as halves of a u32, the first in the lower one
//	half_word(u32, i) byte_word(u32, i) u16 number i, u8 number i of a word
//	i8_of_f32 u8_of_f32 i32_of_f32 i64_of_f32 …_of_f64         cut off, saturate, NaN gives 0 (i8 and u8 give an i32)
//
//	of _f32 and _f64: fma abs sqrt rsqrt floor ceil round exp expm1 log log1p sin cos tanh logistic erf
//	      pow rem sign max min (NaN if either is)
//	      fmax fmin (drop NaN; one instruction)
//	of _f32 alone: fast_exp rcp (lose the last digits or so)
//	of _i32 and _i64: add sub mul (wrap) div rem (never trap) max min; pow_i64
//
//	philox_block(u64 element/4, u64 step, k0, k1, &r0, &r1, &r2, &r3), philox_word(u64 element, u64 step, k0, k1) i32
//
// Where WARP > 1, threads of one warp (32 consecutive threads, in the order of
// LOCAL(0), then LOCAL(1), LOCAL(2)), exchange values. All 32 of them have to call, so
// the threads of a group are a multiple of 32. Kernels test WARP in Go, by Target, or
// with #if. Names end in the type, one of u32 i32 f32 u64 i64 f64:
//
//	shuffle_xor_T(v, mask) shuffle_down_T(v, n) shuffle_up_T(v, n) shuffle_T(v, lane); BARRIER_WARP()
//
// A product and a sum are never contracted; fma_f32 says so where they shall be.
// Integer arithmetic in plain C is undefined where it overflows: use u32 and u64, or the
// functions above. Conditions of ?: and if are plain C. There is no overloading, no
// template, no reference and no bool type; declarations may stand anywhere in a block.
// Pointers to pointers and arrays of GLOBAL pointers as parameters do not exist.

//go:embed prelude/cuda.h
var preludeCUDA string

//go:embed prelude/sim.h
var preludeSim string

//go:embed prelude/opencl.h
var preludeOpenCL string

//go:embed prelude/common.h
var preludeCommon string

// Prelude is the text that comes before kernels.
func Prelude(d Dialect, t *Target) string {
	var b strings.Builder
	fmt.Fprintf(&b, "#define ARCH %d\n#define WARP %d\n", t.Arch, t.Warp)
	if t.Float64 {
		b.WriteString("#define FLOAT64 1\n")
	}
	b.WriteString([...]string{CUDA: preludeCUDA, OpenCL: preludeOpenCL, Sim: preludeSim}[d])
	b.WriteString(preludeCommon)
	return b.String()
}

// Module is what a compiler is given: the prelude and the kernels, each once.
func Module(kernels []*Kernel, t *Target) string {
	var b strings.Builder
	b.WriteString(Prelude(t.Dialect, t))
	done := make(map[string]bool)
	for _, k := range kernels {
		if !done[k.Name] {
			done[k.Name] = true
			b.WriteByte('\n')
			b.WriteString(k.Text)
		}
	}
	return b.String()
}

// Options are the compiler's options for a module: those of NVRTC, or of
// clBuildProgram. They are part of what compiled code is kept under.
func Options(t *Target) []string {
	if t.Dialect == OpenCL {
		return []string{"-cl-std=CL1.2"}
	}
	return []string{fmt.Sprintf("--gpu-architecture=sm_%d", t.Arch), "--std=c++17", "--fmad=false"}
}
