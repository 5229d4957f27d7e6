/* OpenCL C 1.2. ARCH is 0 and WARP is 1: what threads exchange goes through SHARED. */
#ifdef FLOAT64
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif
#pragma OPENCL FP_CONTRACT OFF
typedef char i8; typedef uchar u8; typedef short i16; typedef ushort u16;
typedef int i32; typedef uint u32; typedef long i64; typedef ulong u64;
typedef float f32;
#ifdef FLOAT64
typedef double f64;
#endif
typedef uint4 vec16;
typedef uint2 vec8;

#define KERNEL(name, threads, sx, sy, sz) __kernel __attribute__((reqd_work_group_size(sx, sy, sz))) void name
#define ENTRY(name)
#define PTR(T, p) __global uchar *p##_buffer, const ulong p##_byte
#define VAL(T, v) const T v
#define BIND(T, p) __global T *p = (__global T *)(p##_buffer + p##_byte);
#define FN static inline
#define GLOBAL __global
#define SHARED __local
#define SHARED_PTR __local
#define CONSTANT __constant
#define GROUP(i) ((i32)get_group_id(i))
#define LOCAL(i) ((i32)get_local_id(i))
#define GROUPS(i) ((i32)get_num_groups(i))
#define BARRIER() barrier(CLK_LOCAL_MEM_FENCE)
#define BARRIER_GLOBAL() barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE)
#define UNROLL _Pragma("unroll")

#define bits_f32 as_uint
#define f32_of_bits as_float
#define fma_f32 fma
#define abs_f32 fabs
#define sqrt_f32 sqrt
#define floor_f32 floor
#define ceil_f32 ceil
#define round_f32 rint
#define fmin_f32 fmin
#define fmax_f32 fmax
#define exp_f32 exp
#define expm1_f32 expm1
#define log_f32 log
#define log1p_f32 log1p
#define sin_f32 sin
#define cos_f32 cos
/* OpenCL allows the limits to be missed by 5 units in the last place. */
FN f32 tanh_f32(f32 x) { return fabs(x) >= 10.0f ? copysign(1.0f, x) : tanh(x); }
#define erf_f32 erf
#define pow_f32 pow
#define rsqrt_f32 rsqrt
#define rem_f32 fmod
#define fast_exp_f32 exp
FN f32 rcp_f32(f32 a) { return 1.0f / a; }
FN f32 max_f32(f32 a, f32 b) { return a > b || a != a ? a : b; }
FN f32 min_f32(f32 a, f32 b) { return a < b || a != a ? a : b; }
#ifdef FLOAT64
#define bits_f64 as_ulong
#define f64_of_bits as_double
#define fma_f64 fma
#define abs_f64 fabs
#define sqrt_f64 sqrt
#define floor_f64 floor
#define ceil_f64 ceil
#define round_f64 rint
#define fmin_f64 fmin
#define fmax_f64 fmax
FN f64 max_f64(f64 a, f64 b) { return a > b || a != a ? a : b; }
FN f64 min_f64(f64 a, f64 b) { return a < b || a != a ? a : b; }
#define exp_f64 exp
#define expm1_f64 expm1
#define log_f64 log
#define log1p_f64 log1p
#define sin_f64 sin
#define cos_f64 cos
FN f64 tanh_f64(f64 x) { return fabs(x) >= 20.0 ? copysign(1.0, x) : tanh(x); }
#define erf_f64 erf
#define pow_f64 pow
#define rsqrt_f64 rsqrt
#define rem_f64 fmod
#endif

FN f32 f32_of_f16(u16 h) { return vload_half(0, (const half *)&h); }
FN u16 f16_of_f32(f32 x) { u16 h; vstore_half_rte(x, 0, (half *)&h); return h; }
FN f32 f32_of_bf16(u16 h) { return as_float((u32)h << 16); }
FN u16 bf16_of_f32(f32 x) {
	u32 b = as_uint(x);
	return x != x ? (u16)(b >> 16 | 0x40) : (u16)((b + 0x7fff + (b >> 16 & 1)) >> 16);
}
FN u32 pack_bf16(f32 lo, f32 hi) { return (u32)bf16_of_f32(lo) | (u32)bf16_of_f32(hi) << 16; }
FN u32 pack_f16(f32 lo, f32 hi) { return (u32)f16_of_f32(lo) | (u32)f16_of_f32(hi) << 16; }
