// What a warp does that has one query or one key of attention, under a mask or along a list: it goes along the others 32 at a time, one a lane,
// and every sum is its own, in their order. T; D, E: 32-wide parts of a head that a lane holds.

/** sums += weight · x, of a row `width` wide. */
template <int PARTS>
static __device__ __forceinline__ void addRow(W (&sums)[PARTS], W weight, const T* x, int width) {
#pragma unroll
  for (int c = 0; c < PARTS; c++) {
    const int at = (int)(threadIdx.x & 31) + 32 * c;
    if (at < width) sums[c] = multiplyAdd(weight, wide(x[at]), sums[c]);
  }
}

template <int PARTS>
static __device__ __forceinline__ void storeRow(T* to, const W (&sums)[PARTS], int width) {
  for (int c = 0; c < PARTS; c++) {
    const int at = (int)(threadIdx.x & 31) + 32 * c;
    if (at < width) to[at] = narrow<T>(sums[c]);
  }
}

/** A query's softmax, which goes along with its keys, and the values it has gathered. */
struct RowSoftmax {
  W top, total, sums[E];
  __device__ __forceinline__ void start() {
    top = -(W)INFINITY;
    total = 0;
    for (int c = 0; c < E; c++) sums[c] = 0;
  }
  /** Keys [from, to), of scores `scoreOf(key)`. */
  template <class ScoreOf>
  __device__ __forceinline__ void along(int from, int to, const ScoreOf& scoreOf, const T* v, i64 step, int width) {
    for (int j0 = from; j0 < to; j0 += 32) {
      const int j = j0 + (int)(threadIdx.x & 31);
      const W score = j < to ? scoreOf(j) : -(W)INFINITY;
      const W above = greater(top, foldWarp<Max>(score));
      const W base = above == -(W)INFINITY ? (W)0 : above;  // nothing seen yet
      const W kept = expOf(top - base), weight = expOf(score - base);
      total = total * kept + foldWarp<Sum>(weight);
      top = above;
#pragma unroll
      for (int c = 0; c < E; c++) sums[c] *= kept;
      for (int n = 0; n < 32 && j0 + n < to; n++) addRow(sums, __shfl_sync(0xffffffffu, weight, n), v + (j0 + n) * step, width);
    }
  }
  /** The output and its log-sum-exp: zeros and -inf where nothing was seen. */
  __device__ __forceinline__ void store(T* out, int width, W* lse) {
    const bool isNothing = top == -(W)INFINITY;
    for (int c = 0; c < E; c++) sums[c] = isNothing ? (W)0 : sums[c] / total;
    storeRow(out, sums, width);
    if ((threadIdx.x & 31) == 0) *lse = isNothing ? top : logOf(total) + top;
  }
};

/** sums += scale · Σ slopeOf(j) · row j of x, over keys [from, to). */
template <int PARTS, class SlopeOf>
static __device__ __forceinline__ void addAlong(W (&sums)[PARTS], int from, int to, const SlopeOf& slopeOf, W scale, const T* x, i64 step, int width) {
  for (int j0 = from; j0 < to; j0 += 32) {
    const int j = j0 + (int)(threadIdx.x & 31);
    const W slope = j < to ? slopeOf(j) * scale : (W)0;
    for (int n = 0; n < 32 && j0 + n < to; n++) addRow(sums, __shfl_sync(0xffffffffu, slope, n), x + (j0 + n) * step, width);
  }
}

/** What a key takes from 32 queries: lane n's is `query`, -1 for none, of this weight and slope. */
static __device__ __forceinline__ void addQueries(W (&byKey)[D], W (&byValue)[E], int query, W weight, W slope, W scale, const T* q, i64 qStep, int d,
                                                  const T* g, i64 gStep, int e) {
  for (int n = 0; n < 32; n++) {
    const int i = __shfl_sync(0xffffffffu, query, n);
    if (i < 0) continue;
    addRow(byValue, __shfl_sync(0xffffffffu, weight, n), g + i * gStep, e);
    addRow(byKey, __shfl_sync(0xffffffffu, slope, n) * scale, q + i * qStep, d);
  }
}
