/* C++ for the simulated driver: threads are fibers, and the simulator's own header,
   which it puts before this text, declares threadIdx, blockIdx, blockDim, gridDim,
   __syncthreads, __syncwarp and the __shfl functions with CUDA's meaning, and, if it
   wants to be told of entry points, SIM_ENTRY(name). ARCH and WARP are defined. */
typedef signed char i8; typedef unsigned char u8; typedef short i16; typedef unsigned short u16;
typedef int i32; typedef unsigned int u32; typedef long long i64; typedef unsigned long long u64;
typedef float f32; typedef double f64;
struct alignas(16) vec16 { u32 x, y, z, w; };
struct alignas(8) vec8 { u32 x, y; };

#define KERNEL(name, threads, sx, sy, sz) extern "C" void name
#ifdef SIM_ENTRY
#define ENTRY(name) SIM_ENTRY(name)
#else
#define ENTRY(name)
#endif
#define PTR(T, p) T *p
#define VAL(T, v) T v
#define BIND(T, p)
#define FN static inline
#define GLOBAL
#ifdef __shared__
#define SHARED __shared__
#else
#define SHARED static
#endif
#define SHARED_PTR
#define CONSTANT static const
#define GROUP_0 ((i32)blockIdx.x)
#define GROUP_1 ((i32)blockIdx.y)
#define GROUP_2 ((i32)blockIdx.z)
#define LOCAL_0 ((i32)threadIdx.x)
#define LOCAL_1 ((i32)threadIdx.y)
#define LOCAL_2 ((i32)threadIdx.z)
#define GROUPS_0 ((i32)gridDim.x)
#define GROUPS_1 ((i32)gridDim.y)
#define GROUPS_2 ((i32)gridDim.z)
#define GROUP(i) GROUP_##i
#define LOCAL(i) LOCAL_##i
#define GROUPS(i) GROUPS_##i
#define BARRIER() __syncthreads()
#define BARRIER_GLOBAL() __syncthreads()
#define BARRIER_WARP() __syncwarp()
#define UNROLL

FN u32 bits_f32(f32 x) { u32 u; __builtin_memcpy(&u, &x, 4); return u; }
FN f32 f32_of_bits(u32 x) { f32 f; __builtin_memcpy(&f, &x, 4); return f; }
FN u64 bits_f64(f64 x) { u64 u; __builtin_memcpy(&u, &x, 8); return u; }
FN f64 f64_of_bits(u64 x) { f64 f; __builtin_memcpy(&f, &x, 8); return f; }

FN f32 fma_f32(f32 a, f32 b, f32 c) { return __builtin_fmaf(a, b, c); }
FN f64 fma_f64(f64 a, f64 b, f64 c) { return __builtin_fma(a, b, c); }
FN f32 abs_f32(f32 a) { return __builtin_fabsf(a); }
FN f64 abs_f64(f64 a) { return __builtin_fabs(a); }
FN f32 sqrt_f32(f32 a) { return __builtin_sqrtf(a); }
FN f64 sqrt_f64(f64 a) { return __builtin_sqrt(a); }
FN f32 floor_f32(f32 a) { return __builtin_floorf(a); }
FN f64 floor_f64(f64 a) { return __builtin_floor(a); }
FN f32 ceil_f32(f32 a) { return __builtin_ceilf(a); }
FN f64 ceil_f64(f64 a) { return __builtin_ceil(a); }
FN f32 round_f32(f32 a) { return __builtin_rintf(a); }
FN f64 round_f64(f64 a) { return __builtin_rint(a); }
FN f32 fmin_f32(f32 a, f32 b) { return a < b || b != b ? a : b; }
FN f32 fmax_f32(f32 a, f32 b) { return a > b || b != b ? a : b; }
FN f32 max_f32(f32 a, f32 b) { return a > b || a != a ? a : b; }
FN f32 min_f32(f32 a, f32 b) { return a < b || a != a ? a : b; }

FN f64 fmin_f64(f64 a, f64 b) { return a < b || b != b ? a : b; }
FN f64 fmax_f64(f64 a, f64 b) { return a > b || b != b ? a : b; }
FN f64 max_f64(f64 a, f64 b) { return a > b || a != a ? a : b; }
FN f64 min_f64(f64 a, f64 b) { return a < b || a != a ? a : b; }
#define exp_f32 __builtin_expf
#define exp_f64 __builtin_exp
#define expm1_f32 __builtin_expm1f
#define expm1_f64 __builtin_expm1
#define log_f32 __builtin_logf
#define log_f64 __builtin_log
#define log1p_f32 __builtin_log1pf
#define log1p_f64 __builtin_log1p
#define sin_f32 __builtin_sinf
#define sin_f64 __builtin_sin
#define cos_f32 __builtin_cosf
#define cos_f64 __builtin_cos
#define tanh_f32 __builtin_tanhf
#define tanh_f64 __builtin_tanh
#define erf_f32 __builtin_erff
#define erf_f64 __builtin_erf
#define pow_f32 __builtin_powf
#define pow_f64 __builtin_pow
#define rem_f32 __builtin_fmodf
#define rem_f64 __builtin_fmod
#define fast_exp_f32 __builtin_expf
FN f32 rsqrt_f32(f32 a) { return 1.0f / __builtin_sqrtf(a); }
FN f64 rsqrt_f64(f64 a) { return 1.0 / __builtin_sqrt(a); }
FN f32 rcp_f32(f32 a) { return 1.0f / a; }

FN f32 f32_of_f16(u16 h) {
	u32 s = (u32)(h & 0x8000) << 16, m = h & 0x7fff;
	if (m >= 0x7c00) return f32_of_bits(s | 0x7f800000 | m << 13);
	return f32_of_bits(s | bits_f32(f32_of_bits(m << 13) * 0x1p112f));
}
FN u16 f16_of_f32(f32 x) {
	u32 b = bits_f32(x), s = b >> 16 & 0x8000;
	b &= 0x7fffffff;
	if (b > 0x7f800000) return (u16)(s | 0x7e00 | (b >> 13 & 0x3ff));
	if (b >= 0x477ff000) return (u16)(s | 0x7c00);
	if (b < 0x38800000) /* the sum rounds at the last place of a subnormal */
		return (u16)(s | (bits_f32(f32_of_bits(b) + 0.5f) - 0x3f000000));
	return (u16)(s | ((b + 0xfff + (b >> 13 & 1) - 0x38000000) >> 13));
}
FN f32 f32_of_bf16(u16 h) { return f32_of_bits((u32)h << 16); }
FN u16 bf16_of_f32(f32 x) {
	u32 b = bits_f32(x);
	return x != x ? (u16)(b >> 16 | 0x40) : (u16)((b + 0x7fff + (b >> 16 & 1)) >> 16);
}
FN u32 pack_bf16(f32 lo, f32 hi) { return (u32)bf16_of_f32(lo) | (u32)bf16_of_f32(hi) << 16; }
FN u32 pack_f16(f32 lo, f32 hi) { return (u32)f16_of_f32(lo) | (u32)f16_of_f32(hi) << 16; }

#define SHUFFLE 1
FN u32 shuffle_xor_u32(u32 v, i32 m) { return __shfl_xor_sync(0xffffffffu, v, m); }
FN u32 shuffle_down_u32(u32 v, i32 d) { return __shfl_down_sync(0xffffffffu, v, d); }
FN u32 shuffle_up_u32(u32 v, i32 d) { i32 l = (i32)((threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) & 31); return __shfl_sync(0xffffffffu, v, l >= d ? l - d : l); }
FN u32 shuffle_u32(u32 v, i32 lane) { return __shfl_sync(0xffffffffu, v, lane); }
