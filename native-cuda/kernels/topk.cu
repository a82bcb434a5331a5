// The few largest of every line, largest first, equal ones in their first order, NaN last: what sorting gives, without sorting the rest. A warp
// a line: every lane keeps the first of those it meets, and the firsts of all lanes are taken one by one. Keys as in sortKeys.cu, which is put
// before this. FEW: at most so many.

struct Top {
  const T* x;  // [outer, size, inner]
  T* values;   // [outer, k, inner]
  int* positions;
  u64 lines;
  u32 size, inner, k;
};

/** An element and its place: in the order of what comes first. */
struct Candidate {
  KEY key;
  u32 at;
  __device__ __forceinline__ bool isBefore(const Candidate& other) const { return key < other.key || (key == other.key && at < other.at); }
};

/** The first of those that a lane has met, in order. */
struct Firsts {
  Candidate found[FEW];
  __device__ __forceinline__ void start() {
#pragma unroll
    for (int r = 0; r < FEW; r++) found[r] = Candidate{~(KEY)0, ~(u32)0};
  }
  __device__ __forceinline__ void take(const Candidate& one) {
    if (!one.isBefore(found[FEW - 1])) return;
    found[FEW - 1] = one;
#pragma unroll
    for (int r = FEW - 1; r > 0; r--)
      if (found[r].isBefore(found[r - 1])) {
        const Candidate later = found[r - 1];
        found[r - 1] = found[r];
        found[r] = later;
      }
  }
  __device__ __forceinline__ void drop() {
#pragma unroll
    for (int r = 0; r < FEW - 1; r++) found[r] = found[r + 1];
    found[FEW - 1] = Candidate{~(KEY)0, ~(u32)0};
  }
};

KERNEL(topkFew, Top, 256) {
  const u64 line = (u64)blockIdx.x * 8 + (threadIdx.x >> 5);
  if (line >= p.lines) return;
  const u64 outer = line / p.inner, inner = line % p.inner;
  const T* const x = p.x + outer * p.size * p.inner + inner;
  Firsts mine;
  mine.start();
#pragma unroll 4
  for (u32 i = threadIdx.x & 31; i < p.size; i += 32) mine.take(Candidate{orderOf(wide(x[(u64)i * p.inner]), true), i});
  for (u32 r = 0; r < p.k; r++) {
    Candidate best = mine.found[0];
#pragma unroll
    for (int step = 16; step > 0; step >>= 1) {
      const Candidate other = {__shfl_xor_sync(0xffffffffu, best.key, step), __shfl_xor_sync(0xffffffffu, best.at, step)};
      if (other.isBefore(best)) best = other;
    }
    if (best.at == mine.found[0].at) mine.drop();
    if ((threadIdx.x & 31) != 0) continue;
    const u64 to = (outer * p.k + r) * p.inner + inner;
    p.values[to] = x[(u64)best.at * p.inner];
    p.positions[to] = (int)best.at;
  }
}
