// Threads of a block are taken one after the other by a fiber. A thread that waits, at a
// barrier or in a shuffle, keeps the fiber's stack, and another fiber takes the threads
// after it. So a kernel without barriers runs on one stack, as a plain loop.
//
// Waiting threads go on when all threads of the warp, or of the block, wait for the same
// thing: at the same line. When some of them have ended, or wait for something else, the
// kernel's barriers diverge, and it fails.
//
// A fault of the processor within a kernel (an address that is nobody's, a division by
// zero) ends the kernel with an error, not the process.
#include "kernel.h"
#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

extern "C" void sim_switch(void **from, void *to);

// sim_switch puts the registers that a call preserves on the stack, notes the stack in
// *from, and goes on where the stack to was left.
#if defined(__x86_64__)
asm(R"(
.text
.globl sim_switch
.hidden sim_switch
.type sim_switch,@function
sim_switch:
	pushq %rbp
	pushq %rbx
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, (%rdi)
	movq %rsi, %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbx
	popq %rbp
	ret
)");
enum { SAVED = 6 }; // words below the address to return to
#elif defined(__aarch64__)
asm(R"(
.text
.globl sim_switch
.hidden sim_switch
.type sim_switch,@function
sim_switch:
	sub sp, sp, #160
	stp x19, x20, [sp, #0]
	stp x21, x22, [sp, #16]
	stp x23, x24, [sp, #32]
	stp x25, x26, [sp, #48]
	stp x27, x28, [sp, #64]
	stp x29, x30, [sp, #80]
	stp d8, d9, [sp, #96]
	stp d10, d11, [sp, #112]
	stp d12, d13, [sp, #128]
	stp d14, d15, [sp, #144]
	mov x2, sp
	str x2, [x0]
	mov sp, x1
	ldp x19, x20, [sp, #0]
	ldp x21, x22, [sp, #16]
	ldp x23, x24, [sp, #32]
	ldp x25, x26, [sp, #48]
	ldp x27, x28, [sp, #64]
	ldp x29, x30, [sp, #80]
	ldp d8, d9, [sp, #96]
	ldp d10, d11, [sp, #112]
	ldp d12, d13, [sp, #128]
	ldp d14, d15, [sp, #144]
	add sp, sp, #160
	ret
)");
#else
#error "the simulated driver knows amd64 and arm64"
#endif

namespace sim {

sim_state state;

namespace {

enum { WARP = 32, STACK = 128 << 10, PAGE = 4096 };

struct fiber {
	char *stack; // of STACK bytes, with a page below it that faults
	void *sp;
};

struct thread {
	int fiber;  // whose stack it waits on, -1 while it has not begun
	int kind;   // what it waits for: 0, SIM_BLOCK or SIM_WARP
	int line;   // where
	bool ended;
};

std::vector<fiber> fibers; // the first are in use
std::vector<int> unused;   // numbers of fibers that no thread waits on
std::vector<thread> threads;
void *scheduler; // its stack
int running;     // the fiber that runs
unsigned next;   // the first thread that has not begun
unsigned limit;  // the one after the last that may begin now: the end of its warp
const sim_kernel *kernel;
const char *arguments;

sigjmp_buf escape;
thread_local bool inKernel;
std::string reason;
int code;

void enter(unsigned i) {
	state.linear = i;
	if (i < state.threads.x) {
		state.thread = {i, 0, 0};
		return;
	}
	state.thread = {i % state.threads.x, i / state.threads.x % state.threads.y, i / (state.threads.x * state.threads.y)};
}

[[noreturn]] void leave(int c, const std::string &why) {
	code = c;
	reason = why;
	siglongjmp(escape, 1);
}

int idle();
bool same(unsigned a, unsigned b);

// others is the fiber that goes on when the thread that runs waits: of the next thread of the
// warp that can, or one for the next thread that has not begun. When all threads of the warp
// wait for it, they can, from the first on. -1: it is the scheduler's turn.
int others(unsigned me, int kind) {
	if (next < limit)
		return idle();
	for (unsigned i = me + 1; i < limit; i++)
		if (!threads[i].ended && threads[i].kind == 0)
			return threads[i].fiber;
	if (kind != SIM_WARP)
		return -1;
	unsigned first = me / WARP * WARP;
	for (unsigned i = first; i < limit; i++)
		if (!same(me, i))
			return -1;
	for (unsigned i = first; i < limit; i++)
		threads[i].kind = 0;
	return threads[first].fiber;
}

void wait(int kind, int line) {
	unsigned me = state.linear;
	thread &t = threads[me];
	t.kind = kind;
	t.line = line;
	t.fiber = running;
	int to = others(me, kind);
	if (to == t.fiber)
		return;
	// From fiber to fiber, every return goes to where the processor expects it.
	running = to;
	sim_switch(&fibers[t.fiber].sp, to < 0 ? scheduler : fibers[to].sp);
	enter(me);
}

void fail(const char *what, int line) { leave(719, std::string(what) + " (line " + std::to_string(line) + ")"); }

// take is what a fiber does: threads that have not begun, until one waits.
void take() {
	for (;;) {
		while (next < limit) {
			unsigned i = next++;
			enter(i);
			kernel->call(arguments);
			threads[i].ended = true;
		}
		unused.push_back(running);
		sim_switch(&fibers[running].sp, scheduler);
	}
}

void start(fiber &f, int number) {
	// Stacks that all began at the same place of a page would fight for the same lines
	// of the cache.
	void **sp = (void **)(f.stack + STACK - number % 32 * 128);
#if defined(__x86_64__)
	*--sp = 0; // where take would return to; the stack is aligned as after a call
	*--sp = (void *)take;
	for (int i = 0; i < SAVED; i++)
		*--sp = 0;
#else
	sp -= 20;
	memset(sp, 0, 160);
	sp[11] = (void *)take; // x30
#endif
	f.sp = sp;
}

void resume(int number) {
	running = number;
	sim_switch(&scheduler, fibers[number].sp);
}

int idle() {
	if (unused.empty()) {
		char *p = (char *)mmap(0, STACK + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (p == MAP_FAILED)
			leave(719, "no memory for a thread's stack");
		mprotect(p, PAGE, PROT_NONE);
		fibers.push_back({p + PAGE, nullptr});
		start(fibers.back(), fibers.size() - 1);
		return fibers.size() - 1;
	}
	int f = unused.back();
	unused.pop_back();
	return f;
}

std::string where(unsigned a, unsigned b) {
	auto say = [](unsigned i) {
		const thread &t = threads[i];
		std::string s = "thread " + std::to_string(i);
		if (t.ended)
			return s + " has ended";
		return s + (t.kind == SIM_BLOCK ? " waits for its block" : " waits for its warp") + " at line " + std::to_string(t.line);
	};
	return "barriers diverge: " + say(a) + ", " + say(b);
}

bool same(unsigned a, unsigned b) {
	const thread &s = threads[a], &t = threads[b];
	return s.ended == t.ended && (s.ended || (s.kind == t.kind && s.line == t.line));
}

// block runs all threads of a block. Warps run one after the other, each as far as it gets.
void block() {
	unsigned n = state.threads.x * state.threads.y * state.threads.z;
	threads.assign(n, thread{-1, 0, 0, false});
	next = 0;
	for (bool begun = false;; begun = true) {
		for (unsigned w = 0; w < n; w += WARP) {
			unsigned end = w + WARP < n ? w + WARP : n;
			limit = end;
			for (bool again = !begun || !threads[w].ended; again;) {
				while (next < end && next >= w)
					resume(idle());
				for (bool some = true; some;) {
					some = false;
					for (unsigned i = w; i < end; i++) {
						thread &t = threads[i];
						if (!t.ended && t.kind == 0) {
							some = true;
							resume(t.fiber);
						}
					}
				}
				for (unsigned i = w + 1; i < end; i++)
					if (!same(w, i))
						leave(719, where(w, i));
				again = !threads[w].ended && threads[w].kind == SIM_WARP;
				if (again)
					for (unsigned i = w; i < end; i++)
						threads[i].kind = 0;
			}
		}
		for (unsigned w = WARP; w < n; w += WARP)
			if (!same(0, w))
				leave(719, where(0, w));
		if (threads[0].ended)
			return;
		for (unsigned i = 0; i < n; i++)
			threads[i].kind = 0;
	}
}

struct sigaction before[NSIG];

void fault(int sig, siginfo_t *info, void *context) {
	if (inKernel) {
		char text[100];
		bool memory = sig == SIGSEGV || sig == SIGBUS;
		snprintf(text, sizeof text, memory ? "an illegal address, %p, was used by thread %u" : "an arithmetic fault", info->si_addr, state.linear);
		leave(memory ? 700 : 719, text);
	}
	struct sigaction &b = before[sig];
	if (b.sa_flags & SA_SIGINFO)
		b.sa_sigaction(sig, info, context);
	else if (b.sa_handler != SIG_DFL && b.sa_handler != SIG_IGN)
		b.sa_handler(sig);
	else
		signal(sig, SIG_DFL); // and the fault happens again
}

void handle() {
	static std::once_flag once;
	std::call_once(once, [] {
		for (int sig : {SIGSEGV, SIGBUS, SIGFPE}) {
			struct sigaction a = {};
			a.sa_sigaction = fault;
			a.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
			sigaction(sig, &a, &before[sig]);
		}
	});
}

} // namespace

int run(const sim_kernel *k, const char *packed, uint3 grid, uint3 group, char *const shared[2], std::string &why) {
	handle();
	state.wait = wait;
	state.fail = fail;
	state.threads = group;
	state.blocks = grid;
	kernel = k;
	arguments = packed;
	// What is in memory of a block when it begins is nobody's: not numbers, for floats.
	if (shared[0] && shared[1] > shared[0])
		memset(shared[0], 0xff, shared[1] - shared[0]);
	if (sigsetjmp(escape, 1)) {
		inKernel = false;
		unused.clear(); // every fiber begins anew
		for (size_t i = 0; i < fibers.size(); i++) {
			start(fibers[i], i);
			unused.push_back(i);
		}
		why = reason + ", in block (" + std::to_string(state.block.x) + ", " + std::to_string(state.block.y) + ", " +
		      std::to_string(state.block.z) + ")";
		return code;
	}
	inKernel = true;
	for (unsigned z = 0; z < grid.z; z++)
		for (unsigned y = 0; y < grid.y; y++)
			for (unsigned x = 0; x < grid.x; x++) {
				state.block = {x, y, z};
				block();
			}
	inKernel = false;
	return 0;
}

} // namespace sim
