// A libcuda that runs kernels on the processor, and looks for mistakes in how it is used.
//
// What a stream is told to do is put into its queue. Nothing there is done before something
// waits for it, and then in an order that is drawn by chance, with a seed: of all streams
// that could go on, one does one thing. So what lacks an event, or reads memory of the host
// before it has waited, gives wrong numbers here, for some seed, and always the same ones for one.
//
// Every allocation lies between pages that fault, and what it has more than was asked for
// is checked when it is freed. Memory is given back to the system when the free is
// carried out, in its stream's order.
//
// What the simulated machine is, and what goes wrong in it, is configured: by the
// environment variable SIMCUDA when cuInit is called, or by simConfigure, which makes
// everything new. The text is a list of key=value, separated by semicolons:
//
//	driver=12080         what cuDriverGetVersion says
//	device=NAME,cc:90,memory:BYTES,units:132,mig:1,uuid:HEX,pools:0   (several; none: no device)
//	init=999             what cuInit returns
//	seed=1               of the order between streams; 0: the order in which things were told
//	execute=0            kernels are taken for done
//	fail.alloc=5         the fifth allocation from now on fails
//	fail.launch=3        the third kernel from now on fails with 700 when it runs
//	fail.host=1          the first allocation of pinned memory from now on fails
#include "kernel.h"
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <dlfcn.h>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

#define API extern "C" __attribute__((visibility("default"))) int

typedef uint64_t address;

namespace {

enum {
	OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_DEVICE = 101,
	INVALID_IMAGE = 200, INVALID_CONTEXT = 201, NO_BINARY = 209, INVALID_PTX = 218, INVALID_HANDLE = 400, NOT_FOUND = 500, NOT_READY = 600,
	ILLEGAL_ADDRESS = 700, LAUNCH_FAILED = 719, NOT_SUPPORTED = 801, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901,
	CAPTURE_UNMATCHED = 903, GRAPH_UPDATE_FAILURE = 910,
};

// What is told to a stream, or is a node of a graph.

struct Module {
	void *handle;
	char *const *shared;
	struct Context *context;
	bool loaded = true;
};

struct Function {
	Module *module;
	const sim_kernel *kernel;
	std::string name;
};

struct Event {
	uint64_t told = 0, done = 0; // how often it was recorded
	double time = 0;
};

struct Op {
	enum Kind { KERNEL, COPY, SET, RECORD, WAIT, FREE, GRAPH, HOST } kind = KERNEL;
	Function *function = nullptr; // KERNEL
	uint3 grid{}, block{};
	std::shared_ptr<std::vector<char>> packed;
	char *to = nullptr; // COPY, SET, FREE
	const char *from = nullptr;
	size_t bytes = 0;
	std::shared_ptr<std::vector<char>> staged; // COPY of memory that is not pinned
	bool waited = false;                       // COPY to memory that is not pinned
	unsigned value = 0, width = 0;             // SET
	std::shared_ptr<Event> event; // RECORD, WAIT
	uint64_t times = 0;
	std::shared_ptr<std::vector<Op>> body; // GRAPH
	void (*call)(void *) = nullptr; // HOST
	void *data = nullptr;
};

struct Graph;
struct Node {
	Graph *graph;
	size_t index;
};

struct Graph {
	std::vector<Op> ops; // in the order of a chain, which is all that a capture of one stream makes
	std::vector<std::unique_ptr<Node>> nodes;
	void add(const Op &op) {
		ops.push_back(op);
		nodes.emplace_back(new Node{this, nodes.size()});
	}
};

struct Exec {
	Graph *from; // whose nodes name its nodes
	std::shared_ptr<std::vector<Op>> ops;
	struct Context *context;
	std::vector<Op> &own() { // not what launches have in their queues
		if (ops.use_count() > 1)
			ops = std::make_shared<std::vector<Op>>(*ops);
		return *ops;
	}
};

struct Stream {
	struct Context *context;
	std::deque<Op> queue;
	Graph *capture = nullptr;
	int mode = 0; // of the capture
	bool spoiled = false;
	void *last = nullptr; // for cuStreamGetCaptureInfo
};

struct Allocation {
	char *base;
	size_t bytes, mapped;
	char *map;
	bool pool;
	struct Context *context;
	bool freed = false; // told, not yet carried out
};

struct Device {
	std::string name = "Simulated GPU";
	int cc = 80, units = 108, pools = 1, mig = 0;
	size_t memory = size_t(1) << 30;
	unsigned char uuid[16] = {};
	size_t used = 0, held = 0; // of the pool: in use, and taken from the device
	size_t direct = 0;         // allocated without the pool
	uint64_t threshold = 0;    // what the pool may keep at a synchronisation
	size_t peak = 0;
};

struct Context {
	explicit Context(int device) : device(device) {}
	int device;
	int retained = 0;
	int error = 0; // that has poisoned it
	std::set<Stream *> streams;
};

struct Machine {
	std::string text; // its configuration
	bool ready = false;
	int driver = 12080, init = 0;
	unsigned seed = 1;
	bool execute = true;
	long failAlloc = 0, failLaunch = 0, failHost = 0;
	std::vector<Device> devices;
	std::vector<std::unique_ptr<Context>> contexts;
	std::map<address, Allocation> memory;
	std::map<address, size_t> pinned;
	std::set<Graph *> graphs;
	std::set<Exec *> execs;
	std::map<Event *, std::shared_ptr<Event>> events;
	std::set<Module *> modules;
	std::mt19937 chance;
	std::string log; // what went wrong
	std::map<std::string, long> count;
	double clock = 0;
};

std::recursive_mutex mutex;
Machine *machine;
thread_local Context *current;

#define LOCK std::lock_guard<std::recursive_mutex> lock(mutex)

void say(const std::string &s) {
	machine->log += s + "\n";
	if (getenv("SIMCUDA_VERBOSE"))
		fprintf(stderr, "simcuda: %s\n", s.c_str());
}

std::vector<std::string> split(const std::string &s, char at) {
	std::vector<std::string> parts;
	size_t from = 0;
	for (;;) {
		size_t to = s.find(at, from);
		parts.push_back(s.substr(from, to == std::string::npos ? to : to - from));
		if (to == std::string::npos)
			return parts;
		from = to + 1;
	}
}

void identify(Device &d, const std::string &hex) {
	for (size_t i = 0, k = 0; i + 1 < hex.size() && k < 16;) {
		if (hex[i] == '-') {
			i++;
			continue;
		}
		d.uuid[k++] = strtol(hex.substr(i, 2).c_str(), 0, 16);
		i += 2;
	}
}

bool configure(Machine &m, const std::string &text) {
	bool named = false, known = true;
	for (const std::string &part : split(text, ';')) {
		if (part.empty())
			continue;
		size_t eq = part.find('=');
		std::string key = part.substr(0, eq), value = eq == std::string::npos ? "" : part.substr(eq + 1);
		long n = atol(value.c_str());
		if (key == "driver")
			m.driver = n;
		else if (key == "init")
			m.init = n;
		else if (key == "seed")
			m.seed = n, m.chance.seed(n);
		else if (key == "execute")
			m.execute = n;
		else if (key == "fail.alloc")
			m.failAlloc = n;
		else if (key == "fail.launch")
			m.failLaunch = n;
		else if (key == "fail.host")
			m.failHost = n;
		else if (key == "device") {
			named = true;
			if (value.empty() || value == "none")
				continue;
			Device d;
			d.uuid[15] = m.devices.size() + 1;
			for (const std::string &field : split(value, ',')) {
				size_t colon = field.find(':');
				std::string k = field.substr(0, colon), v = colon == std::string::npos ? "" : field.substr(colon + 1);
				if (colon == std::string::npos)
					d.name = field;
				else if (k == "cc")
					d.cc = atoi(v.c_str());
				else if (k == "memory")
					d.memory = strtoull(v.c_str(), 0, 10);
				else if (k == "units")
					d.units = atoi(v.c_str());
				else if (k == "pools")
					d.pools = atoi(v.c_str());
				else if (k == "mig")
					d.mig = atoi(v.c_str());
				else if (k == "uuid")
					identify(d, v);
				else
					known = false;
			}
			m.devices.push_back(d);
		} else
			known = false;
	}
	if (!named && m.devices.empty())
		m.devices.push_back(Device()), m.devices[0].uuid[15] = 1;
	return known;
}

std::string uuidText(const Device &d) {
	char s[64];
	const unsigned char *u = d.uuid;
	snprintf(s, sizeof s, "%s-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", d.mig ? "MIG" : "GPU", u[0], u[1],
	         u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
	return s;
}

// visible keeps the devices that CUDA_VISIBLE_DEVICES names, and as CUDA does, one part of a
// divided device and then no other.
void visible(Machine &m) {
	std::vector<Device> all;
	all.swap(m.devices);
	if (const char *list = getenv("CUDA_VISIBLE_DEVICES")) {
		for (const std::string &name : split(list, ',')) {
			auto at = std::find_if(all.begin(), all.end(), [&](const Device &d) {
				std::string u = uuidText(d);
				return name.size() > 4 && u.compare(0, name.size(), name) == 0;
			});
			if (at == all.end() && !name.empty() && name.find_first_not_of("0123456789") == std::string::npos && size_t(atoi(name.c_str())) < all.size())
				at = all.begin() + atoi(name.c_str());
			if (at == all.end())
				break; // what comes after a wrong one is not visible either
			m.devices.push_back(*at);
		}
	} else
		m.devices = all;
	for (const Device &d : m.devices)
		if (d.mig) {
			m.devices = std::vector<Device>{d};
			break;
		}
}

void renew(const std::string &text) {
	if (machine)
		for (auto &a : machine->memory)
			munmap(a.second.map, a.second.mapped);
	machine = new Machine; // the old one stays: contexts of it may still be current somewhere
	current = nullptr;
	machine->text = text;
}

// Memory.

size_t up(size_t n, size_t to) { return (n + to - 1) / to * to; }

enum { RELAXED = 2 }; // mode of a capture

enum { PAGE = 4096, ALIGN = 256, MARK = 0xCB, FRESH = 0xFF };

const Allocation *find(address p, size_t n) {
	auto &m = machine->memory;
	auto i = m.upper_bound(p);
	if (i == m.begin())
		return nullptr;
	const Allocation &a = (--i)->second;
	return p >= (address)a.base && p + n <= (address)a.base + a.bytes ? &a : nullptr;
}

bool isPinned(const void *p, size_t n) {
	auto &m = machine->pinned;
	auto i = m.upper_bound((address)p);
	if (i == m.begin())
		return false;
	--i;
	return (address)p + n <= i->first + i->second;
}

void settle(Device &d) { d.peak = std::max(d.peak, d.held + d.direct); }

int allocate(address *out, size_t n, bool pool) {
	if (!out || n == 0)
		return INVALID_VALUE;
	Device &d = machine->devices[current->device];
	machine->count["allocs"]++;
	if (machine->failAlloc > 0 && --machine->failAlloc == 0)
		return OUT_OF_MEMORY;
	size_t want = up(n, 512);
	if (pool) {
		if (want > d.memory || d.used + want + d.direct > d.memory)
			return OUT_OF_MEMORY;
	} else if (want > d.memory || d.held + want + d.direct > d.memory)
		return OUT_OF_MEMORY; // what the pool holds and does not use is not given back for it
	size_t room = up(n, ALIGN);
	size_t inner = up(room, PAGE);
	char *map = (char *)mmap(0, inner + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED)
		return OUT_OF_MEMORY;
	mprotect(map + PAGE, inner, PROT_READ | PROT_WRITE);
	char *base = map + PAGE + (inner - room); // its end is the page that faults
	memset(base, FRESH, std::min(n, size_t(1) << 20));
	memset(base + n, MARK, room - n);
	if (base > map + PAGE)
		memset(map + PAGE, MARK, base - map - PAGE);
	machine->memory[(address)base] = Allocation{base, n, inner + 2 * PAGE, map, pool, current};
	if (pool) {
		d.used += want;
		d.held = std::max(d.held, d.used);
	} else
		d.direct += want;
	settle(d);
	machine->count["live"]++;
	*out = (address)base;
	return OK;
}

void discard(address p) {
	auto i = machine->memory.find(p);
	if (i == machine->memory.end())
		return;
	Allocation &a = i->second;
	for (char *c = a.map + PAGE; c < a.map + a.mapped - PAGE; c++) {
		if (c == a.base)
			c += a.bytes;
		if (c < a.map + a.mapped - PAGE && (unsigned char)*c != MARK) {
			say("memory beside an allocation of " + std::to_string(a.bytes) + " bytes was written, at byte " + std::to_string(c - a.base));
			machine->count["overruns"]++;
			break;
		}
	}
	Device &d = machine->devices[a.context->device];
	(a.pool ? d.used : d.direct) -= up(a.bytes, 512);
	munmap(a.map, a.mapped);
	machine->memory.erase(i);
	machine->count["live"]--;
}

// Running what streams were told.

void poison(Context *c, int code, const std::string &why) {
	if (!c->error)
		c->error = code;
	say(why);
	for (Stream *s : c->streams)
		s->queue.clear();
}

void execute(Context *c, const Op &op);

void launch(Context *c, const Op &op) {
	machine->count["kernels"]++;
	if (machine->failLaunch > 0 && --machine->failLaunch == 0)
		return poison(c, ILLEGAL_ADDRESS, op.function->name + ": failed as it was told to");
	if (!machine->execute)
		return;
	if (!op.function->module->loaded)
		return poison(c, LAUNCH_FAILED, op.function->name + ": its module was unloaded before it ran");
	static const char none[8] = {};
	std::string why;
	int code = sim::run(op.function->kernel, op.packed ? op.packed->data() : none, op.grid, op.block, op.function->module->shared, why);
	if (code)
		poison(c, code, op.function->name + ": " + why);
}

bool host(const void *p) { return !find((address)p, 0); }

void execute(Context *c, const Op &op) {
	if (c->error)
		return;
	machine->clock += 0.001;
	switch (op.kind) {
	case Op::KERNEL:
		launch(c, op);
		break;
	case Op::COPY: {
		const char *from = op.staged ? op.staged->data() : op.from;
		auto lost = [&](const char *p) { return !find((address)p, op.bytes) && !isPinned(p, op.bytes); };
		if ((!op.waited && lost(op.to)) || (!op.staged && lost(from)))
			poison(c, ILLEGAL_ADDRESS, "a copy of " + std::to_string(op.bytes) + " bytes from or to memory that has been freed");
		else if (machine->execute || op.bytes <= 4096)
			memmove(op.to, from, op.bytes);
		break;
	}
	case Op::SET:
		if (!find((address)op.to, op.bytes))
			poison(c, ILLEGAL_ADDRESS, "setting memory that has been freed");
		else
			for (size_t i = 0; i < op.bytes; i += op.width)
				memcpy(op.to + i, &op.value, op.width);
		break;
	case Op::RECORD:
		op.event->done = std::max(op.event->done, op.times);
		op.event->time = machine->clock;
		break;
	case Op::WAIT:
		break;
	case Op::FREE:
		discard((address)op.to);
		break;
	case Op::HOST:
		if (machine->execute)
			op.call(op.data);
		break;
	case Op::GRAPH:
		if (!machine->execute && !machine->failLaunch) {
			machine->count["kernels"] += op.body->size();
			break;
		}
		for (const Op &o : *op.body)
			if (!c->error)
				execute(c, o);
		break;
	}
}

bool ready(Stream *s) {
	if (s->queue.empty())
		return false;
	const Op &op = s->queue.front();
	return op.kind != Op::WAIT || op.event->done >= op.times;
}

void step(Stream *s) {
	Op op = std::move(s->queue.front());
	s->queue.pop_front();
	execute(s->context, op);
}

// some does one thing of one stream, and tells whether there was one.
bool some() {
	std::vector<Stream *> can;
	for (auto &c : machine->contexts)
		for (Stream *s : c->streams)
			if (ready(s))
				can.push_back(s);
	if (can.empty())
		return false;
	step(can[machine->seed ? machine->chance() % can.size() : 0]);
	return true;
}

// drain returns when a stream has done all.
int drain(Stream *s) {
	while (!s->queue.empty()) {
		if (!machine->execute && ready(s)) {
			step(s);
		} else if (!some()) {
			say("a stream waits for an event that never comes");
			return LAUNCH_FAILED;
		}
	}
	return s->context->error;
}

int drainAll() {
	while (some()) {
	}
	for (auto &c : machine->contexts)
		if (c->error)
			return c->error;
	return OK;
}

// tell puts something into a stream's queue, or into the graph that it captures.
int tell(Stream *s, const Op &op) {
	if (s->capture) {
		if (op.kind == Op::FREE || op.kind == Op::RECORD || op.kind == Op::WAIT || op.staged) {
			s->spoiled = true;
			return CAPTURE_UNSUPPORTED;
		}
		s->capture->add(op);
		s->last = s->capture->nodes.back().get();
		return OK;
	}
	s->queue.push_back(op);
	if (!machine->execute)
		return drain(s); // nothing is done, so it is done at once
	// A device goes on by itself, at times.
	if (machine->seed && machine->chance() % 4 == 0)
		some();
	if (s->queue.size() > 4096)
		return drain(s);
	return OK;
}

int usable() {
	if (!machine || !machine->ready)
		return NOT_INITIALIZED;
	if (!current)
		return INVALID_CONTEXT;
	return current->error;
}

// ENTER begins a call that needs a context.
#define ENTER                                                                                                                 \
	LOCK;                                                                                                                 \
	if (int e = usable())                                                                                                 \
		return e;

// outside refuses what must not be done while a stream captures, unless that was begun in
// the relaxed mode, which leaves it to the caller.
int outside() {
	for (Stream *s : current->streams)
		if (s->capture && s->mode != RELAXED) {
			s->spoiled = true;
			return CAPTURE_UNSUPPORTED;
		}
	return OK;
}

// captured refuses to wait for a stream that captures.
int captured(Stream *s) {
	if (!s->capture)
		return OK;
	s->spoiled = true;
	return CAPTURE_UNSUPPORTED;
}

#define OUTSIDE                                                                                                               \
	if (int e = outside())                                                                                                \
		return e;

Stream *stream(Context *c) {
	Stream *s = new Stream;
	s->context = c;
	c->streams.insert(s);
	return s;
}

Stream *streamOf(void *h) {
	static std::map<Context *, Stream *> legacy;
	if (!h) {
		Stream *&s = legacy[current];
		return s ? s : s = stream(current);
	}
	Stream *s = (Stream *)h;
	return current->streams.count(s) ? s : nullptr;
}

#define STREAM(s, h)                                                                                                          \
	Stream *s = streamOf(h);                                                                                              \
	if (!s)                                                                                                               \
		return INVALID_HANDLE;

std::shared_ptr<Event> eventOf(void *h) {
	auto i = machine->events.find((Event *)h);
	return i == machine->events.end() ? nullptr : i->second;
}

struct Info {
	int code;
	const char *name, *text;
};
const Info errors[] = {
    {OK, "CUDA_SUCCESS", "no error"},
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {NO_BINARY, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {INVALID_PTX, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {802, "CUDA_ERROR_SYSTEM_NOT_READY", "system not yet initialized"},
    {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "system has unsupported display driver / cuda driver combination"},
    {CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
    {GRAPH_UPDATE_FAILURE, "CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE", "the graph update was not performed because it included changes which violated constraints specific to instantiated graph update"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

} // namespace

// What only the simulation has.

// simConfigure makes a new machine: nothing of what was made before may be used any more.
API simConfigure(const char *text) {
	LOCK;
	renew(text);
	Machine trial;
	return configure(trial, text) ? OK : INVALID_VALUE;
}

// simChange changes what of the configuration can be at any time.
API simChange(const char *text) {
	LOCK;
	if (!machine)
		renew("");
	return configure(*machine, text) ? OK : INVALID_VALUE;
}

// simCount tells how often something happened: launches, graphs, kernels, allocs, live, overruns, nodes.
extern "C" __attribute__((visibility("default"))) long simCount(const char *what) {
	LOCK;
	if (!machine)
		return 0;
	if (!strcmp(what, "used") || !strcmp(what, "peak")) {
		long n = 0;
		for (Device &d : machine->devices)
			n += !strcmp(what, "used") ? d.used + d.direct : d.peak;
		return n;
	}
	return machine->count[what];
}

// simLog copies what went wrong, at most n bytes, and forgets it.
API simLog(char *out, int n) {
	LOCK;
	if (!machine)
		return 0;
	int k = std::min<int>(n, machine->log.size());
	memcpy(out, machine->log.data(), k);
	machine->log.clear();
	return k;
}

// The driver.

API cuInit(unsigned) {
	LOCK;
	if (!machine) {
		const char *text = getenv("SIMCUDA");
		renew(text ? text : "");
	}
	if (machine->ready)
		return OK;
	if (!configure(*machine, machine->text))
		fprintf(stderr, "simcuda: a configuration that has something unknown: %s\n", machine->text.c_str());
	if (machine->init)
		return machine->init;
	visible(*machine);
	machine->chance.seed(machine->seed);
	if (machine->devices.empty())
		return NO_DEVICE;
	for (size_t i = 0; i < machine->devices.size(); i++)
		machine->contexts.emplace_back(new Context(int(i)));
	machine->ready = true;
	return OK;
}

API cuDriverGetVersion(int *v) {
	LOCK;
	if (!machine)
		cuInit(0);
	*v = machine->driver;
	return OK;
}

#define DEVICE(d)                                                                                                             \
	LOCK;                                                                                                                 \
	if (!machine || !machine->ready)                                                                                      \
		return NOT_INITIALIZED;                                                                                       \
	if (d < 0 || size_t(d) >= machine->devices.size())                                                                    \
		return INVALID_DEVICE;                                                                                        \
	Device &dev = machine->devices[d];                                                                                    \
	(void)dev;

API cuDeviceGetCount(int *n) {
	LOCK;
	if (!machine || !machine->ready)
		return NOT_INITIALIZED;
	*n = machine->devices.size();
	return OK;
}

API cuDeviceGet(int *out, int i) {
	DEVICE(i);
	*out = i;
	return OK;
}

API cuDeviceGetName(char *out, int n, int d) {
	DEVICE(d);
	snprintf(out, n, "%s", dev.name.c_str());
	return OK;
}

API cuDeviceGetUuid(unsigned char *out, int d) {
	DEVICE(d);
	memcpy(out, dev.uuid, 16);
	return OK;
}

API cuDeviceGetUuid_v2(unsigned char *out, int d) { return cuDeviceGetUuid(out, d); }

API cuDeviceTotalMem_v2(size_t *n, int d) {
	DEVICE(d);
	*n = dev.memory;
	return OK;
}

API cuDeviceGetPCIBusId(char *out, int n, int d) {
	DEVICE(d);
	snprintf(out, n, "0000:%02X:00.0", d + 1);
	return OK;
}

API cuDeviceGetAttribute(int *v, int a, int d) {
	DEVICE(d);
	int shared[] = {dev.cc >= 90 ? 227 << 10 : dev.cc == 80 ? 163 << 10 : dev.cc >= 86 ? 99 << 10 : dev.cc == 75 ? 64 << 10 : 96 << 10};
	static const std::map<int, int> constant = {
	    {1, 1024}, {2, 1024}, {3, 1024}, {4, 64}, {5, 2147483647}, {6, 65535}, {7, 65535}, {8, 49152}, {9, 65536}, {10, 32},
	    {12, 65536}, {13, 1400000}, {31, 1}, {32, 1}, {34, 0}, {36, 1500000}, {37, 5120}, {38, 40 << 20}, {39, 2048}, {40, 3},
	    {41, 1}, {50, 0}, {82, 65536}, {83, 1}, {95, 1}, {102, 1}, {106, 32}, {120, 1},
	};
	switch (a) {
	case 16: *v = dev.units; break;
	case 33: *v = d + 1; break;
	case 75: *v = dev.cc / 10; break;
	case 76: *v = dev.cc % 10; break;
	case 81: case 97: *v = shared[0]; break;
	case 115: *v = dev.pools; break;
	default: {
		auto i = constant.find(a);
		*v = i == constant.end() ? 0 : i->second;
	}
	}
	return a > 0 ? OK : INVALID_VALUE;
}

API cuDevicePrimaryCtxRetain(Context **c, int d) {
	DEVICE(d);
	*c = machine->contexts[d].get();
	(*c)->retained++;
	return OK;
}

API cuDevicePrimaryCtxRelease_v2(int d) {
	DEVICE(d);
	if (machine->contexts[d]->retained == 0)
		return INVALID_CONTEXT;
	machine->contexts[d]->retained--;
	return OK;
}

API cuDevicePrimaryCtxSetFlags_v2(int d, unsigned) {
	DEVICE(d);
	return OK;
}

API cuDevicePrimaryCtxGetState(int d, unsigned *flags, int *active) {
	DEVICE(d);
	*flags = 0;
	*active = machine->contexts[d]->retained > 0;
	return OK;
}

API cuCtxSetCurrent(Context *c) {
	LOCK;
	if (!machine || !machine->ready)
		return NOT_INITIALIZED;
	if (c && std::none_of(machine->contexts.begin(), machine->contexts.end(), [&](auto &x) { return x.get() == c; }))
		return INVALID_CONTEXT;
	current = c;
	return OK;
}

API cuCtxGetCurrent(Context **c) {
	LOCK;
	*c = current;
	return OK;
}

API cuCtxGetDevice(int *d) {
	ENTER;
	*d = current->device;
	return OK;
}

API cuCtxSynchronize() {
	ENTER;
	for (Stream *s : current->streams)
		if (int e = captured(s))
			return e;
	machine->count["syncs"]++;
	drainAll();
	return current->error;
}

API cuCtxGetStreamPriorityRange(int *least, int *greatest) {
	ENTER;
	*least = 0;
	*greatest = -5;
	return OK;
}

API cuStreamCreate(Stream **s, unsigned) {
	ENTER;
	*s = stream(current);
	return OK;
}

API cuStreamCreateWithPriority(Stream **s, unsigned flags, int) { return cuStreamCreate(s, flags); }

API cuStreamDestroy_v2(void *h) {
	ENTER;
	STREAM(s, h);
	drain(s); // the driver does what is left
	current->streams.erase(s);
	delete s;
	return OK;
}

API cuStreamSynchronize(void *h) {
	ENTER;
	STREAM(s, h);
	OUTSIDE;
	if (int e = captured(s))
		return e;
	machine->count["syncs"]++;
	return drain(s);
}

API cuStreamQuery(void *h) {
	ENTER;
	STREAM(s, h);
	OUTSIDE;
	if (int e = captured(s))
		return e;
	some();
	return s->queue.empty() ? current->error : NOT_READY;
}

API cuStreamWaitEvent(void *h, void *e, unsigned) {
	ENTER;
	STREAM(s, h);
	auto event = eventOf(e);
	if (!event)
		return INVALID_HANDLE;
	Op op;
	op.kind = Op::WAIT;
	op.event = event;
	op.times = event->told;
	return tell(s, op);
}

API cuEventCreate(void **out, unsigned) {
	ENTER;
	auto e = std::make_shared<Event>();
	machine->events[e.get()] = e;
	*out = e.get();
	return OK;
}

API cuEventDestroy_v2(void *h) {
	ENTER;
	return machine->events.erase((Event *)h) ? OK : INVALID_HANDLE;
}

API cuEventRecord(void *h, void *st) {
	ENTER;
	STREAM(s, st);
	auto e = eventOf(h);
	if (!e)
		return INVALID_HANDLE;
	Op op;
	op.kind = Op::RECORD;
	op.event = e;
	op.times = ++e->told;
	return tell(s, op);
}

API cuEventQuery(void *h) {
	ENTER;
	auto e = eventOf(h);
	if (!e)
		return INVALID_HANDLE;
	some();
	if (current->error)
		return current->error;
	return e->done >= e->told ? OK : NOT_READY;
}

API cuEventSynchronize(void *h) {
	ENTER;
	auto e = eventOf(h);
	if (!e)
		return INVALID_HANDLE;
	machine->count["syncs"]++;
	while (e->done < e->told && !current->error)
		if (!some()) {
			say("an event is waited for that never comes");
			return LAUNCH_FAILED;
		}
	return current->error;
}

API cuEventElapsedTime(float *ms, void *a, void *b) {
	ENTER;
	auto from = eventOf(a), to = eventOf(b);
	if (!from || !to || !from->told || !to->told)
		return INVALID_HANDLE;
	if (from->done < from->told || to->done < to->told)
		return NOT_READY;
	*ms = to->time - from->time;
	return OK;
}

API cuEventElapsedTime_v2(float *ms, void *a, void *b) { return cuEventElapsedTime(ms, a, b); }

// Memory.

API cuMemGetInfo_v2(size_t *free, size_t *total) {
	ENTER;
	Device &d = machine->devices[current->device];
	*total = d.memory;
	*free = d.memory - d.held - d.direct;
	return OK;
}

API cuMemAlloc_v2(address *p, size_t n) {
	ENTER;
	OUTSIDE;
	return allocate(p, n, false);
}

API cuMemAllocAsync(address *p, size_t n, void *h) {
	ENTER;
	STREAM(s, h);
	if (s->capture) {
		s->spoiled = true;
		return CAPTURE_UNSUPPORTED;
	}
	Device &d = machine->devices[current->device];
	if (!d.pools)
		return NOT_SUPPORTED;
	// What has been told to be freed in this stream may be used again by it.
	if (d.used + up(n, 512) + d.direct > d.memory)
		drain(s);
	return allocate(p, n, true);
}

API cuMemFree_v2(address p) {
	ENTER;
	OUTSIDE;
	if (!p)
		return OK;
	auto i = machine->memory.find(p);
	if (i == machine->memory.end() || i->second.freed)
		return INVALID_VALUE;
	drainAll();
	discard(p);
	return current->error;
}

API cuMemFreeAsync(address p, void *h) {
	ENTER;
	STREAM(s, h);
	if (!p)
		return OK;
	auto i = machine->memory.find(p);
	if (i == machine->memory.end() || i->second.freed)
		return INVALID_VALUE;
	Op op;
	op.kind = Op::FREE;
	op.to = (char *)p;
	int e = tell(s, op);
	i = machine->memory.find(p);
	if (e == OK && i != machine->memory.end())
		i->second.freed = true;
	return e;
}

API cuDeviceGetDefaultMemPool(void **pool, int d) {
	DEVICE(d);
	if (!dev.pools)
		return NOT_SUPPORTED;
	*pool = &dev;
	return OK;
}

API cuDeviceGetMemPool(void **pool, int d) { return cuDeviceGetDefaultMemPool(pool, d); }

API cuMemPoolSetAttribute(Device *pool, int a, uint64_t *v) {
	LOCK;
	if (a == 4)
		pool->threshold = *v;
	else if (a == 6 || a == 8)
		pool->peak = pool->held;
	return OK;
}

API cuMemPoolGetAttribute(Device *pool, int a, uint64_t *v) {
	LOCK;
	*v = a == 4 ? pool->threshold : a == 5 ? pool->held : a == 6 ? pool->peak : a == 7 ? pool->used : a == 8 ? pool->peak : 0;
	return OK;
}

API cuMemPoolTrimTo(Device *pool, size_t keep) {
	LOCK;
	drainAll();
	pool->held = std::max(pool->used, std::min(pool->held, keep));
	machine->count["trims"]++;
	return OK;
}

API cuMemHostAlloc(void **p, size_t n, unsigned) {
	ENTER;
	OUTSIDE;
	if (machine->failHost > 0 && --machine->failHost == 0)
		return OUT_OF_MEMORY;
	*p = aligned_alloc(PAGE, up(n ? n : 1, PAGE));
	memset(*p, FRESH, n);
	machine->pinned[(address)*p] = n;
	return OK;
}

API cuMemFreeHost(void *p) {
	ENTER;
	OUTSIDE;
	if (!machine->pinned.count((address)p))
		return INVALID_VALUE;
	drainAll();
	machine->pinned.erase((address)p);
	free(p);
	return OK;
}

API cuMemHostRegister_v2(void *p, size_t n, unsigned) {
	ENTER;
	machine->pinned[(address)p] = n;
	return OK;
}

API cuMemHostUnregister(void *p) {
	ENTER;
	drainAll();
	return machine->pinned.erase((address)p) ? OK : INVALID_VALUE;
}

static int copy(address to, address from, size_t n, void *h, bool toHost, bool fromHost) {
	ENTER;
	STREAM(s, h);
	Op op;
	op.kind = Op::COPY;
	op.to = (char *)to;
	op.from = (const char *)from;
	op.bytes = n;
	if (n == 0)
		return OK;
	if ((!toHost && !find(to, n)) || (!fromHost && !find(from, n))) {
		say("a copy of " + std::to_string(n) + " bytes leaves an allocation");
		return INVALID_VALUE;
	}
	if (fromHost && !isPinned((void *)from, n)) // the driver takes it now
		op.staged = std::make_shared<std::vector<char>>((char *)from, (char *)from + n);
	op.waited = toHost && !isPinned((void *)to, n);
	if (int e = tell(s, op))
		return e;
	return op.waited && !s->capture ? drain(s) : OK; // the driver comes back when it is done
}

// cuLaunchHostFunc is how stand-ins for libraries put what they compute into a stream.
API cuLaunchHostFunc(void *h, void (*call)(void *), void *data) {
	ENTER;
	STREAM(s, h);
	if (!call)
		return INVALID_VALUE;
	Op op;
	op.kind = Op::HOST;
	op.call = call;
	op.data = data;
	return tell(s, op);
}

API cuMemcpyHtoDAsync_v2(address d, const void *s, size_t n, void *h) { return copy(d, (address)s, n, h, false, true); }
API cuMemcpyDtoHAsync_v2(void *d, address s, size_t n, void *h) { return copy((address)d, s, n, h, true, false); }
API cuMemcpyDtoDAsync_v2(address d, address s, size_t n, void *h) { return copy(d, s, n, h, false, false); }
API cuMemcpyAsync(address d, address s, size_t n, void *h) { return copy(d, s, n, h, host((void *)d), host((void *)s)); }

static int both(int e) {
	if (e)
		return e;
	LOCK;
	drainAll();
	return current->error;
}
API cuMemcpyHtoD_v2(address d, const void *s, size_t n) { return both(copy(d, (address)s, n, 0, false, true)); }
API cuMemcpyDtoH_v2(void *d, address s, size_t n) { return both(copy((address)d, s, n, 0, true, false)); }
API cuMemcpyDtoD_v2(address d, address s, size_t n) { return both(copy(d, s, n, 0, false, false)); }

static int set(address to, unsigned v, unsigned width, size_t n, void *h) {
	ENTER;
	STREAM(s, h);
	if (n && !find(to, n * width))
		return INVALID_VALUE;
	Op op;
	op.kind = Op::SET;
	op.to = (char *)to;
	op.value = v;
	op.width = width;
	op.bytes = n * width;
	return tell(s, op);
}
API cuMemsetD8Async(address p, unsigned char v, size_t n, void *h) { return set(p, v, 1, n, h); }
API cuMemsetD16Async(address p, unsigned short v, size_t n, void *h) { return set(p, v, 2, n, h); }
API cuMemsetD32Async(address p, unsigned v, size_t n, void *h) { return set(p, v, 4, n, h); }
API cuMemsetD8_v2(address p, unsigned char v, size_t n) { return both(set(p, v, 1, n, 0)); }
API cuMemsetD32_v2(address p, unsigned v, size_t n) { return both(set(p, v, 4, n, 0)); }

// Modules. Machine code is a shared object; PTX is a line that says where one is.

static size_t imageSize(const unsigned char *p) {
	if (memcmp(p, "\177ELF", 4) || p[4] != 2)
		return 0;
	uint64_t table;
	uint16_t size, n;
	memcpy(&table, p + 40, 8);
	memcpy(&size, p + 58, 2);
	memcpy(&n, p + 60, 2);
	return table + size_t(size) * n; // the table of sections is the last thing in it
}

API cuModuleLoadDataEx(Module **out, const void *image, unsigned, const int *, void **) {
	ENTER;
	int version = 0;
	char file[1024];
	std::string text;
	bool ptx = sscanf((const char *)image, "// simulated PTX for compute_%d in %1000s", &version, file) == 2;
	if (ptx) {
		if (FILE *f = fopen(file, "rb")) {
			for (int c; (c = fgetc(f)) != EOF;)
				text.push_back(c);
			fclose(f);
		}
		if (text.empty())
			return INVALID_PTX;
		image = text.data();
	}
	size_t n = imageSize((const unsigned char *)image);
	if (!n)
		return INVALID_IMAGE;
	char path[] = "/tmp/simcuda.XXXXXX"; // the loader takes files of one name for one
	int fd = mkstemp(path);
	if (fd < 0)
		return INVALID_IMAGE;
	bool written = write(fd, image, n) == ssize_t(n);
	close(fd);
	void *h = written ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
	unlink(path);
	if (!h) {
		say(dlerror());
		return INVALID_IMAGE;
	}
	const int *arch = (const int *)dlsym(h, "sim_arch");
	sim_state **self = (sim_state **)dlsym(h, "sim_self");
	if (!arch || !self) {
		dlclose(h);
		return INVALID_IMAGE;
	}
	int cc = machine->devices[current->device].cc;
	// Machine code runs on its own generation, from its revision on; PTX on all that come after.
	if (*arch > cc || (!ptx && *arch / 10 != cc / 10)) {
		say("an image for sm_" + std::to_string(*arch) + " on a device of sm_" + std::to_string(cc));
		dlclose(h);
		return NO_BINARY;
	}
	*self = &sim::state;
	*out = new Module{h, (char *const *)dlsym(h, "sim_shared"), current};
	machine->modules.insert(*out);
	machine->count["modules"]++;
	return OK;
}

API cuModuleLoadData(Module **out, const void *image) { return cuModuleLoadDataEx(out, image, 0, 0, 0); }

API cuModuleUnload(Module *m) {
	ENTER;
	if (!machine->modules.erase(m))
		return INVALID_HANDLE;
	m->loaded = false; // its code stays: something told before may still have to run
	machine->count["modules"]--;
	return OK;
}

API cuModuleGetFunction(Function **f, Module *m, const char *name) {
	ENTER;
	if (!machine->modules.count(m))
		return INVALID_HANDLE;
	auto k = (const sim_kernel *)dlsym(m->handle, ("sim_kernel_" + std::string(name)).c_str());
	if (!k)
		return NOT_FOUND;
	*f = new Function{m, k, name};
	return OK;
}

API cuFuncGetAttribute(int *v, int a, Function *) {
	ENTER;
	*v = a == 0 ? 1024 : a == 4 ? 32 : a == 5 || a == 6 ? machine->devices[current->device].cc : 0;
	return OK;
}

API cuFuncSetAttribute(Function *, int, int) {
	ENTER;
	return OK;
}

// pack puts a kernel's arguments together as it wants them.
static int pack(const Function *f, void **params, void **extra, std::shared_ptr<std::vector<char>> &out) {
	const sim_kernel *k = f->kernel;
	size_t n = k->offset[k->params];
	out = std::make_shared<std::vector<char>>(n + 16);
	if (n > 4096)
		return INVALID_VALUE;
	if (params) {
		for (int i = 0; i < k->params; i++)
			memcpy(out->data() + k->offset[i], params[i], k->size[i]);
		return OK;
	}
	if (!extra)
		return k->params ? INVALID_VALUE : OK;
	char *buffer = nullptr;
	size_t size = 0;
	for (int i = 0; extra[i]; i += 2) {
		if (extra[i] == (void *)1)
			buffer = (char *)extra[i + 1];
		else if (extra[i] == (void *)2)
			size = *(size_t *)extra[i + 1];
		else
			return INVALID_VALUE;
	}
	if (!buffer || size != n) {
		say(f->name + ": takes " + std::to_string(n) + " bytes of arguments and was given " + std::to_string(size));
		return INVALID_VALUE;
	}
	memcpy(out->data(), buffer, n);
	return OK;
}

static int kernelOp(Op &op, Function *f, uint3 grid, uint3 block, unsigned shared, void **params, void **extra) {
	if (!f || !machine->modules.count(f->module) || f->module->context != current)
		return INVALID_HANDLE;
	uint64_t n = uint64_t(block.x) * block.y * block.z;
	if (n == 0 || n > 1024 || block.z > 64 || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 2147483647u || grid.y > 65535 || grid.z > 65535 || shared) {
		say(f->name + ": a grid of (" + std::to_string(grid.x) + ", " + std::to_string(grid.y) + ", " + std::to_string(grid.z) + ") blocks of " + std::to_string(n) + " threads");
		return INVALID_VALUE;
	}
	op.kind = Op::KERNEL;
	op.function = f;
	op.grid = grid;
	op.block = block;
	return pack(f, params, extra, op.packed);
}

API cuLaunchKernel(Function *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, void *h, void **params, void **extra) {
	ENTER;
	STREAM(s, h);
	Op op;
	if (int e = kernelOp(op, f, {gx, gy, gz}, {bx, by, bz}, shared, params, extra)) {
		s->spoiled = s->capture;
		return e;
	}
	machine->count["launches"]++;
	return tell(s, op);
}

// Graphs.

API cuStreamBeginCapture_v2(void *h, int mode) {
	ENTER;
	STREAM(s, h);
	if (s->capture || !h)
		return CAPTURE_UNSUPPORTED;
	s->capture = new Graph;
	s->mode = mode;
	s->spoiled = false;
	s->last = nullptr;
	return OK;
}

API cuStreamEndCapture(void *h, Graph **out) {
	ENTER;
	STREAM(s, h);
	if (!s->capture)
		return CAPTURE_UNMATCHED;
	Graph *g = s->capture;
	s->capture = nullptr;
	if (s->spoiled) {
		delete g;
		*out = nullptr;
		return CAPTURE_INVALIDATED;
	}
	machine->graphs.insert(g);
	*out = g;
	return OK;
}

API cuStreamIsCapturing(void *h, int *status) {
	ENTER;
	STREAM(s, h);
	*status = !s->capture ? 0 : s->spoiled ? 2 : 1;
	return OK;
}

API cuStreamGetCaptureInfo_v2(void *h, int *status, uint64_t *id, Graph **g, void ***deps, size_t *n) {
	ENTER;
	STREAM(s, h);
	*status = !s->capture ? 0 : s->spoiled ? 2 : 1;
	if (*status != 1)
		return OK;
	if (id)
		*id = (uint64_t)s->capture;
	if (g)
		*g = s->capture;
	if (deps)
		*deps = &s->last;
	if (n)
		*n = s->last != nullptr;
	return OK;
}

API cuGraphGetNodes(Graph *g, Node **out, size_t *n) {
	ENTER;
	if (!machine->graphs.count(g))
		return INVALID_VALUE;
	if (out)
		for (size_t i = 0; i < std::min(*n, g->nodes.size()); i++)
			out[i] = g->nodes[i].get();
	*n = g->nodes.size();
	return OK;
}

API cuGraphNodeGetType(Node *n, int *type) {
	ENTER;
	Op::Kind k = n->graph->ops[n->index].kind;
	*type = k == Op::KERNEL ? 0 : k == Op::COPY ? 1 : k == Op::SET ? 2 : k == Op::GRAPH ? 4 : 5;
	return OK;
}

API cuGraphDestroy(Graph *g) {
	ENTER;
	if (!machine->graphs.erase(g))
		return INVALID_VALUE;
	delete g;
	return OK;
}

API cuGraphInstantiateWithFlags(Exec **out, Graph *g, uint64_t) {
	ENTER;
	if (!machine->graphs.count(g))
		return INVALID_VALUE;
	if (machine->failAlloc > 0 && --machine->failAlloc == 0)
		return OUT_OF_MEMORY;
	*out = new Exec{g, std::make_shared<std::vector<Op>>(g->ops), current};
	machine->execs.insert(*out);
	machine->count["instantiated"]++;
	return OK;
}

API cuGraphUpload(Exec *, void *) {
	ENTER;
	return OK;
}

API cuGraphExecDestroy(Exec *x) {
	ENTER;
	if (!machine->execs.erase(x))
		return INVALID_VALUE;
	delete x;
	machine->count["instantiated"]--;
	return OK;
}

API cuGraphLaunch(Exec *x, void *h) {
	ENTER;
	STREAM(s, h);
	if (!machine->execs.count(x) || x->context != current)
		return INVALID_VALUE;
	Op op;
	op.kind = Op::GRAPH;
	op.body = x->ops;
	machine->count["graphs"]++;
	return tell(s, op);
}

struct NodeParams {
	Function *function;
	unsigned grid[3], block[3], shared;
	void **params, **extra;
	void *kernel, *context;
};
static_assert(sizeof(NodeParams) == 72, "CUDA_KERNEL_NODE_PARAMS_v2");

API cuGraphExecKernelNodeSetParams_v2(Exec *x, Node *n, const NodeParams *p) {
	ENTER;
	if (!machine->execs.count(x) || !machine->graphs.count(x->from) || n->graph != x->from || n->index >= x->ops->size())
		return INVALID_VALUE;
	Op op;
	if ((*x->ops)[n->index].kind != Op::KERNEL)
		return INVALID_VALUE;
	if (int e = kernelOp(op, p->function, {p->grid[0], p->grid[1], p->grid[2]}, {p->block[0], p->block[1], p->block[2]}, p->shared, p->params, p->extra))
		return e;
	x->own()[n->index] = op;
	machine->count["nodes"]++;
	return OK;
}

API cuGraphExecUpdate_v2(Exec *x, Graph *g, int *info) {
	ENTER;
	if (!machine->execs.count(x) || !machine->graphs.count(g))
		return INVALID_VALUE;
	auto &ops = *x->ops;
	bool same = ops.size() == g->ops.size();
	for (size_t i = 0; same && i < ops.size(); i++)
		same = ops[i].kind == g->ops[i].kind && ops[i].bytes == g->ops[i].bytes;
	if (!same) {
		if (info)
			*info = 2; // the topology has changed
		return GRAPH_UPDATE_FAILURE;
	}
	if (info)
		*info = 0;
	x->own() = g->ops;
	machine->count["updates"]++;
	return OK;
}

API cuGetErrorName(int e, const char **s) {
	for (const Info &i : errors)
		if (i.code == e) {
			*s = i.name;
			return OK;
		}
	*s = nullptr;
	return INVALID_VALUE;
}

API cuGetErrorString(int e, const char **s) {
	for (const Info &i : errors)
		if (i.code == e) {
			*s = i.text;
			return OK;
		}
	*s = nullptr;
	return INVALID_VALUE;
}
