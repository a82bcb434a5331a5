// x ± quantise(f), modulo 2^32, with counts [saturated increments, wrapped sums, NaN increments]. The counts are integers:
// they come out the same whatever the order they are added in.

struct Counted {
  int value, saturated, wrapped, nan;
};
/** One element of fixedPoint.ts' decomposition. `bound` is 2^(31 - fractionBits). */
static __device__ __forceinline__ void step(int x, float f, float scale, float bound, int sign, Counted& to) {
  const int q = __float2int_rn(f * scale);
  const int y = sign > 0 ? (int)((u32)x + (u32)q) : (int)((u32)x - (u32)q);
  const int increment = sign > 0 ? q : ~q;
  to.value = y;
  to.saturated += f >= bound || f < -bound;
  to.wrapped += ((x ^ y) & (increment ^ y)) < 0;
  to.nan += f != f;
}

/** Counts of a block that is alone: nothing has to be zero before, and nothing is added in memory. `shared` holds 33 values. */
static __device__ __forceinline__ void storeCounts(int* counts, const Counted& mine) {
  __shared__ int shared[33];
  const int saturated = foldBlock<Sum>(mine.saturated, shared), wrapped = foldBlock<Sum>(mine.wrapped, shared), nan = foldBlock<Sum>(mine.nan, shared);
  if (threadIdx.x != 0) return;
  counts[0] = saturated;
  counts[1] = wrapped;
  counts[2] = nan;
}
/** Adds what the threads of a warp counted; most count nothing. */
static __device__ __forceinline__ void addCounts(int* counts, const Counted& mine) {
  const int saturated = foldWarp<Sum>(mine.saturated), wrapped = foldWarp<Sum>(mine.wrapped), nan = foldWarp<Sum>(mine.nan);
  if ((threadIdx.x & 31) != 0) return;
  if (saturated != 0) atomicAdd(counts, saturated);
  if (wrapped != 0) atomicAdd(counts + 1, wrapped);
  if (nan != 0) atomicAdd(counts + 2, nan);
}
