// The position of the extremum along an axis of [outer, size, inner]: the first of equals; NaN beats every number. A line
// has one warp, or the block's 32, or several blocks, whose winners a second kernel compares; which element wins does not depend on the order
// of comparison. T; SIGN: 1 for the largest, -1 for the smallest; WARPS of a line or a part.

typedef Number<T>::Wide W;

struct Position {
  const T* x;
  int* y;
  u64 lines;
  u32 size, inner;
  u32 part;   // elements of a line that a block goes through
  W* winners; // of each part [lines, parts], where there are several: y then has their places
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

/** The winner of a block in every thread of its first warp. */
static __device__ __forceinline__ void foldBlockPositions(W& best, int& at) {
  foldPositions(best, at);
  if (WARPS == 1) return;
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

KERNEL(extremum, Position, WARPS == 1 ? 256 : 1024) {
  const u32 threads = 32 * WARPS;
  const u64 line = WARPS == 1 ? (u64)blockIdx.x * 8 + (threadIdx.x >> 5) : blockIdx.x;
  const u32 lane = threadIdx.x % threads;
  const bool isInside = line < p.lines;
  const T* x = isInside ? p.x + line / p.inner * p.size * p.inner + line % p.inner : p.x;
  const u32 from = blockIdx.y * p.part, to = from + p.part < p.size ? from + p.part : p.size;
  int at = isInside && from + lane < to ? (int)(from + lane) : (int)from;
  W best = isInside ? wide(x[(u64)at * p.inner]) : (W)0;
#pragma unroll 4
  for (u32 i = from + lane + threads; i < (isInside ? to : 0); i += threads) {
    const W v = wide(x[(u64)i * p.inner]);
    if (beats(v, i, best, at)) {
      best = v;
      at = i;
    }
  }
  foldBlockPositions(best, at);
  if (!isInside || lane != 0) return;
  p.y[line * gridDim.y + blockIdx.y] = at;
  if (gridDim.y > 1) p.winners[line * gridDim.y + blockIdx.y] = best;
}

/** Of the winners of a line's parts; one warp a line. */
struct Winners {
  const W* winners;
  const int* places;
  int* y;
  u32 parts;
};
KERNEL(extremumOfParts, Winners, 32) {
  const u64 from = (u64)blockIdx.x * p.parts;
  u32 first = threadIdx.x < p.parts ? threadIdx.x : 0;
  W best = p.winners[from + first];
  int at = p.places[from + first];
  for (u32 i = first + 32; i < p.parts; i += 32)
    if (beats(p.winners[from + i], p.places[from + i], best, at)) {
      best = p.winners[from + i];
      at = p.places[from + i];
    }
  foldPositions(best, at);
  if (threadIdx.x == 0) p.y[blockIdx.x] = at;
}
