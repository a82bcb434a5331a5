// Attention of one step to the keys and values kept of all before it, a block a query head. Its own key, turned, and value are written to
// where the place, a number in device memory, says. Eight lanes share a key, PACK neighbouring elements each at a time; every such group
// goes through its keys with running sums, and the block joins the groups in their order. T; PACK; PACKS: packs of a lane; TURNED.
// Bytes: keys and values up to the place once for each query head; at 3 TB/s and 1,024 places of 12 heads of 64 in bf16, 1 us a sequence.

struct Decode {
  const T* heads;    // [b, h + 2 hk, d]
  const int* place;
  T* keys;           // [b, hk, length, d]
  T* values;
  T* y;              // [b, h, d]
  double step;       // -log(base) / half
  int queryHeads, keyHeads, length, dim, window;  // window 0: none
  float scale;
};

static __device__ __forceinline__ float turned(const T* x, int c, const Decode& p, int place) {
  if (!TURNED) return wide(x[c]);
  const int half = p.dim / 2, i = c < half ? c : c - half;
  float cosine, sine;
  turn((double)place * exp((double)i * p.step), cosine, sine);
  const float a = wide(x[i]), b = wide(x[i + half]);
  return wide(narrow<T>(c < half ? a * cosine - b * sine : b * cosine + a * sine));
}

KERNEL(decodeAttention, Decode, 256) {
  enum { GROUPS = 32, LANES = 8 };
  typedef Pack<T, PACK> Many;
  DYNAMIC_SHARED(float, shared);
  float* const q = shared;                       // [d]
  float* const k = q + p.dim;                    // [d]
  float* const v = k + p.dim;                    // [d]
  float* const tops = v + p.dim;                 // [GROUPS]
  float* const totals = tops + GROUPS;           // [GROUPS]
  float* const sums = totals + GROUPS;           // [GROUPS, d]
  const int place = p.place[0];
  const int batch = blockIdx.x / p.queryHeads, head = blockIdx.x % p.queryHeads;
  const int all = p.queryHeads + 2 * p.keyHeads, keyHead = head / (p.queryHeads / p.keyHeads);
  const T* own = p.heads + (u64)batch * all * p.dim;
  const u64 kept = ((u64)batch * p.keyHeads + keyHead) * p.length * p.dim;
  // Heads of a group write the same numbers.
  for (int c = threadIdx.x; c < p.dim; c += 256) {
    q[c] = turned(own + (u64)head * p.dim, c, p, place) * p.scale;
    k[c] = turned(own + (u64)(p.queryHeads + keyHead) * p.dim, c, p, place);
    v[c] = wide(own[(u64)(p.queryHeads + p.keyHeads + keyHead) * p.dim + c]);
    p.keys[kept + (u64)place * p.dim + c] = narrow<T>(k[c]);
    p.values[kept + (u64)place * p.dim + c] = narrow<T>(v[c]);
  }
  __syncthreads();
  const int group = threadIdx.x / LANES, lane = threadIdx.x % LANES;
  const int from = p.window > 0 && place + 1 > p.window ? place + 1 - p.window : 0;
  float top = -INFINITY, total = 0, part[PACKS][PACK] = {};
  // All groups of a warp make as many rounds: they exchange numbers.
  for (int first = from; first <= place; first += GROUPS) {
    const int j = first + group;
    const bool isOwn = j == place;
    const u64 row = kept + (u64)j * p.dim;
    float score = 0;
#pragma unroll
    for (int n = 0; n < PACKS; n++) {
      const int c = (n * LANES + lane) * PACK;
      if (c >= p.dim || j > place) continue;
      Many key;
      if (!isOwn) key = *(const Many*)(p.keys + row + c);
#pragma unroll
      for (int e = 0; e < PACK; e++) score = multiplyAdd(q[c + e], isOwn ? k[c + e] : wide(key.v[e]), score);
    }
#pragma unroll
    for (int step = LANES / 2; step > 0; step >>= 1) score += __shfl_xor_sync(0xffffffffu, score, step);
    if (j > place) continue;
    const float above = greater(top, score);
    const float keep = expf(top - above), weight = expf(score - above);
    total = total * keep + weight;
    top = above;
#pragma unroll
    for (int n = 0; n < PACKS; n++) {
      const int c = (n * LANES + lane) * PACK;
      if (c >= p.dim) continue;
      Many value;
      if (!isOwn) value = *(const Many*)(p.values + row + c);
#pragma unroll
      for (int e = 0; e < PACK; e++)
        part[n][e] = multiplyAdd(weight, isOwn ? v[c + e] : wide(value.v[e]), part[n][e] * keep);
    }
  }
#pragma unroll
  for (int n = 0; n < PACKS; n++) {
    const int c = (n * LANES + lane) * PACK;
    if (c >= p.dim) continue;
#pragma unroll
    for (int e = 0; e < PACK; e++) sums[group * p.dim + c + e] = part[n][e];
  }
  if (lane == 0) {
    tops[group] = top;
    totals[group] = total;
  }
  __syncthreads();
  for (int c = threadIdx.x; c < p.dim; c += 256) {
    float highest = -INFINITY, all = 0, sum = 0;
    for (int g = 0; g < GROUPS; g++) highest = greater(highest, tops[g]);
    for (int g = 0; g < GROUPS; g++) {
      if (totals[g] == 0) continue;
      const float share = expf(tops[g] - highest);
      all = multiplyAdd(share, totals[g], all);
      sum = multiplyAdd(share, sums[g * p.dim + c], sum);
    }
    p.y[(u64)blockIdx.x * p.dim + c] = narrow<T>(sum / all);
  }
}
