// The few largest of every line, largest first, equal ones in their first order, NaN last: what sorting gives, without sorting the rest. A warp
// a line goes through it once for each. Keys as in sortKeys.cu, which is put before this.

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

KERNEL(topkFew, Top, 256) {
  const u64 line = (u64)blockIdx.x * 8 + (threadIdx.x >> 5);
  if (line >= p.lines) return;
  const u64 outer = line / p.inner, inner = line % p.inner;
  const T* const x = p.x + outer * p.size * p.inner + inner;
  Candidate last = {0, 0};
  for (u32 r = 0; r < p.k; r++) {
    Candidate best = {~(KEY)0, ~(u32)0};
    for (u32 i = threadIdx.x & 31; i < p.size; i += 32) {
      const Candidate one = {orderOf(wide(x[(u64)i * p.inner]), true), i};
      if ((r == 0 || last.isBefore(one)) && one.isBefore(best)) best = one;
    }
#pragma unroll
    for (int step = 16; step > 0; step >>= 1) {
      const Candidate other = {__shfl_xor_sync(0xffffffffu, best.key, step), __shfl_xor_sync(0xffffffffu, best.at, step)};
      if (other.isBefore(best)) best = other;
    }
    last = best;
    if ((threadIdx.x & 31) != 0) continue;
    const u64 to = (outer * p.k + r) * p.inner + inner;
    p.values[to] = x[(u64)best.at * p.inner];
    p.positions[to] = (int)best.at;
  }
}
