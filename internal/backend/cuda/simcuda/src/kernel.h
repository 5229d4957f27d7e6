// Running a kernel: the blocks of a grid, one after the other.
#pragma once
#include <cstdint>
#include <string>

// sim.h's declarations, as far as the driver needs them.
struct uint3 {
	unsigned x, y, z;
};
struct sim_state {
	uint3 thread, block, threads, blocks;
	unsigned linear;
	void (*wait)(int kind, int line);
	void (*fail)(const char *what, int line);
	unsigned turn[1024];
	uint64_t slot[2][1024];
};
struct sim_kernel {
	void (*call)(const char *packed);
	int params;
	const unsigned short *size, *offset;
};
enum { SIM_BLOCK = 1, SIM_WARP = 2 };

namespace sim {

extern sim_state state;

// run executes a grid. It returns 0, or CUDA's error, 700 or 719, with what happened.
int run(const sim_kernel *k, const char *packed, uint3 grid, uint3 block, char *const shared[2], std::string &why);

} // namespace sim
