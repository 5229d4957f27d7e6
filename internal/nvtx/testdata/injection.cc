// A tool that listens to NVTX, for tests: it writes down what arrives, a line each, with
// the number of the thread. Types and numbers are those of nvtx3/nvtxDetail/nvtxTypes.h.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <sys/syscall.h>
#include <unistd.h>

typedef void (*FunctionPointer)(void);
typedef FunctionPointer **FunctionTable;
struct ExportTableCallbacks {
	size_t struct_size;
	int (*GetModuleFunctionTable)(int module, FunctionTable *table, unsigned *size);
};
struct ExportTableVersionInfo {
	size_t struct_size;
	uint32_t version, reserved0;
	void (*SetInjectionNvtxVersion)(uint32_t version);
};
typedef const void *(*GetExportTable)(uint32_t id);

static FILE *out;
static thread_local int depth;

static void line(const char *what, const char *name) {
	fprintf(out, "%ld %s %s\n", syscall(SYS_gettid), what, name);
	fflush(out);
}
static void mark(const char *name) { line("mark", name); }
static int push(const char *name) { line("push", name); return depth++; }
static int pop() { line("pop", ""); return --depth; }
static int fail(const char *why) { line("fail", why); return 0; }

extern "C" int InitializeInjectionNvtx2(GetExportTable table) {
	const char *path = getenv("INJECTION_OUTPUT");
	if (!path || !(out = fopen(path, "w"))) return 0;
	if (table(0) || table(2)) return fail("there is a table that does not exist");
	auto version = (const ExportTableVersionInfo *)table(3);
	if (!version || version->struct_size != sizeof *version || version->version != 3) return fail("version");
	version->SetInjectionNvtxVersion(3);
	auto callbacks = (const ExportTableCallbacks *)table(1);
	if (!callbacks || callbacks->struct_size != sizeof *callbacks) return fail("callbacks");
	FunctionTable functions;
	unsigned size = 0;
	const unsigned sizes[] = {0, 16, 9, 15, 7, 16, 7};
	for (int module = 1; module <= 6; module++) {
		if (!callbacks->GetModuleFunctionTable(module, &functions, &size) || size != sizes[module]) return fail("size of a module");
		if (functions[0] || functions[size]) return fail("ends of a table");
		for (unsigned i = 1; i < size; i++) *functions[i] = (FunctionPointer)abort; // those of other modules are never called
	}
	if (callbacks->GetModuleFunctionTable(7, &functions, &size) || callbacks->GetModuleFunctionTable(0, &functions, &size)) return fail("module");
	if (!callbacks->GetModuleFunctionTable(1, &functions, &size)) return fail("core");
	*functions[2] = (FunctionPointer)mark;
	*functions[9] = (FunctionPointer)push;
	*functions[11] = (FunctionPointer)pop;
	return 1;
}
