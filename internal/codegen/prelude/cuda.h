/* CUDA C++ for NVRTC and for clang -x cuda, without any header. ARCH and WARP are defined. */
#ifdef __CUDACC_RTC__
#pragma nv_diag_suppress 177 /* functions that a module does not use */
#define BUILTIN(f) f
#else
#include <__clang_cuda_builtin_vars.h>
#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __shared__ __attribute__((shared))
#define __constant__ __attribute__((constant))
#define __forceinline__ __attribute__((always_inline))
#define __launch_bounds__(n) __attribute__((launch_bounds(n)))
#define BUILTIN(f) __builtin_##f
#endif
typedef signed char i8; typedef unsigned char u8; typedef short i16; typedef unsigned short u16;
typedef int i32; typedef unsigned int u32; typedef long long i64; typedef unsigned long long u64;
typedef float f32; typedef double f64;
struct alignas(16) vec16 { u32 x, y, z, w; };
struct alignas(8) vec8 { u32 x, y; };

#define KERNEL(name, threads, sx, sy, sz) extern "C" __global__ void __launch_bounds__(threads) name
#define ENTRY(name)
#define PTR(T, p) T *p
#define VAL(T, v) T v
#define BIND(T, p)
#define FN static __device__ __forceinline__
#define GLOBAL
#define SHARED __shared__
#define SHARED_PTR
#define CONSTANT static __device__ const
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
#define UNROLL _Pragma("unroll")

FN u32 bits_f32(f32 x) { union { f32 f; u32 u; } v; v.f = x; return v.u; }
FN f32 f32_of_bits(u32 x) { union { u32 u; f32 f; } v; v.u = x; return v.f; }
FN u64 bits_f64(f64 x) { union { f64 f; u64 u; } v; v.f = x; return v.u; }
FN f64 f64_of_bits(u64 x) { union { u64 u; f64 f; } v; v.u = x; return v.f; }

FN f32 fma_f32(f32 a, f32 b, f32 c) { return BUILTIN(fmaf)(a, b, c); }
FN f64 fma_f64(f64 a, f64 b, f64 c) { return BUILTIN(fma)(a, b, c); }
FN f32 abs_f32(f32 a) { return BUILTIN(fabsf)(a); }
FN f64 abs_f64(f64 a) { return BUILTIN(fabs)(a); }
FN f32 sqrt_f32(f32 a) { f32 r; asm("sqrt.rn.f32 %0, %1;" : "=f"(r) : "f"(a)); return r; }
FN f64 sqrt_f64(f64 a) { f64 r; asm("sqrt.rn.f64 %0, %1;" : "=d"(r) : "d"(a)); return r; }
FN f32 floor_f32(f32 a) { return BUILTIN(floorf)(a); }
FN f64 floor_f64(f64 a) { return BUILTIN(floor)(a); }
FN f32 ceil_f32(f32 a) { return BUILTIN(ceilf)(a); }
FN f64 ceil_f64(f64 a) { return BUILTIN(ceil)(a); }
FN f32 round_f32(f32 a) { f32 r; asm("cvt.rni.f32.f32 %0, %1;" : "=f"(r) : "f"(a)); return r; }
FN f64 round_f64(f64 a) { f64 r; asm("cvt.rni.f64.f64 %0, %1;" : "=d"(r) : "d"(a)); return r; }
FN f32 fmin_f32(f32 a, f32 b) { return BUILTIN(fminf)(a, b); }
FN f32 fmax_f32(f32 a, f32 b) { return BUILTIN(fmaxf)(a, b); }
#if ARCH >= 80
FN f32 max_f32(f32 a, f32 b) { f32 r; asm("max.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b)); return r; }
FN f32 min_f32(f32 a, f32 b) { f32 r; asm("min.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b)); return r; }
#else
FN f32 max_f32(f32 a, f32 b) { return a > b || a != a ? a : b; }
FN f32 min_f32(f32 a, f32 b) { return a < b || a != a ? a : b; }
#endif
FN f64 fmin_f64(f64 a, f64 b) { return BUILTIN(fmin)(a, b); }
FN f64 fmax_f64(f64 a, f64 b) { return BUILTIN(fmax)(a, b); }
FN f64 max_f64(f64 a, f64 b) { return a > b || a != a ? a : b; }
FN f64 min_f64(f64 a, f64 b) { return a < b || a != a ? a : b; }

/* The functions of libdevice, which NVRTC knows and clang does not have: with it the
   text can be checked but not run. */
#ifndef __CUDACC_RTC__
extern "C" {
__device__ f32 expf(f32); __device__ f64 exp(f64);
__device__ f32 expm1f(f32); __device__ f64 expm1(f64);
__device__ f32 logf(f32); __device__ f64 log(f64);
__device__ f32 log1pf(f32); __device__ f64 log1p(f64);
__device__ f32 sinf(f32); __device__ f64 sin(f64);
__device__ f32 cosf(f32); __device__ f64 cos(f64);
__device__ f32 tanhf(f32); __device__ f64 tanh(f64);
__device__ f32 erff(f32); __device__ f64 erf(f64);
__device__ f32 powf(f32, f32); __device__ f64 pow(f64, f64); __device__ f32 fmodf(f32, f32); __device__ f64 fmod(f64, f64);
}
#endif
#define exp_f32 expf
#define exp_f64 exp
#define expm1_f32 expm1f
#define expm1_f64 expm1
#define log_f32 logf
#define log_f64 log
#define log1p_f32 log1pf
#define log1p_f64 log1p
#define sin_f32 sinf
#define sin_f64 sin
#define cos_f32 cosf
#define cos_f64 cos
#define tanh_f32 tanhf
#define tanh_f64 tanh
#define erf_f32 erff
#define erf_f64 erf
#define pow_f32 powf
#define pow_f64 pow
#define rem_f32 fmodf
#define rem_f64 fmod
FN f32 rsqrt_f32(f32 a) { f32 r; asm("rsqrt.approx.f32 %0, %1;" : "=f"(r) : "f"(a)); return r; }
FN f64 rsqrt_f64(f64 a) { return 1.0 / sqrt_f64(a); }
FN f32 rcp_f32(f32 a) { f32 r; asm("rcp.approx.f32 %0, %1;" : "=f"(r) : "f"(a)); return r; }
FN f32 fast_exp_f32(f32 a) { f32 r; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(a * 1.4426950408889634f)); return r; }

FN f32 f32_of_f16(u16 h) { f32 r; asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(h)); return r; }
FN u16 f16_of_f32(f32 x) { u16 r; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r) : "f"(x)); return r; }
FN f32 f32_of_bf16(u16 h) { return f32_of_bits((u32)h << 16); }
#if ARCH >= 80
FN u16 bf16_of_f32(f32 x) { u16 r; asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r) : "f"(x)); return r; }
FN u32 pack_bf16(f32 lo, f32 hi) { u32 r; asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo)); return r; }
FN u32 pack_f16(f32 lo, f32 hi) { u32 r; asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo)); return r; }
#else
FN u16 bf16_of_f32(f32 x) {
	u32 b = bits_f32(x);
	return x != x ? (u16)(b >> 16 | 0x40) : (u16)((b + 0x7fff + (b >> 16 & 1)) >> 16);
}
FN u32 pack_bf16(f32 lo, f32 hi) { return (u32)bf16_of_f32(lo) | (u32)bf16_of_f32(hi) << 16; }
FN u32 pack_f16(f32 lo, f32 hi) { return (u32)f16_of_f32(lo) | (u32)f16_of_f32(hi) << 16; }
#endif

#define SHUFFLE 1
FN u32 shuffle_xor_u32(u32 v, i32 m) { u32 r; asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 31, 0xffffffff;" : "=r"(r) : "r"(v), "r"(m)); return r; }
FN u32 shuffle_down_u32(u32 v, i32 d) { u32 r; asm volatile("shfl.sync.down.b32 %0, %1, %2, 31, 0xffffffff;" : "=r"(r) : "r"(v), "r"(d)); return r; }
FN u32 shuffle_up_u32(u32 v, i32 d) { u32 r; asm volatile("shfl.sync.up.b32 %0, %1, %2, 0, 0xffffffff;" : "=r"(r) : "r"(v), "r"(d)); return r; }
FN u32 shuffle_u32(u32 v, i32 lane) { u32 r; asm volatile("shfl.sync.idx.b32 %0, %1, %2, 31, 0xffffffff;" : "=r"(r) : "r"(v), "r"(lane)); return r; }
#define BARRIER_WARP() asm volatile("bar.warp.sync 0xffffffff;" ::: "memory")
