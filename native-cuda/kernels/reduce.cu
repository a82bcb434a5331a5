// A fold over some axes of a strided operand. Outputs and reduced elements are counted apart; `chunks` parts of a long
// fold are folded side by side into partial results, and those again by a second launch. T: element; Y: result; W: what is
// folded in (floats are summed in double: memory is what a sum waits for); FOLD.
// How many threads share an output: 256, 32 or 1, by what lies together in memory.

struct Reduce {
  const T* x;
  Y* y;  // [chunks, outputs]
  u64 outputs, count, chunkLength;
  i64 keptStrides[8], reducedStrides[8];
  u32 keptSizes[8], reducedSizes[8];
  int keptRank, reducedRank;
};

template <int threads>
static __device__ __forceinline__ W foldChunk(const Reduce& p, u64 output, u64 chunk, int lane) {
  const T* x = p.x + placeOf(output, p.keptRank, p.keptSizes, p.keptStrides);
  const u64 from = chunk * p.chunkLength;
  const u64 to = from + p.chunkLength < p.count ? from + p.chunkLength : p.count;
  W total = FOLD::template start<W>();
  if (p.reducedRank == 1) {
    const i64 stride = p.reducedStrides[0];
    for (u64 i = from + lane; i < to; i += threads) total = FOLD::of(total, (W)wide(x[(i64)i * stride]));
  } else {
    for (u64 i = from + lane; i < to; i += threads)
      total = FOLD::of(total, (W)wide(x[placeOf(i, p.reducedRank, p.reducedSizes, p.reducedStrides)]));
  }
  return total;
}

KERNEL(reduceByThread, Reduce, 256) {
  const u64 output = (u64)blockIdx.x * 256 + threadIdx.x;
  if (output >= p.outputs) return;
  p.y[blockIdx.y * p.outputs + output] = narrow<Y>(foldChunk<1>(p, output, blockIdx.y, 0));
}
KERNEL(reduceByWarp, Reduce, 256) {
  const u64 output = (u64)blockIdx.x * 8 + (threadIdx.x >> 5);
  const bool isInside = output < p.outputs;
  const W total = foldWarp<FOLD>(isInside ? foldChunk<32>(p, output, blockIdx.y, threadIdx.x & 31) : FOLD::template start<W>());
  if (isInside && (threadIdx.x & 31) == 0) p.y[blockIdx.y * p.outputs + output] = narrow<Y>(total);
}
KERNEL(reduceByBlock, Reduce, 256) {
  __shared__ W shared[33];
  const u64 output = blockIdx.x;
  const W total = foldBlock<FOLD>(foldChunk<256>(p, output, blockIdx.y, threadIdx.x), shared);
  if (threadIdx.x == 0) p.y[blockIdx.y * p.outputs + output] = narrow<Y>(total);
}
