// libcublasLt.so.13's functions as far as the addon uses them: column-major products of float32, bfloat16 and float16 with
// float32 sums. Its heuristics know three kernels: sums from the first term on, from the last term on, and one that refuses.
#include <cmath>
#include <cstring>
#include <map>

#include "standin.h"

namespace {

enum { R_32F = 0, R_16F = 2, R_16BF = 14 };
enum { REFUSED = 15 };
/** Bits of an epilogue; 1 alone is none. */
enum { BIAS = 4, GELU = 32, GELU_BACK = 64 };

struct Product {
  int transA = 0, transB = 0, epilogue = 1;
  const void* bias = nullptr;
  /** Where what GELU is taken of goes, or lies. */
  void* aux = nullptr;
  int64_t auxLeading = 0;
};
struct Matrix {
  int type;
  uint64_t rows, columns;
  int64_t leading;
  int batch = 1;
  int64_t step = 0;
};
struct Heuristic {
  uint64_t algorithm[8];
  size_t workspaceBytes;
  int state;
  float waves;
  int reserved[4];
};

constexpr float SLOPE = 0.7978845608f, CUBE = 0.044715f;

float gelu(float x) { return 0.5f * x * (1 + std::tanh(SLOPE * (x + CUBE * x * x * x))); }

float geluDerivative(float x) {
  const float t = std::tanh(SLOPE * (x + CUBE * x * x * x));
  return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * SLOPE * (1 + 3 * CUBE * x * x);
}

float halfToFloat(uint16_t h) {
  const int exponent = h >> 10 & 31, fraction = h & 1023;
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(fraction), -24)
                          : exponent == 31 ? (fraction == 0 ? INFINITY : NAN)
                                           : std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
  return (h & 0x8000) != 0 ? -magnitude : magnitude;
}

float read(const Matrix& m, const void* at, int64_t i) {
  if (m.type == R_32F) return static_cast<const float*>(at)[i];
  const uint16_t word = static_cast<const uint16_t*>(at)[i];
  if (m.type == R_16F) return halfToFloat(word);
  const uint32_t bits = static_cast<uint32_t>(word) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

void write(const Matrix& m, void* at, int64_t i, float value) {
  if (m.type == R_32F) {
    static_cast<float*>(at)[i] = value;
    return;
  }
  uint16_t& word = static_cast<uint16_t*>(at)[i];
  if (m.type == R_16F) {
    const _Float16 half = static_cast<_Float16>(value);
    std::memcpy(&word, &half, 2);
    return;
  }
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  word = std::isnan(value) ? 0x7fc0 : static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

struct Operand {
  const Matrix& of;
  const void* at;
};
struct Target {
  const Matrix& of;
  void* at;
};

void multiply(const Product& p, Operand left, Operand right, Target to, float by, float kept, bool isFromLast) {
  const Matrix &ma = left.of, &mb = right.of, &md = to.of;
  const void *a = left.at, *b = right.at;
  void* d = to.at;
  const int64_t m = static_cast<int64_t>(md.rows), n = static_cast<int64_t>(md.columns);
  const int64_t k = static_cast<int64_t>(p.transA != 0 ? ma.rows : ma.columns);
  for (int64_t batch = 0; batch < md.batch; batch++)
    for (int64_t j = 0; j < n; j++)
      for (int64_t i = 0; i < m; i++) {
        float sum = 0;
        for (int64_t t = 0; t < k; t++) {
          const int64_t l = isFromLast ? k - 1 - t : t;
          const float x = read(ma, a, batch * ma.step + (p.transA != 0 ? i * ma.leading + l : l * ma.leading + i));
          const float y = read(mb, b, batch * mb.step + (p.transB != 0 ? l * mb.leading + j : j * mb.leading + l));
          sum = std::fma(x, y, sum);
        }
        const int64_t at = batch * md.step + j * md.leading + i;
        float value = by * sum + (kept == 0 ? 0 : kept * read(md, d, at));
        if ((p.epilogue & BIAS) != 0) value += read(ma.type == R_32F ? md : ma, p.bias, i);
        if ((p.epilogue & GELU) != 0) {
          write(md, p.aux, batch * md.step + j * p.auxLeading + i, value);
          value = gelu(value);
        }
        if ((p.epilogue & GELU_BACK) != 0) value *= geluDerivative(read(md, p.aux, batch * md.step + j * p.auxLeading + i));
        write(md, d, at, value);
      }
}

}  // namespace

STANDIN_API int cublasLtCreate(void** handle) { *handle = &handle; return plannedFailure(__func__); }
STANDIN_API int cublasLtDestroy(void*) { return 0; }
STANDIN_API size_t cublasLtGetVersion() { return 1; }
STANDIN_API int cublasLtMatmulDescCreate(void** product, int, int) { *product = new Product; return 0; }
STANDIN_API int cublasLtMatmulDescDestroy(void* product) { delete static_cast<Product*>(product); return 0; }
STANDIN_API int cublasLtMatmulDescSetAttribute(void* product, int what, const void* value, size_t bytes) {
  auto& p = *static_cast<Product*>(product);
  const std::map<int, void*> members = {{3, &p.transA}, {4, &p.transB}, {7, &p.epilogue}, {8, &p.bias}, {11, &p.aux}, {12, &p.auxLeading}};
  const auto found = members.find(what);
  if (found == members.end()) return 7;
  std::memcpy(found->second, value, bytes);
  return 0;
}
STANDIN_API int cublasLtMatrixLayoutCreate(void** layout, int type, uint64_t rows, uint64_t columns, int64_t leading) {
  *layout = new Matrix{type, rows, columns, leading};
  return static_cast<uint64_t>(leading) < rows ? 7 : 0;
}
STANDIN_API int cublasLtMatrixLayoutDestroy(void* layout) { delete static_cast<Matrix*>(layout); return 0; }
STANDIN_API int cublasLtMatrixLayoutSetAttribute(void* layout, int what, const void* value, size_t bytes) {
  auto& m = *static_cast<Matrix*>(layout);
  if (what == 5) std::memcpy(&m.batch, value, bytes);
  else if (what == 6) std::memcpy(&m.step, value, bytes);
  else return 7;
  return 0;
}
STANDIN_API int cublasLtMatmulPreferenceCreate(void** preference) { *preference = new int; return 0; }
STANDIN_API int cublasLtMatmulPreferenceDestroy(void* preference) { delete static_cast<int*>(preference); return 0; }
STANDIN_API int cublasLtMatmulPreferenceSetAttribute(void*, int, const void*, size_t) { return 0; }
STANDIN_API int cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*, void*, int most, Heuristic* found, int* count) {
  *count = most < 3 ? most : 3;
  for (int i = 0; i < *count; i++) {
    found[i] = {};
    found[i].algorithm[0] = static_cast<uint64_t>(i);
  }
  return plannedFailure(__func__);
}
STANDIN_API int cublasLtMatmul(void*, void* product, const void* alpha, const void* a, void* layoutA, const void* b, void* layoutB, const void* beta,
                               const void*, void*, void* d, void* layoutD, const uint64_t* algorithm, void*, size_t, void* stream) {
  if (const int failure = plannedFailure(__func__)) return failure;
  if (algorithm[0] == 2) return REFUSED;
  const auto order = algorithm[0];
  return enqueue(stream, [=, p = *static_cast<Product*>(product), ma = *static_cast<Matrix*>(layoutA), mb = *static_cast<Matrix*>(layoutB),
                  md = *static_cast<Matrix*>(layoutD), by = *static_cast<const float*>(alpha), kept = *static_cast<const float*>(beta)] {
    if (!isIdle()) multiply(p, {ma, a}, {mb, b}, {md, d}, by, kept, order == 1);
    return 0;
  });
}
