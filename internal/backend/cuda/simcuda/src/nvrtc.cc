// An NVRTC that has g++ compile kernels for the simulated driver. "Machine code" is a
// shared object, and what has been compiled once, with these options, is found again in a
// folder beside this library.
//
// SIMNVRTC, or simCompiler, says what it is: version=12.8;archs=70,75,80,86,90
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <fstream>
#include <mutex>
#include <spawn.h>
#include <sstream>
#include <string>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#define API extern "C" __attribute__((visibility("default"))) int

extern char **environ;

namespace {

enum { OK = 0, OUT_OF_MEMORY = 1, INVALID_INPUT = 3, INVALID_PROGRAM = 4, INVALID_OPTION = 5, COMPILATION = 6 };

struct Program {
	std::string text, log, code, ptx;
};

std::mutex mutex;
std::string configuration;
int major = 12, minor = 8;
std::vector<int> archs = {50, 52, 53, 60, 61, 62, 70, 72, 75, 80, 86, 87, 89, 90, 100, 101, 120};
std::atomic<long> compiled;

void configure() {
	std::lock_guard<std::mutex> lock(mutex);
	static bool first = true;
	if (first) {
		first = false;
		if (const char *s = getenv("SIMNVRTC"); s && configuration.empty())
			configuration = s;
	}
	if (configuration.empty())
		return;
	std::istringstream parts(configuration);
	for (std::string part; std::getline(parts, part, ';');) {
		if (part.compare(0, 8, "version=") == 0)
			sscanf(part.c_str() + 8, "%d.%d", &major, &minor);
		if (part.compare(0, 6, "archs=") == 0) {
			archs.clear();
			std::istringstream list(part.substr(6));
			for (std::string a; std::getline(list, a, ',');)
				archs.push_back(atoi(a.c_str()));
		}
	}
	configuration.clear();
}

std::string folder() {
	Dl_info info;
	dladdr((void *)&configure, &info);
	std::string path = info.dli_fname;
	return path.substr(0, path.rfind('/'));
}

uint64_t hash(const std::string &s, uint64_t h) {
	for (unsigned char c : s)
		h = (h ^ c) * 0x100000001b3;
	return h;
}

std::string read(const std::string &path) {
	std::ifstream f(path, std::ios::binary);
	return std::string(std::istreambuf_iterator<char>(f), {});
}

// execute runs a program with its messages in a file.
int execute(const std::vector<std::string> &args, const std::string &messages) {
	std::vector<char *> argv;
	for (const std::string &a : args)
		argv.push_back((char *)a.c_str());
	argv.push_back(nullptr);
	posix_spawn_file_actions_t files;
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 2, messages.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
	pid_t pid;
	int e = posix_spawnp(&pid, argv[0], &files, nullptr, argv.data(), environ);
	posix_spawn_file_actions_destroy(&files);
	if (e)
		return e;
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return 1;
	return status;
}

} // namespace

API simCompiler(const char *text) {
	{
		std::lock_guard<std::mutex> lock(mutex);
		configuration = text;
	}
	configure();
	return OK;
}

// simCompiled is how often g++ has been called.
extern "C" __attribute__((visibility("default"))) long simCompiled() { return compiled; }

API nvrtcVersion(int *a, int *b) {
	configure();
	*a = major;
	*b = minor;
	return OK;
}

API nvrtcGetNumSupportedArchs(int *n) {
	configure();
	*n = archs.size();
	return OK;
}

API nvrtcGetSupportedArchs(int *out) {
	configure();
	for (size_t i = 0; i < archs.size(); i++)
		out[i] = archs[i];
	return OK;
}

extern "C" __attribute__((visibility("default"))) const char *nvrtcGetErrorString(int e) {
	switch (e) {
	case OK: return "NVRTC_SUCCESS";
	case OUT_OF_MEMORY: return "NVRTC_ERROR_OUT_OF_MEMORY";
	case INVALID_INPUT: return "NVRTC_ERROR_INVALID_INPUT";
	case INVALID_PROGRAM: return "NVRTC_ERROR_INVALID_PROGRAM";
	case INVALID_OPTION: return "NVRTC_ERROR_INVALID_OPTION";
	case COMPILATION: return "NVRTC_ERROR_COMPILATION";
	}
	return "NVRTC_ERROR unknown";
}

API nvrtcCreateProgram(Program **p, const char *text, const char *, int headers, const char *const *, const char *const *) {
	if (headers)
		return INVALID_INPUT;
	*p = new Program{text, "", "", ""};
	return OK;
}

API nvrtcDestroyProgram(Program **p) {
	delete *p;
	*p = nullptr;
	return OK;
}

API nvrtcCompileProgram(Program *p, int n, const char *const *options) {
	configure();
	int arch = 0;
	bool real = false;
	std::vector<std::string> defines;
	for (int i = 0; i < n; i++) {
		std::string o = options[i];
		auto is = [&](const char *prefix) { return o.compare(0, strlen(prefix), prefix) == 0; };
		if (is("--gpu-architecture=") || is("-arch=")) {
			std::string a = o.substr(o.find('=') + 1);
			real = a.compare(0, 3, "sm_") == 0;
			arch = atoi(a.c_str() + a.find('_') + 1);
		} else if (is("-D"))
			defines.push_back(o);
		else if (!is("--std=") && !is("-std=") && !is("--fmad=") && !is("-fmad=") && !is("-lineinfo") && !is("--generate-line-info") &&
		         !is("--minimal") && !is("-minimal") && !is("--maxrregcount=") && !is("-default-device") && !is("--device-as-default-execution-space") &&
		         !is("-w") && !is("--disable-warnings") && !is("--ftz=") && !is("--prec-div=") && !is("--prec-sqrt=")) {
			p->log = "nvrtc: error: invalid value for an option: " + o + "\n";
			return INVALID_OPTION;
		}
	}
	bool known = false;
	for (int a : archs)
		known |= a == arch;
	if (!known) {
		p->log = "nvrtc: error: invalid value for --gpu-architecture (-arch)\n";
		return INVALID_OPTION;
	}
	std::string here = folder(), kernels = here + "/kernels";
	mkdir(kernels.c_str(), 0755);
	// Sums of products stay apart, as with --fmad=false; fma asked for is one instruction.
	std::vector<std::string> args = {getenv("CXX") ? getenv("CXX") : "g++", "-std=c++17", "-O1", "-w", "-shared", "-fPIC", "-fvisibility=hidden",
	                                 "-ffp-contract=off", "-fno-exceptions", "-fno-math-errno", "-fno-strict-aliasing", "-nostdlib", "-DSIM_ARCH=" + std::to_string(arch)};
#if defined(__x86_64__)
	if (__builtin_cpu_supports("fma"))
		args.push_back("-mfma");
#endif
	args.insert(args.end(), defines.begin(), defines.end());
	uint64_t h = hash(p->text, 0xcbf29ce484222325), h2 = hash(p->text, 0x9e3779b97f4a7c15);
	for (const std::string &a : args)
		h = hash(a, h);
	h = hash(read(here + "/sim.h"), h);
	char name[40];
	snprintf(name, sizeof name, "%016llx%016llx", (unsigned long long)h, (unsigned long long)h2);
	std::string file = kernels + "/" + name + ".so";
	p->code = read(file);
	if (p->code.empty()) {
		static std::atomic<int> number;
		std::string base = kernels + "/" + name + "." + std::to_string(getpid()) + "." + std::to_string(number++);
		std::ofstream(base + ".cc") << p->text;
		for (const std::string &a : {std::string("-include"), here + "/sim.h", std::string("-o"), base + ".so", base + ".cc", std::string("-lm")})
			args.push_back(a);
		compiled++;
		int status = execute(args, base + ".log");
		p->log = read(base + ".log");
		unlink((base + ".cc").c_str());
		unlink((base + ".log").c_str());
		if (status) {
			unlink((base + ".so").c_str());
			return COMPILATION;
		}
		rename((base + ".so").c_str(), file.c_str());
		p->code = read(file);
	} else
		utimes(file.c_str(), nullptr); // it is in use; simcuda.Build removes what has not been for days
	p->ptx = "// simulated PTX for compute_" + std::to_string(arch) + " in " + file;
	if (!real)
		p->code.clear();
	return OK;
}

static int give(const std::string &s, char *out) {
	memcpy(out, s.data(), s.size());
	return OK;
}

API nvrtcGetCUBINSize(Program *p, size_t *n) {
	*n = p->code.size();
	return OK;
}
API nvrtcGetCUBIN(Program *p, char *out) { return give(p->code, out); }
API nvrtcGetPTXSize(Program *p, size_t *n) {
	*n = p->ptx.size() + 1;
	return OK;
}
API nvrtcGetPTX(Program *p, char *out) { return give(p->ptx + std::string(1, 0), out); }
API nvrtcGetProgramLogSize(Program *p, size_t *n) {
	*n = p->log.size() + 1;
	return OK;
}
API nvrtcGetProgramLog(Program *p, char *out) { return give(p->log + std::string(1, 0), out); }
