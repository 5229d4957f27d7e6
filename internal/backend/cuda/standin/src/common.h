// What the stand-ins have in common: the record of calls, faults, numbers, the queue.
#pragma once
#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

std::string record;
std::string failing;
int failStatus = 0, failAfter = 0;

// enter writes a call down. It returns the status that the call is to fail with, or 0.
__attribute__((format(printf, 2, 3))) int enter(const char *name, const char *format, ...) {
  char text[4096];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  record += name;
  if (*text) record += " ", record += text;
  record += "\n";
  if (failing == name && failAfter-- <= 0) {
    failing.clear();
    return failStatus;
  }
  return 0;
}

int enter(const char *name) { return enter(name, "%s", ""); }

inline float bits(uint32_t u) {
  float f;
  memcpy(&f, &u, 4);
  return f;
}

// half is the number whose bits in binary16 are h.
inline double half(uint16_t h) {
  int e = h >> 10 & 31, m = h & 1023;
  double v = e == 31 ? (m ? NAN : INFINITY) : e ? std::ldexp(1024 + m, e - 25) : std::ldexp(m, -24);
  return h & 0x8000 ? -v : v;
}

// rounded is v to a number of significant binary digits, to nearest even, with exponents
// from least on.
inline double rounded(double v, int digits, int least) {
  if (v == 0 || v != v || std::isinf(v)) return v;
  int e;
  std::frexp(v, &e);
  int unit = std::max(e, least) - digits;
  return std::ldexp(std::nearbyint(std::ldexp(v, -unit)), unit);
}

// load and store take an element by CUDA's number of its type: 0 float32, 1 float64,
// 2 float16, 14 bfloat16.
inline double load(int type, const uint8_t *p, int64_t i) {
  uint16_t h;
  switch (type) {
  case 0: { float f; memcpy(&f, p + 4 * i, 4); return f; }
  case 1: { double f; memcpy(&f, p + 8 * i, 8); return f; }
  case 2: memcpy(&h, p + 2 * i, 2); return half(h);
  case 14: memcpy(&h, p + 2 * i, 2); return bits((uint32_t)h << 16);
  }
  std::abort();
}

inline void store(int type, uint8_t *p, int64_t i, double v) {
  uint16_t h;
  switch (type) {
  case 0: { float f = (float)v; memcpy(p + 4 * i, &f, 4); return; }
  case 1: memcpy(p + 8 * i, &v, 8); return;
  case 2: {
    double r = rounded(v, 11, -13);
    double a = std::fabs(r);
    if (v != v) h = 0x7e00;
    else if (a >= 65520) h = 0x7c00;
    else if (a < std::ldexp(1, -14)) h = (uint16_t)std::ldexp(a, 24);
    else {
      int e;
      double m = std::frexp(a, &e);
      h = (uint16_t)((e + 14) << 10 | (int)(std::ldexp(m, 11) - 1024));
    }
    if (std::signbit(v)) h |= 0x8000;
    memcpy(p + 2 * i, &h, 2);
    return;
  }
  case 14: {
    float f = v != v ? NAN : (float)rounded(v, 8, -125);
    uint32_t u;
    memcpy(&u, &f, 4);
    h = u >> 16;
    memcpy(p + 2 * i, &h, 2);
    return;
  }
  }
  std::abort();
}

// enqueue does something in the order of a stream: at once, or by the driver's function,
// so that it becomes part of a graph that is being captured. Then it may be done again and
// again, and is kept.
int (*launchHostFunc)(void *, void (*)(void *), void *) = nullptr;

inline int enqueue(void *stream, void (*f)(void *), void *data, void (*destroy)(void *)) {
  if (launchHostFunc) return launchHostFunc(stream, f, data) ? 13 : 0;
  f(data);
  destroy(data);
  return 0;
}

}  // namespace

EXPORT const char *standinRecord() { return record.c_str(); }
EXPORT void standinClear() { record.clear(), failing.clear(); }
EXPORT void standinFail(const char *name, int status, int after) { failing = name, failStatus = status, failAfter = after; }
EXPORT void standinDriver(void *f) { launchHostFunc = (int (*)(void *, void (*)(void *), void *))f; }
