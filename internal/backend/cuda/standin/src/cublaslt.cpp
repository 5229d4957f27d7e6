// A stand-in for cuBLASLt. It keeps to the library's header (CUDA 12.9): objects hold
// their attributes as the bytes that were set, a product is computed from them alone and
// in double precision, and what the documents forbid is refused. Device memory is the
// host's.
//
// Every call is written down, every object counted.
#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>
#include "common.h"

namespace {

enum { SUCCESS = 0, NOT_INITIALIZED = 1, ALLOC_FAILED = 3, INVALID_VALUE = 7, NOT_SUPPORTED = 15 };

struct Object {
  int kind;  // 1 handle, 2 product, 3 layout, 4 preference
  int32_t compute = 0, scale = 0, type = 0;
  uint64_t rows = 0, cols = 0;
  int64_t ld = 0;
  std::map<int, std::vector<uint8_t>> attrs;

  template <class T> T get(int attr, T none) const {
    auto it = attrs.find(attr);
    if (it == attrs.end()) return none;
    T v;
    if (it->second.size() != sizeof v) std::abort();
    memcpy(&v, it->second.data(), sizeof v);
    return v;
  }
};

std::set<Object *> objects;
bool reluKeepsNaN = true;

Object *object(void *p, int kind) {
  auto it = objects.find((Object *)p);
  return it != objects.end() && (*it)->kind == kind ? *it : nullptr;
}

int create(void **out, int kind) {
  auto *o = new Object{kind};
  objects.insert(o);
  *out = o;
  return SUCCESS;
}

int destroy(void *p, int kind) {
  Object *o = object(p, kind);
  if (!o) return INVALID_VALUE;
  objects.erase(o);
  delete o;
  return SUCCESS;
}

// Sizes of attributes, as the header documents them.
size_t sizeOf(int kind, int attr) {
  static const std::map<int, size_t> product = {{0, 4}, {1, 4}, {2, 4}, {3, 4}, {4, 4}, {5, 4}, {6, 4}, {7, 4}, {8, 8}, {10, 8}, {11, 8}, {12, 8}, {13, 8}, {22, 4}, {26, 4}};
  static const std::map<int, size_t> layout = {{0, 4}, {1, 4}, {2, 8}, {3, 8}, {4, 8}, {5, 4}, {6, 8}};
  static const std::map<int, size_t> preference = {{0, 4}, {1, 8}, {3, 4}, {5, 4}, {6, 4}, {7, 4}, {8, 4}};
  auto &table = kind == 2 ? product : kind == 3 ? layout : preference;
  auto it = table.find(attr);
  return it == table.end() ? 0 : it->second;
}

int set(const char *name, void *p, int kind, int attr, const void *value, size_t size) {
  std::string hex;
  for (size_t i = 0; i < size; i++) {
    char b[3];
    snprintf(b, sizeof b, "%02x", ((const uint8_t *)value)[i]);
    hex += b;
  }
  if (int s = enter(name, "%d=%s", attr, hex.c_str())) return s;
  Object *o = object(p, kind);
  if (!o || sizeOf(kind, attr) != size) return INVALID_VALUE;
  o->attrs[attr] = std::vector<uint8_t>((const uint8_t *)value, (const uint8_t *)value + size);
  return SUCCESS;
}

// What an algorithm of the stand-in is: the alignment and the workspace that it needs.
struct Algo {
  uint64_t magic, align, workspace, number, rest[4];
};
struct Result {
  Algo algo;
  uint64_t workspace;
  int32_t state;
  float waves;
  int32_t reserved[4];
};
static_assert(sizeof(Result) == 96, "layout");
const uint64_t magic = 0x53696e746572;

bool low(int t) { return t == 2 || t == 14; }

// check is what the documents say about a product, its types and extents.
int check(Object *d, Object *a, Object *b, Object *c, Object *out) {
  int ta = d->get<int32_t>(3, 0), tb = d->get<int32_t>(4, 0);
  uint32_t e = d->get<uint32_t>(7, 1);
  uint64_t m = ta ? a->cols : a->rows, k = ta ? a->rows : a->cols;
  uint64_t n = tb ? b->rows : b->cols, kb = tb ? b->cols : b->rows;
  if (k != kb || m != out->rows || n != out->cols || c->rows != m || c->cols != n) return INVALID_VALUE;
  for (Object *x : {a, b, c, out}) {
    if (x->ld < (int64_t)x->rows || !x->rows || !x->cols) return INVALID_VALUE;
    if (x->get<int32_t>(5, 1) != out->get<int32_t>(5, 1)) return INVALID_VALUE;
    if (x->get<int64_t>(6, 0) < 0) return NOT_SUPPORTED;
  }
  if (a->type != b->type || c->type != out->type) return NOT_SUPPORTED;
  switch (d->compute) {
  case 68:
    if (d->scale != 0 || !(low(a->type) || a->type == 0) || !(out->type == a->type || out->type == 0)) return NOT_SUPPORTED;
    break;
  case 69: case 77:
    if (d->scale != 0 || a->type != 0 || out->type != 0) return NOT_SUPPORTED;
    break;
  case 70:
    if (d->scale != 1 || a->type != 1 || out->type != 1) return NOT_SUPPORTED;
    break;
  default:
    return NOT_SUPPORTED;
  }
  switch (e) {
  case 1: case 2: case 4: case 6: case 32: case 36: case 160: case 164: case 192: case 256: case 512: break;
  default: return NOT_SUPPORTED;
  }
  if (d->compute == 70 && e != 1) return NOT_SUPPORTED;
  if (e & (4 | 256 | 512)) {
    if (!d->get<uint64_t>(8, 0)) return INVALID_VALUE;
    int t = d->get<int32_t>(26, -1);
    if (t != -1 && t != out->type) return NOT_SUPPORTED;
  }
  if (e == 160 || e == 164 || e == 192) {
    if (!d->get<uint64_t>(11, 0)) return INVALID_VALUE;
    int64_t ld = d->get<int64_t>(12, 0);
    if (ld % 8 || ld < (int64_t)out->rows || !low(out->type)) return NOT_SUPPORTED;
    if (out->get<int32_t>(5, 1) > 1 && d->get<int64_t>(13, 0) <= 0) return INVALID_VALUE;
  }
  // There is one vector of sums, so one product.
  if (e >= 256 && out->get<int32_t>(5, 1) > 1) return NOT_SUPPORTED;
  return SUCCESS;
}

double gelu(double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }
double dgelu(double x) {
  double c = std::sqrt(2 / M_PI), t = std::tanh(c * (x + 0.044715 * x * x * x));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x);
}

// sums adds up op(x), [rows, cols], over its columns, or over its rows.
void sums(const Object &x, const uint8_t *p, bool transposed, uint64_t rows, uint64_t cols, bool overColumns, int type, uint8_t *to) {
  for (uint64_t i = 0; i < (overColumns ? rows : cols); i++) {
    double sum = 0;
    for (uint64_t j = 0; j < (overColumns ? cols : rows); j++) {
      uint64_t r = overColumns ? i : j, c = overColumns ? j : i;
      sum += load(x.type, p, transposed ? c + r * x.ld : r + c * x.ld);
    }
    store(type, to, i, sum);
  }
}

// Product is a call, with all that it needs later.
struct Product {
  Object d, a, b, c, out;
  double alpha, beta;
  const uint8_t *pa, *pb, *pc;
  uint8_t *pd;

  void run() {
    int ta = d.get<int32_t>(3, 0), tb = d.get<int32_t>(4, 0);
    uint32_t e = d.get<uint32_t>(7, 1);
    uint64_t m = out.rows, n = out.cols, k = ta ? a.rows : a.cols;
    auto bias = (const uint8_t *)d.get<uint64_t>(8, 0);
    auto aux = (uint8_t *)d.get<uint64_t>(11, 0);
    int64_t auxLD = d.get<int64_t>(12, 0), auxBatch = d.get<int64_t>(13, 0);
    for (int64_t batch = 0; batch < out.get<int32_t>(5, 1); batch++) {
      int64_t ba = batch * a.get<int64_t>(6, 0), bb = batch * b.get<int64_t>(6, 0);
      int64_t bc = batch * c.get<int64_t>(6, 0), bd = batch * out.get<int64_t>(6, 0);
      for (uint64_t j = 0; j < n; j++)
        for (uint64_t i = 0; i < m; i++) {
          double sum = 0;
          for (uint64_t l = 0; l < k; l++)
            sum += load(a.type, pa, ba + (ta ? l + i * a.ld : i + l * a.ld)) * load(b.type, pb, bb + (tb ? j + l * b.ld : l + j * b.ld));
          double v = alpha * sum;
          if (beta != 0) v += beta * load(c.type, pc, bc + i + j * c.ld);
          if (e & 4) v += load(out.type, bias, i);
          if (e & 2) v = v != v && reluKeepsNaN ? v : v > 0 ? v : 0;
          if (e == 160 || e == 164) store(out.type, aux, batch * auxBatch + i + j * auxLD, v);
          if (e == 192)
            v *= dgelu(load(out.type, aux, batch * auxBatch + i + j * auxLD));
          else if (e & 32)
            v = gelu(v);
          store(out.type, pd, bd + i + j * out.ld, v);
        }
    }
    if (e == 256) sums(a, pa, ta, m, k, true, out.type, (uint8_t *)bias);
    if (e == 512) sums(b, pb, tb, k, n, false, out.type, (uint8_t *)bias);
  }
};

void runProduct(void *p) {
  auto *x = (Product *)p;
  x->run();
}

}  // namespace

EXPORT size_t cublasLtGetVersion() { return 120903; }
EXPORT int cublasLtCreate(void **h) {
  if (int s = enter("cublasLtCreate")) return s;
  return create(h, 1);
}
EXPORT int cublasLtDestroy(void *h) {
  if (int s = enter("cublasLtDestroy")) return s;
  return destroy(h, 1);
}
EXPORT int cublasLtMatmulDescCreate(void **d, int32_t compute, int32_t scale) {
  if (int s = enter("cublasLtMatmulDescCreate", "%d %d", compute, scale)) return s;
  create(d, 2);
  ((Object *)*d)->compute = compute;
  ((Object *)*d)->scale = scale;
  return SUCCESS;
}
EXPORT int cublasLtMatmulDescDestroy(void *d) {
  if (int s = enter("cublasLtMatmulDescDestroy")) return s;
  return destroy(d, 2);
}
EXPORT int cublasLtMatmulDescSetAttribute(void *d, int attr, const void *v, size_t n) { return set("cublasLtMatmulDescSetAttribute", d, 2, attr, v, n); }
EXPORT int cublasLtMatrixLayoutCreate(void **l, int32_t type, uint64_t rows, uint64_t cols, int64_t ld) {
  if (int s = enter("cublasLtMatrixLayoutCreate", "%d %llu %llu %lld", type, (unsigned long long)rows, (unsigned long long)cols, (long long)ld)) return s;
  create(l, 3);
  auto *o = (Object *)*l;
  o->type = type, o->rows = rows, o->cols = cols, o->ld = ld;
  return SUCCESS;
}
EXPORT int cublasLtMatrixLayoutDestroy(void *l) {
  if (int s = enter("cublasLtMatrixLayoutDestroy")) return s;
  return destroy(l, 3);
}
EXPORT int cublasLtMatrixLayoutSetAttribute(void *l, int attr, const void *v, size_t n) { return set("cublasLtMatrixLayoutSetAttribute", l, 3, attr, v, n); }
EXPORT int cublasLtMatmulPreferenceCreate(void **p) {
  if (int s = enter("cublasLtMatmulPreferenceCreate")) return s;
  return create(p, 4);
}
EXPORT int cublasLtMatmulPreferenceDestroy(void *p) {
  if (int s = enter("cublasLtMatmulPreferenceDestroy")) return s;
  return destroy(p, 4);
}
EXPORT int cublasLtMatmulPreferenceSetAttribute(void *p, int attr, const void *v, size_t n) { return set("cublasLtMatmulPreferenceSetAttribute", p, 4, attr, v, n); }

// The stand-in's algorithms: one that wants operands aligned to 16 bytes and a workspace
// of 4 KiB, one that wants the alignment only, and one that wants nothing.
EXPORT int cublasLtMatmulAlgoGetHeuristic(void *h, void *d, void *a, void *b, void *c, void *out, void *pref, int n, Result *results, int *got) {
  if (int s = enter("cublasLtMatmulAlgoGetHeuristic", "%d", n)) return s;
  Object *od = object(d, 2), *oa = object(a, 3), *ob = object(b, 3), *oc = object(c, 3), *oo = object(out, 3), *op = object(pref, 4);
  if (!object(h, 1) || !od || !oa || !ob || !oc || !oo || !op || n < 1) return INVALID_VALUE;
  *got = 0;
  if (int s = check(od, oa, ob, oc, oo)) return s;
  uint64_t most = op->get<uint64_t>(1, 0);
  uint32_t align = 256;
  for (int i = 5; i <= 8; i++) align = std::min(align, op->get<uint32_t>(i, 256));
  const Algo all[] = {{magic, 16, 4096, 1}, {magic, 16, 0, 2}, {magic, 1, 0, 3}};
  for (auto &algo : all)
    if (*got < n && algo.align <= align && algo.workspace <= most) {
      memset(&results[*got], 0, sizeof(Result));
      results[*got].algo = algo;
      results[*got].workspace = algo.workspace;
      ++*got;
    }
  return *got ? SUCCESS : NOT_SUPPORTED;
}

EXPORT int cublasLtMatmul(void *h, void *d, const void *alpha, const void *a, void *la, const void *b, void *lb, const void *beta,
                          const void *c, void *lc, void *out, void *lo, const Algo *algo, void *work, size_t workBytes, void *stream) {
  Object *od = object(d, 2), *oa = object(la, 3), *ob = object(lb, 3), *oc = object(lc, 3), *oo = object(lo, 3);
  if (int s = enter("cublasLtMatmul", "algo %llu workspace %zu", algo ? (unsigned long long)algo->number : 0, workBytes)) return s;
  if (!object(h, 1) || !od || !oa || !ob || !oc || !oo || !algo || algo->magic != magic) return INVALID_VALUE;
  if (int s = check(od, oa, ob, oc, oo)) return s;
  for (const void *p : {a, b, c, (const void *)out})
    if (!p || (uintptr_t)p % algo->align) return INVALID_VALUE;
  if (workBytes < algo->workspace || (algo->workspace && (!work || (uintptr_t)work % 256))) return INVALID_VALUE;
  if (c == out && (oc->ld != oo->ld)) return INVALID_VALUE;
  auto *p = new Product{*od, *oa, *ob, *oc, *oo, 0, 0, (const uint8_t *)a, (const uint8_t *)b, (const uint8_t *)c, (uint8_t *)out};
  p->alpha = od->scale == 1 ? *(const double *)alpha : *(const float *)alpha;
  p->beta = od->scale == 1 ? *(const double *)beta : *(const float *)beta;
  // An algorithm may leave anything in its workspace.
  if (algo->workspace) memset(work, 0xA5, algo->workspace);
  return enqueue(stream, runProduct, p, [](void *x) { delete (Product *)x; });
}

EXPORT int standinLive() { return (int)objects.size(); }
EXPORT void standinKeepsNaN(int keeps) { reluKeepsNaN = keeps; }
