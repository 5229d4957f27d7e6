// An NVML whose devices stand in the file "scenario" beside it. See nvmltest.go for what the
// file says. It is read anew whenever it has changed.

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>

#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace {

enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, UNSUPPORTED = 3, NOPERMISSION = 4, NOTFOUND = 6, SIZE = 7, TIMEOUT = 10, LOST = 15, VERSION = 25 };

typedef std::vector<std::string> words;

struct device {
	std::string uuid, name;
	std::map<std::string, words> values;
	std::vector<words> processes, xids;
	std::vector<device> slices;
};

struct scenario {
	std::string driver = "580.65.06";
	int cuda = 13000, init = OK;
	std::vector<device> devices;
};

std::mutex lock;
scenario now;
int users;
std::map<std::string, int> readings; // of a device: how often its power was asked for
std::map<std::string, int> told;     // XIDs
time_t written;

std::string beside(const char *name) {
	Dl_info info;
	dladdr((void *)&beside, &info);
	std::string path = info.dli_fname;
	return path.substr(0, path.rfind('/') + 1) + name;
}

words split(const std::string &line) {
	words w;
	size_t i = 0;
	while (i < line.size()) {
		size_t j = line.find_first_not_of(" \t\r\n", i);
		if (j == std::string::npos)
			break;
		i = line.find_first_of(" \t\r\n", j);
		if (i == std::string::npos)
			i = line.size();
		w.push_back(line.substr(j, i - j));
	}
	return w;
}

std::string rest(const words &w, size_t from) {
	std::string s;
	for (size_t i = from; i < w.size(); i++)
		s += (i > from ? " " : "") + w[i];
	return s;
}

void load() {
	static struct stat last;
	struct stat st;
	std::string path = beside("scenario");
	if (stat(path.c_str(), &st) != 0 || (st.st_ino == last.st_ino && st.st_mtim.tv_nsec == last.st_mtim.tv_nsec && st.st_mtim.tv_sec == last.st_mtim.tv_sec && st.st_size == last.st_size))
		return;
	FILE *f = fopen(path.c_str(), "r");
	if (!f)
		return;
	last = st;
	written = st.st_mtim.tv_sec;
	now = scenario();
	char line[4096];
	device *at = nullptr;
	while (fgets(line, sizeof line, f)) {
		words w = split(line);
		if (w.empty() || w[0][0] == '#')
			continue;
		if (w[0] == "driver" && w.size() > 1)
			now.driver = w[1];
		else if (w[0] == "cuda" && w.size() > 1)
			now.cuda = atoi(w[1].c_str());
		else if (w[0] == "init" && w.size() > 1)
			now.init = atoi(w[1].c_str());
		else if (w[0] == "device" && w.size() > 2) {
			now.devices.push_back(device());
			at = &now.devices.back();
			at->uuid = w[1];
			at->name = rest(w, 2);
		} else if (w[0] == "slice" && w.size() > 2 && at) {
			device &card = now.devices.back();
			card.slices.push_back(device());
			at = &card.slices.back();
			at->uuid = w[1];
			at->name = rest(w, 2);
		} else if (w[0] == "process" && at)
			at->processes.push_back(w);
		else if (w[0] == "xid" && at)
			at->xids.push_back(w);
		else if (at)
			at->values[w[0]] = w;
		else
			fprintf(stderr, "nvmltest: scenario: a line that is not understood: %s", line);
	}
	fclose(f);
}

// Handles: 0x100 and on for devices, 0x1000 + 16·device and on for slices.
device *find(uint64_t h, device **parent = nullptr) {
	load();
	size_t i = h >= 0x1000 ? (h - 0x1000) / 16 : h - 0x100, j = h % 16;
	if (h < 0x100 || i >= now.devices.size())
		return nullptr;
	device *d = &now.devices[i];
	if (parent)
		*parent = d;
	if (h < 0x1000)
		return d;
	return j < d->slices.size() ? &d->slices[j] : nullptr;
}

bool lost(const device &d) {
	auto v = d.values.find("lost");
	if (v == d.values.end())
		return false;
	return v->second.size() < 3 || readings[d.uuid] > atoi(v->second[2].c_str());
}

// begin is what every function of a device begins with.
int begin(uint64_t h, device **d) {
	device *parent = nullptr;
	if (users == 0)
		return UNINITIALIZED;
	*d = find(h, &parent);
	if (!*d)
		return INVALID;
	return lost(*parent) ? LOST : OK;
}

// number is the i-th number of a value, or why there is none.
int number(device *d, const char *name, size_t i, double *out) {
	auto v = d->values.find(name);
	if (v == d->values.end() || v->second.size() < 2)
		return UNSUPPORTED;
	const words &w = v->second;
	if (w[1] == "unsupported")
		return UNSUPPORTED;
	if (w[1] == "nopermission")
		return NOPERMISSION;
	if (w[1] == "error")
		return w.size() > 2 ? atoi(w[2].c_str()) : 999;
	if (w[1] == "ramp" && w.size() > 3) {
		*out = atof(w[2].c_str()) + atof(w[3].c_str()) * readings[d->uuid];
		return OK;
	}
	if (w[1] == "rate" && w.size() > 3) {
		struct timespec t;
		clock_gettime(CLOCK_REALTIME, &t);
		*out = atof(w[2].c_str()) + atof(w[3].c_str()) * (t.tv_sec - written + t.tv_nsec / 1e9);
		return OK;
	}
	if (i + 1 >= w.size())
		return UNSUPPORTED;
	*out = w[i + 1].compare(0, 2, "0x") == 0 ? (double)strtoull(w[i + 1].c_str(), nullptr, 16) : atof(w[i + 1].c_str());
	return OK;
}

template <typename T> int get(uint64_t h, const char *name, T *out, size_t i = 0) {
	std::lock_guard<std::mutex> l(lock);
	device *d;
	double v = 0;
	int r = begin(h, &d);
	if (r == OK)
		r = number(d, name, i, &v);
	if (r == OK)
		*out = (T)v;
	return r;
}

// A limit that was set stands in the file "limits", for every process and for the test.
int limit(uint64_t h, unsigned *out) {
	unsigned v = 0;
	int r = get(h, "limit", &v);
	if (r != OK)
		return r;
	std::lock_guard<std::mutex> l(lock);
	device *d = find(h);
	if (FILE *f = fopen(beside("limits").c_str(), "r")) {
		char uuid[256];
		unsigned mw;
		while (fscanf(f, "%255s %u", uuid, &mw) == 2)
			if (d && d->uuid == uuid)
				v = mw;
		fclose(f);
	}
	*out = v;
	return OK;
}

int text(char *out, unsigned n, const std::string &s) {
	if (s.size() + 1 > n)
		return SIZE;
	memcpy(out, s.c_str(), s.size() + 1);
	return OK;
}

} // namespace

extern "C" {

const char *nvmlErrorString(int r) {
	switch (r) {
	case OK: return "Success";
	case UNINITIALIZED: return "Uninitialized";
	case INVALID: return "Invalid Argument";
	case UNSUPPORTED: return "Not Supported";
	case NOPERMISSION: return "Insufficient Permissions";
	case NOTFOUND: return "Not Found";
	case 9: return "Driver Not Loaded";
	case LOST: return "GPU is lost";
	case 18: return "Driver/library version mismatch";
	}
	return "Unknown Error";
}

int nvmlInit_v2() {
	std::lock_guard<std::mutex> l(lock);
	load();
	if (now.init == OK)
		users++;
	return now.init;
}
int nvmlShutdown() {
	std::lock_guard<std::mutex> l(lock);
	if (users == 0)
		return UNINITIALIZED;
	users--;
	return OK;
}
int nvmlSystemGetDriverVersion(char *s, unsigned n) { load(); return text(s, n, now.driver); }
int nvmlSystemGetNVMLVersion(char *s, unsigned n) { load(); return text(s, n, "13." + now.driver); }
int nvmlSystemGetCudaDriverVersion_v2(int *v) { load(); *v = now.cuda; return OK; }
int nvmlDeviceGetCount_v2(unsigned *n) {
	std::lock_guard<std::mutex> l(lock);
	if (users == 0)
		return UNINITIALIZED;
	load();
	*n = now.devices.size();
	return OK;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned i, uint64_t *h) {
	std::lock_guard<std::mutex> l(lock);
	load();
	if (i >= now.devices.size())
		return INVALID;
	*h = 0x100 + i;
	return lost(now.devices[i]) ? LOST : OK;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, uint64_t *h) {
	std::lock_guard<std::mutex> l(lock);
	load();
	for (size_t i = 0; i < now.devices.size(); i++) {
		if (now.devices[i].uuid == uuid) {
			*h = 0x100 + i;
			return OK;
		}
		for (size_t j = 0; j < now.devices[i].slices.size(); j++)
			if (now.devices[i].slices[j].uuid == uuid) {
				*h = 0x1000 + 16 * i + j;
				return OK;
			}
	}
	return NOTFOUND;
}
int nvmlDeviceGetHandleByPciBusId_v2(const char *id, uint64_t *h) {
	std::lock_guard<std::mutex> l(lock);
	load();
	for (size_t i = 0; i < now.devices.size(); i++) {
		auto v = now.devices[i].values.find("pci");
		if (v != now.devices[i].values.end() && v->second.size() > 1 && strcasecmp(v->second[1].c_str(), id) == 0) {
			*h = 0x100 + i;
			return OK;
		}
	}
	return NOTFOUND;
}
int nvmlDeviceGetName(uint64_t h, char *s, unsigned n) {
	std::lock_guard<std::mutex> l(lock);
	device *d;
	int r = begin(h, &d);
	return r ? r : text(s, n, d->name);
}
int nvmlDeviceGetUUID(uint64_t h, char *s, unsigned n) {
	std::lock_guard<std::mutex> l(lock);
	device *d;
	int r = begin(h, &d);
	return r ? r : text(s, n, d->uuid);
}
int nvmlDeviceGetPciInfo_v3(uint64_t h, char *p) {
	std::lock_guard<std::mutex> l(lock);
	device *d;
	int r = begin(h, &d);
	if (r)
		return r;
	auto v = d->values.find("pci");
	if (v == d->values.end() || v->second.size() < 2)
		return UNSUPPORTED;
	memset(p, 0, 68);
	return text(p + 36, 32, v->second[1]);
}
int nvmlDeviceGetCudaComputeCapability(uint64_t h, int *a, int *b) {
	int r = get(h, "capability", a);
	return r ? r : get(h, "capability", b, 1);
}
int nvmlDeviceGetMinorNumber(uint64_t h, unsigned *v) { return get(h, "minor", v); }
int nvmlDeviceGetUtilizationRates(uint64_t h, unsigned *u) {
	int r = get(h, "utilization", &u[0]);
	return r ? r : get(h, "utilization", &u[1], 1);
}
int nvmlDeviceGetMemoryInfo_v2(uint64_t h, uint64_t *m) {
	if ((unsigned)m[0] != 0x2000028)
		return VERSION;
	uint64_t total = 0, reserved = 0, used = 0;
	int r = get(h, "memory", &total);
	if (r || (r = get(h, "memory", &reserved, 1)) || (r = get(h, "memory", &used, 2)))
		return r;
	m[1] = total, m[2] = reserved, m[3] = total - reserved - used, m[4] = used;
	return OK;
}
int nvmlDeviceGetMemoryInfo(uint64_t h, uint64_t *m) {
	uint64_t v2[5] = {0x2000028};
	int r = nvmlDeviceGetMemoryInfo_v2(h, v2);
	m[0] = v2[1], m[1] = v2[3], m[2] = v2[4] + v2[2];
	return r;
}
int nvmlDeviceGetPowerUsage(uint64_t h, unsigned *v) {
	{
		std::lock_guard<std::mutex> l(lock);
		device *d = find(h);
		if (d)
			readings[d->uuid]++;
	}
	return get(h, "power", v);
}
int nvmlDeviceGetTotalEnergyConsumption(uint64_t h, uint64_t *v) { return get(h, "energy", v); }
int nvmlDeviceGetPowerManagementLimit(uint64_t h, unsigned *v) { return limit(h, v); }
int nvmlDeviceGetEnforcedPowerLimit(uint64_t h, unsigned *v) {
	int r = get(h, "enforced", v);
	return r == UNSUPPORTED ? limit(h, v) : r;
}
int nvmlDeviceGetPowerManagementDefaultLimit(uint64_t h, unsigned *v) { return get(h, "default", v); }
int nvmlDeviceGetPowerManagementLimitConstraints(uint64_t h, unsigned *a, unsigned *b) {
	int r = get(h, "constraints", a);
	return r ? r : get(h, "constraints", b, 1);
}
int nvmlDeviceSetPowerManagementLimit(uint64_t h, unsigned mw) {
	unsigned least = 0, greatest = 0, ignored;
	int r = get(h, "set", &ignored); // "set nopermission"
	if (r != OK && r != UNSUPPORTED)
		return r;
	if ((r = nvmlDeviceGetPowerManagementLimitConstraints(h, &least, &greatest)))
		return r;
	if (mw < least || mw > greatest)
		return INVALID;
	std::lock_guard<std::mutex> l(lock);
	FILE *f = fopen(beside("limits").c_str(), "a");
	if (!f)
		return NOPERMISSION;
	fprintf(f, "%s %u\n", find(h)->uuid.c_str(), mw);
	return fclose(f) == 0 ? OK : 999;
}
int nvmlDeviceGetClockInfo(uint64_t h, int c, unsigned *v) { return get(h, c == 0 ? "clock_graphics" : c == 1 ? "clock_sm" : c == 2 ? "clock_memory" : "clock_video", v); }
int nvmlDeviceGetMaxClockInfo(uint64_t h, int c, unsigned *v) { return get(h, c == 0 ? "max_graphics" : c == 1 ? "max_sm" : c == 2 ? "max_memory" : "max_video", v); }
int nvmlDeviceGetTemperature(uint64_t h, int sensor, unsigned *v) { return get(h, "temperature", v); }
int nvmlDeviceGetTemperatureThreshold(uint64_t h, int t, unsigned *v) { return get(h, t == 0 ? "shutdown" : t == 1 ? "slowdown" : "max_temperature", v); }
int nvmlDeviceGetPcieThroughput(uint64_t h, int c, unsigned *v) { return get(h, c == 0 ? "pcie_sent" : "pcie_received", v); }
int nvmlDeviceGetCurrPcieLinkGeneration(uint64_t h, unsigned *v) { return get(h, "pcie", v); }
int nvmlDeviceGetCurrPcieLinkWidth(uint64_t h, unsigned *v) { return get(h, "pcie", v, 1); }
int nvmlDeviceGetMaxPcieLinkGeneration(uint64_t h, unsigned *v) { return get(h, "pcie_max", v); }
int nvmlDeviceGetMaxPcieLinkWidth(uint64_t h, unsigned *v) { return get(h, "pcie_max", v, 1); }
int nvmlDeviceGetPersistenceMode(uint64_t h, unsigned *v) { return get(h, "persistence", v); }
int nvmlDeviceGetCurrentClocksEventReasons(uint64_t h, uint64_t *v) { return get(h, "reasons", v); }

struct process { unsigned pid; uint64_t memory; unsigned instance, compute; };
int nvmlDeviceGetComputeRunningProcesses_v3(uint64_t h, unsigned *n, process *p) {
	std::lock_guard<std::mutex> l(lock);
	device *d;
	int r = begin(h, &d);
	if (r)
		return r;
	auto v = d->values.find("processes"); // "processes nopermission"
	double ignored;
	if (v != d->values.end() && (r = number(d, "processes", 0, &ignored)))
		return r;
	if (*n < d->processes.size()) {
		*n = d->processes.size();
		return SIZE;
	}
	*n = d->processes.size();
	for (size_t i = 0; i < d->processes.size(); i++) {
		const words &w = d->processes[i];
		p[i].pid = w.size() > 1 ? strtoul(w[1].c_str(), nullptr, 10) : 0;
		p[i].memory = w.size() > 2 ? strtoull(w[2].c_str(), nullptr, 10) : ~0ull;
		p[i].instance = p[i].compute = ~0u;
	}
	return OK;
}

struct field { unsigned id, scope; int64_t time, latency; int type, result; union { double d; unsigned u; uint64_t l; } value; };
int nvmlDeviceGetFieldValues(uint64_t h, int n, field *f) {
	for (int i = 0; i < n; i++) {
		f[i].type = 1;
		f[i].value.l = 0;
		f[i].result = f[i].id == 82 ? get(h, "memory_temperature", &f[i].value.u) : f[i].id == 186 ? get(h, "power_instant", &f[i].value.u) : f[i].id == 185 ? get(h, "power", &f[i].value.u) : UNSUPPORTED;
		if (f[i].result == LOST || f[i].result == UNINITIALIZED)
			return f[i].result;
	}
	return OK;
}
int nvmlDeviceGetEccMode(uint64_t h, unsigned *a, unsigned *b) {
	int r = get(h, "ecc", a);
	*b = *a;
	return r;
}
int nvmlDeviceGetTotalEccErrors(uint64_t h, int type, int counter, uint64_t *v) { return get(h, type == 0 ? "ecc_corrected" : "ecc_uncorrected", v); }

int nvmlEventSetCreate(uint64_t *s) { *s = 1; return OK; }
int nvmlEventSetFree(uint64_t s) { return OK; }
int nvmlDeviceGetSupportedEventTypes(uint64_t h, uint64_t *v) {
	std::lock_guard<std::mutex> l(lock);
	device *d;
	int r = begin(h, &d);
	if (r)
		return r;
	auto e = d->values.find("events"); // "events unsupported"
	*v = e == d->values.end() ? 8 : 0;
	return OK;
}
int nvmlDeviceRegisterEvents(uint64_t h, uint64_t types, uint64_t set) { return OK; }
struct event { uint64_t device, type, data; unsigned instance, compute; };
int nvmlEventSetWait_v2(uint64_t set, event *e, unsigned ms) {
	{
		std::lock_guard<std::mutex> l(lock);
		load();
		for (size_t i = 0; i < now.devices.size(); i++) {
			device &d = now.devices[i];
			int &n = told[d.uuid];
			if (n >= (int)d.xids.size())
				continue;
			const words &w = d.xids[n];
			if (w.size() > 3 && readings[d.uuid] < atoi(w[3].c_str()))
				continue;
			n++;
			*e = {0x100 + i, 8, w.size() > 1 ? strtoull(w[1].c_str(), nullptr, 10) : 999, ~0u, ~0u};
			return OK;
		}
	}
	if (ms > 0) {
		struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
		nanosleep(&t, nullptr);
	}
	return TIMEOUT;
}
int nvmlDeviceGetMigMode(uint64_t h, unsigned *a, unsigned *b) {
	int r = get(h, "mig", a);
	*b = *a;
	return r;
}
int nvmlDeviceIsMigDeviceHandle(uint64_t h, unsigned *v) { *v = h >= 0x1000; return OK; }
int nvmlDeviceGetGpuInstanceId(uint64_t h, unsigned *v) { *v = h % 16 + 7; return h >= 0x1000 ? OK : UNSUPPORTED; }
int nvmlDeviceGetComputeInstanceId(uint64_t h, unsigned *v) { *v = 0; return h >= 0x1000 ? OK : UNSUPPORTED; }
int nvmlDeviceGetMaxMigDeviceCount(uint64_t h, unsigned *n) { *n = 7; return OK; }
int nvmlDeviceGetMigDeviceHandleByIndex(uint64_t h, unsigned i, uint64_t *m) {
	std::lock_guard<std::mutex> l(lock);
	device *d;
	int r = begin(h, &d);
	if (r)
		return r;
	if (h >= 0x1000 || i >= d->slices.size())
		return NOTFOUND;
	*m = 0x1000 + 16 * (h - 0x100) + i;
	return OK;
}
int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(uint64_t m, uint64_t *h) {
	if (m < 0x1000)
		return INVALID;
	*h = 0x100 + (m - 0x1000) / 16;
	return OK;
}
}
