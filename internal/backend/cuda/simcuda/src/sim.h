// What kernels see when they are compiled for the simulated driver: CUDA's names, in C++
// that g++ takes without any header. It is put in front of every text that the simulated
// NVRTC compiles.
//
// A kernel is declared by
//
//	SIM_KERNEL(name, float *x, int n) { ... }
//
// Every thread of a block is a call of it. A call that never waits costs no more than that;
// one that waits at a barrier or in a shuffle goes on later, on a stack of its own (kernel.cc).
// Blocks run one after the other, so memory of a block is static.
#pragma once

typedef unsigned long long sim_u64;
typedef __SIZE_TYPE__ size_t;

struct uint3 {
	unsigned x, y, z;
};

// sim_state is what the driver and the thread that runs tell each other.
struct sim_state {
	uint3 thread, block, threads, blocks; // threadIdx, blockIdx, blockDim, gridDim
	unsigned linear;                      // the thread's number in its block
	void (*wait)(int kind, int line);     // returns when all threads of the block, or of the warp, are there
	void (*fail)(const char *what, int line);
	unsigned turn[1024];     // of each thread, how often it has exchanged values
	sim_u64 slot[2][1024];   // what it gives, in even and in odd turns
};

enum { SIM_BLOCK = 1, SIM_WARP = 2 };

// sim_kernel is an entry point: its parameters lie packed, each at its natural alignment.
struct sim_kernel {
	void (*call)(const char *packed);
	int params;
	const unsigned short *size, *offset; // of each; offset has one more, the size of all
};

extern "C" __attribute__((visibility("default"))) sim_state *sim_self;
extern "C" __attribute__((visibility("default"))) const int sim_arch = SIM_ARCH; // what it was compiled for
sim_state *sim_self; // set when the module is loaded

#define threadIdx sim_self->thread
#define blockIdx sim_self->block
#define blockDim sim_self->threads
#define gridDim sim_self->blocks
#define warpSize 32

#define __global__
#define __device__ static
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("sim_block")))

extern "C" {
extern char __start_sim_block[] __attribute__((weak, visibility("hidden")));
extern char __stop_sim_block[] __attribute__((weak, visibility("hidden")));
}
extern "C" __attribute__((visibility("default"))) char *const sim_shared[2] = {__start_sim_block, __stop_sim_block};

// The clobber keeps the compiler from assuming that memory of the block has not changed.
static inline void sim_wait(int kind, int line) {
	sim_self->wait(kind, line);
	asm volatile("" ::: "memory");
}

#define __syncthreads() sim_wait(SIM_BLOCK, __LINE__)
#define __syncwarp(...) sim_wait(SIM_WARP, __LINE__)
#define __threadfence_block() asm volatile("" ::: "memory")
#define __threadfence() asm volatile("" ::: "memory")

// sim_shuffle is the value that lane source of the warp gives. The slots take turns, so
// that a thread ahead of the others does not overwrite what they are about to read.
template <class T> static inline T sim_shuffle(T v, unsigned source, int line) {
	static_assert(sizeof(T) <= 8, "a shuffle moves up to 8 bytes");
	unsigned me = sim_self->linear, turn = sim_self->turn[me]++ & 1;
	sim_u64 bits = 0;
	__builtin_memcpy(&bits, &v, sizeof v);
	sim_self->slot[turn][me] = bits;
	sim_wait(SIM_WARP, line);
	unsigned from = (me & ~31u) + (source & 31), n = blockDim.x * blockDim.y * blockDim.z;
	if (from >= n)
		sim_self->fail("a shuffle reads a lane that does not exist", line);
	bits = sim_self->slot[turn][from];
	__builtin_memcpy(&v, &bits, sizeof v);
	return v;
}

static inline unsigned sim_mask(unsigned mask, int line) {
	if (mask != 0xffffffffu)
		sim_self->fail("an exchange between some lanes of a warp only", line);
	return sim_self->linear & 31;
}

// As in CUDA, in groups of width lanes: a source outside of the group is the lane itself.
template <class T> static inline T sim_xor(unsigned mask, T v, int m, int line, int width = 32) {
	unsigned lane = sim_mask(mask, line), s = lane ^ m;
	return sim_shuffle(v, s / width > lane / width ? lane : s, line);
}
template <class T> static inline T sim_down(unsigned mask, T v, unsigned d, int line, int width = 32) {
	unsigned lane = sim_mask(mask, line);
	return sim_shuffle(v, lane % width + d < (unsigned)width ? lane + d : lane, line);
}
template <class T> static inline T sim_up(unsigned mask, T v, unsigned d, int line, int width = 32) {
	unsigned lane = sim_mask(mask, line);
	return sim_shuffle(v, lane % width >= d ? lane - d : lane, line);
}
template <class T> static inline T sim_from(unsigned mask, T v, int s, int line, int width = 32) {
	unsigned lane = sim_mask(mask, line);
	return sim_shuffle(v, lane / width * width + (unsigned)s % width, line);
}
#define __shfl_xor_sync(mask, v, m) sim_xor(mask, v, m, __LINE__)
#define __shfl_down_sync(mask, v, d) sim_down(mask, v, d, __LINE__)
#define __shfl_up_sync(mask, v, d) sim_up(mask, v, d, __LINE__)
#define __shfl_sync(mask, v, s) sim_from(mask, v, s, __LINE__)

static inline unsigned sim_ballot(unsigned mask, int p, int line) {
	sim_mask(mask, line);
	unsigned me = sim_self->linear, turn = sim_self->turn[me]++ & 1, r = 0;
	sim_self->slot[turn][me] = p != 0;
	sim_wait(SIM_WARP, line);
	unsigned n = blockDim.x * blockDim.y * blockDim.z;
	for (unsigned i = 0; i < 32 && (me & ~31u) + i < n; i++)
		r |= (unsigned)sim_self->slot[turn][(me & ~31u) + i] << i;
	return r;
}
#define __ballot_sync(mask, p) sim_ballot(mask, p, __LINE__)
#define __any_sync(mask, p) (sim_ballot(mask, p, __LINE__) != 0)

// One thread runs at a time, so these are atomic.
template <class T> static inline T atomicAdd(T *p, T v) { T old = *p; *p = old + v; return old; }
template <class T> static inline T atomicMax(T *p, T v) { T old = *p; if (v > old) *p = v; return old; }
template <class T> static inline T atomicMin(T *p, T v) { T old = *p; if (v < old) *p = v; return old; }
template <class T> static inline T atomicExch(T *p, T v) { T old = *p; *p = v; return old; }
template <class T> static inline T atomicCAS(T *p, T want, T v) { T old = *p; if (old == want) *p = v; return old; }

static inline float __uint_as_float(unsigned u) { float f; __builtin_memcpy(&f, &u, 4); return f; }
static inline unsigned __float_as_uint(float f) { unsigned u; __builtin_memcpy(&u, &f, 4); return u; }
static inline float __int_as_float(int u) { return __uint_as_float((unsigned)u); }
static inline int __float_as_int(float f) { return (int)__float_as_uint(f); }
static inline double __longlong_as_double(long long u) { double d; __builtin_memcpy(&d, &u, 8); return d; }
static inline long long __double_as_longlong(double d) { long long u; __builtin_memcpy(&u, &d, 8); return u; }
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((sim_u64)a * b >> 32); }
static inline sim_u64 __umul64hi(sim_u64 a, sim_u64 b) { return (sim_u64)((unsigned __int128)a * b >> 64); }
static inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
static inline int __clzll(long long x) { return x ? __builtin_clzll((sim_u64)x) : 64; }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
template <class T> static inline T __ldg(const T *p) { return *p; }

// Calling a kernel with its packed parameters.
template <int... I> struct sim_numbers {};
template <int N, int... I> struct sim_count : sim_count<N - 1, N - 1, I...> {};
template <int... I> struct sim_count<0, I...> { typedef sim_numbers<I...> type; };

template <class F> struct sim_entry;
template <class... A> struct sim_entry<void(A...)> {
	struct tables {
		unsigned short size[sizeof...(A) + 1], offset[sizeof...(A) + 1];
	};
	static constexpr tables make() {
		tables t{{(unsigned short)sizeof(A)..., 0}, {}};
		unsigned short align[] = {(unsigned short)alignof(A)..., 1};
		unsigned at = 0;
		for (unsigned i = 0; i <= sizeof...(A); i++) {
			at = (at + align[i] - 1) / align[i] * align[i];
			t.offset[i] = at;
			at += t.size[i];
		}
		return t;
	}
	static constexpr tables layout = make();
	static constexpr int count = sizeof...(A);
	template <void (*f)(A...), int... I> static inline void with(const char *p, sim_numbers<I...>) {
		f(*(const A *)(p + layout.offset[I])...);
	}
	template <void (*f)(A...)> static void call(const char *p) { with<f>(p, typename sim_count<sizeof...(A)>::type()); }
};

// SIM_ENTRY makes a function that has been declared an entry point.
#define SIM_ENTRY(name)                                                                                              \
	extern "C" __attribute__((visibility("default"))) const sim_kernel sim_kernel_##name = {                     \
	    &sim_entry<decltype(name)>::template call<name>, sim_entry<decltype(name)>::count,                       \
	    sim_entry<decltype(name)>::layout.size, sim_entry<decltype(name)>::layout.offset};

#define SIM_KERNEL(name, ...)                                                                                        \
	static void name(__VA_ARGS__);                                                                               \
	SIM_ENTRY(name)                                                                                              \
	static void name(__VA_ARGS__)
