// The position of the extremum along an axis of [outer, size, inner]: the first of equals; NaN beats every number. A line
// has one warp, or the block's 32; which element wins does not depend on the order of comparison. T; SIGN: 1 for the largest, -1 for the
// smallest; WARPS of a line.

typedef Number<T>::Wide W;

struct Position {
  const T* x;
  int* y;
  u64 lines;
  u32 size, inner;
};

/** Whether element (v, i) beats (best, at). */
static __device__ __forceinline__ bool beats(W v, int i, W best, int at) {
  if (v != v || best != best) return v != v && (best == best || i < at);
  return v == best ? i < at : SIGN > 0 ? v > best : v < best;
}

static __device__ __forceinline__ void foldPositions(W& best, int& at) {
#pragma unroll
  for (int step = 16; step > 0; step >>= 1) {
    const W other = __shfl_xor_sync(0xffffffffu, best, step);
    const int from = __shfl_xor_sync(0xffffffffu, at, step);
    if (beats(other, from, best, at)) {
      best = other;
      at = from;
    }
  }
}

KERNEL(extremum, Position, WARPS == 1 ? 256 : 1024) {
  const u32 threads = 32 * WARPS;
  const u64 line = WARPS == 1 ? (u64)blockIdx.x * 8 + (threadIdx.x >> 5) : blockIdx.x;
  const u32 lane = threadIdx.x % threads;
  const bool isInside = line < p.lines;
  const T* x = isInside ? p.x + line / p.inner * p.size * p.inner + line % p.inner : p.x;
  int at = isInside && lane < p.size ? (int)lane : 0;
  W best = isInside ? wide(x[(u64)at * p.inner]) : (W)0;
#pragma unroll 4
  for (u32 i = lane + threads; i < (isInside ? p.size : 0); i += threads) {
    const W v = wide(x[(u64)i * p.inner]);
    if (beats(v, i, best, at)) {
      best = v;
      at = i;
    }
  }
  foldPositions(best, at);
  if (WARPS > 1) {
    __shared__ W bests[32];
    __shared__ int places[32];
    if ((threadIdx.x & 31) == 0) {
      bests[threadIdx.x >> 5] = best;
      places[threadIdx.x >> 5] = at;
    }
    __syncthreads();
    best = bests[threadIdx.x & 31];
    at = places[threadIdx.x & 31];
    foldPositions(best, at);
  }
  if (isInside && lane == 0) p.y[line] = at;
}
