// Attention for every type and every size of head, without a [t, s] workspace: a warp a query or a key, 32 of the others at a
// time, one a lane. q [b, h, t, d], k [b, hk, s, d], v [b, hk, s, e]. No atomics: a key's gradient is summed by the warp that
// owns the key, over queries in ascending order. T; D, E: 32-wide parts of a head that a lane holds.
// Source: Dao et al. 2022 (arXiv:2205.14135), algorithms 1 and 4.

typedef Number<T>::Wide W;

static __device__ __forceinline__ float expOf(float v) { return expf(v); }
static __device__ __forceinline__ double expOf(double v) { return exp(v); }
static __device__ __forceinline__ float logOf(float v) { return logf(v); }
static __device__ __forceinline__ double logOf(double v) { return log(v); }

struct Attention {
  const T* q;
  const T* k;
  const T* v;
  const T* o;
  const T* g;
  T* out;
  T* outLse;
  T* dq;
  T* dk;
  T* dv;
  W* lse;    // [b, h, t], of this pass
  W* delta;  // [b, h, t]: the sums of g · o
  u64 queries, keys;  // b · h · t and b · hk · s
  int heads, keyHeads, t, s, d, e, isCausal, window;  // window 0: none
  double scale;
};

/** The keys that query i sees: from, up to and without to. */
static __device__ __forceinline__ int firstKey(const Attention& p, int i) {
  const int from = i + p.s - p.t + 1 - p.window;
  return p.isCausal && p.window > 0 && from > 0 ? from : 0;
}
static __device__ __forceinline__ int endOfKeys(const Attention& p, int i) { return p.isCausal ? i + p.s - p.t + 1 : p.s; }

/** Row `head · rows + i` of queries belongs to the key head of its group. */
static __device__ __forceinline__ u64 keyHeadOf(const Attention& p, u64 head) {
  const u64 b = head / p.heads, h = head % p.heads;
  return b * p.keyHeads + h / (p.heads / p.keyHeads);
}

static __device__ __forceinline__ W dot(const T* a, const T* b, int n) {
  W sum = 0;
  for (int c = 0; c < n; c++) sum = multiplyAdd(wide(a[c]), wide(b[c]), sum);
  return sum;
}

KERNEL(attentionForward, Attention, 256) {
  const u64 row = (u64)blockIdx.x * 8 + (threadIdx.x >> 5);
  const int lane = threadIdx.x & 31;
  if (row >= p.queries) return;
  const u64 head = row / p.t, keyHead = keyHeadOf(p, head);
  const int i = (int)(row % p.t), from = firstKey(p, i), to = endOfKeys(p, i);
  const T* q = p.q + row * p.d;
  const T* k = p.k + keyHead * p.s * p.d;
  const T* v = p.v + keyHead * p.s * p.e;
  W top = -(W)INFINITY, total = 0, sums[E] = {};
  for (int j0 = from; j0 < to; j0 += 32) {
    const int j = j0 + lane;
    const W score = j < to ? dot(q, k + (u64)j * p.d, p.d) * (W)p.scale : -(W)INFINITY;
    const W above = greater(top, foldWarp<Max>(score));
    const W kept = expOf(top - above), weight = j < to ? expOf(score - above) : (W)0;
    total = total * kept + foldWarp<Sum>(weight);
    top = above;
#pragma unroll
    for (int c = 0; c < E; c++) sums[c] *= kept;
    if (p.out == 0) continue;
    for (int n = 0; n < 32 && j0 + n < to; n++) {
      const W w = __shfl_sync(0xffffffffu, weight, n);
#pragma unroll
      for (int c = 0; c < E; c++)
        if (lane + 32 * c < p.e) sums[c] = multiplyAdd(w, wide(v[(u64)(j0 + n) * p.e + lane + 32 * c]), sums[c]);
    }
  }
  if (p.out != 0)
    for (int c = 0; c < E; c++)
      if (lane + 32 * c < p.e) p.out[row * p.e + lane + 32 * c] = narrow<T>(sums[c] / total);
  if (lane != 0) return;
  const W lse = logOf(total) + top;
  if (p.outLse != 0) p.outLse[row] = narrow<T>(lse);
  if (p.lse != 0) p.lse[row] = lse;
  if (p.delta != 0) p.delta[row] = dot(p.g + row * p.e, p.o + row * p.e, p.e);
}

/** dq of a query, its lse and delta found before. */
KERNEL(attentionQueries, Attention, 256) {
  const u64 row = (u64)blockIdx.x * 8 + (threadIdx.x >> 5);
  const int lane = threadIdx.x & 31;
  if (row >= p.queries) return;
  const u64 head = row / p.t, keyHead = keyHeadOf(p, head);
  const int i = (int)(row % p.t), from = firstKey(p, i), to = endOfKeys(p, i);
  const T* q = p.q + row * p.d;
  const T* g = p.g + row * p.e;
  const T* k = p.k + keyHead * p.s * p.d;
  const T* v = p.v + keyHead * p.s * p.e;
  const W lse = p.lse[row], delta = p.delta[row];
  W sums[D] = {};
  for (int j0 = from; j0 < to; j0 += 32) {
    const int j = j0 + lane;
    W change = 0;
    if (j < to) {
      const W weight = expOf(dot(q, k + (u64)j * p.d, p.d) * (W)p.scale - lse);
      change = weight * (dot(g, v + (u64)j * p.e, p.e) - delta) * (W)p.scale;
    }
    for (int n = 0; n < 32 && j0 + n < to; n++) {
      const W w = __shfl_sync(0xffffffffu, change, n);
#pragma unroll
      for (int c = 0; c < D; c++)
        if (lane + 32 * c < p.d) sums[c] = multiplyAdd(w, wide(k[(u64)(j0 + n) * p.d + lane + 32 * c]), sums[c]);
    }
  }
  for (int c = 0; c < D; c++)
    if (lane + 32 * c < p.d) p.dq[row * p.d + lane + 32 * c] = narrow<T>(sums[c]);
}

/** dk and dv of a key, over the heads that share it and their queries. */
KERNEL(attentionKeys, Attention, 256) {
  const u64 row = (u64)blockIdx.x * 8 + (threadIdx.x >> 5);
  const int lane = threadIdx.x & 31;
  if (row >= p.keys) return;
  const u64 keyHead = row / p.s;
  const int j = (int)(row % p.s), group = p.heads / p.keyHeads;
  const T* k = p.k + row * p.d;
  const T* v = p.v + row * p.e;
  // Queries that see the key.
  const int first = p.isCausal ? j - (p.s - p.t) : 0, from = first > 0 ? first : 0;
  const int end = p.isCausal && p.window > 0 ? first + p.window : p.t, to = end < p.t ? end : p.t;
  W byKey[D] = {}, byValue[E] = {};
  for (int member = 0; member < group; member++) {
    const u64 head = keyHead / p.keyHeads * p.heads + keyHead % p.keyHeads * group + member;
    const T* q = p.q + head * p.t * p.d;
    const T* g = p.g + head * p.t * p.e;
    for (int i0 = from; i0 < to; i0 += 32) {
      const int i = i0 + lane;
      W weight = 0, change = 0;
      if (i < to) {
        weight = expOf(dot(q + (u64)i * p.d, k, p.d) * (W)p.scale - p.lse[head * p.t + i]);
        change = weight * (dot(g + (u64)i * p.e, v, p.e) - p.delta[head * p.t + i]) * (W)p.scale;
      }
      for (int n = 0; n < 32 && i0 + n < to; n++) {
        const W w = __shfl_sync(0xffffffffu, weight, n), ds = __shfl_sync(0xffffffffu, change, n);
#pragma unroll
        for (int c = 0; c < E; c++)
          if (lane + 32 * c < p.e) byValue[c] = multiplyAdd(w, wide(g[(u64)(i0 + n) * p.e + lane + 32 * c]), byValue[c]);
#pragma unroll
        for (int c = 0; c < D; c++)
          if (lane + 32 * c < p.d) byKey[c] = multiplyAdd(ds, wide(q[(u64)(i0 + n) * p.d + lane + 32 * c]), byKey[c]);
      }
    }
  }
  for (int c = 0; c < D; c++)
    if (lane + 32 * c < p.d) p.dk[row * p.d + lane + 32 * c] = narrow<T>(byKey[c]);
  for (int c = 0; c < E; c++)
    if (lane + 32 * c < p.e) p.dv[row * p.e + lane + 32 * c] = narrow<T>(byValue[c]);
}
