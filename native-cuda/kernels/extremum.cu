// The position of the extremum along an axis of [outer, size, inner]: the first of equals; NaN beats every number. One warp
// a line; which element wins does not depend on the order of comparison. T; SIGN: 1 for the largest, -1 for the smallest.

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

KERNEL(extremum, Position, 256) {
  const u64 line = (u64)blockIdx.x * 8 + (threadIdx.x >> 5);
  const int lane = threadIdx.x & 31;
  const bool isInside = line < p.lines;
  const T* x = isInside ? p.x + line / p.inner * p.size * p.inner + line % p.inner : p.x;
  int at = isInside && lane < p.size ? lane : 0;
  W best = isInside ? wide(x[(u64)at * p.inner]) : (W)0;
  for (u32 i = lane + 32; isInside && i < p.size; i += 32) {
    const W v = wide(x[(u64)i * p.inner]);
    if (beats(v, i, best, at)) {
      best = v;
      at = i;
    }
  }
#pragma unroll
  for (int step = 16; step > 0; step >>= 1) {
    const W other = __shfl_xor_sync(0xffffffffu, best, step);
    const int from = __shfl_xor_sync(0xffffffffu, at, step);
    if (beats(other, from, best, at)) {
      best = other;
      at = from;
    }
  }
  if (isInside && lane == 0) p.y[line] = at;
}
