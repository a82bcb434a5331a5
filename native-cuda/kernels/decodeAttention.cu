// Attention of one step to the keys and values kept of all before it, a block a query head. Its own key, turned, and value are written to
// where its place, a number in device memory, says. Eight lanes share a key, PACK neighbouring elements each at a time; every such group
// goes through its keys with running sums, warps join their groups, and the block its warps. A key and its value are asked for together:
// what this waits for is memory's latency. So the first of them, which no kernel in front writes, are asked for while those still run, and SLOTS of
// a group at a time. T; PACK; PACKS: packs of a lane; TURNED; WARPS; SLOTS; AHEAD: whether the place, keys and values may be read before the wait.
// Bytes: keys and values up to the place once for each query head; at 3 TB/s and 1,024 places of 12 heads of 64 in bf16, 1 us a sequence.

struct Decode {
  const T* heads;    // [b, h + 2 hk, d]
  const int* place;  // [1] or [b]
  T* keys;           // [b, hk, length, d]
  T* values;
  T* y;              // [b, h, d]
  double step;       // -log(base) / half
  int queryHeads, keyHeads, length, dim, window;  // window 0: none
  int hasPlaces;     // of each sequence
  float scale;
};

KERNEL_AHEAD(decodeAttention, Decode, 32 * WARPS) {
  enum { LANES = 8, GROUPS = 4 * WARPS, THREADS = 32 * WARPS };
  typedef Words<T, PACK> Many;
  DYNAMIC_SHARED(float, shared);
  float* const q = shared;                       // [d]
  float* const k = q + p.dim;                    // [d]
  float* const v = k + p.dim;                    // [d]
  float* const cosines = v + p.dim;              // [d / 2]
  float* const sines = cosines + p.dim / 2;      // [d / 2]
  float* const tops = v + 2 * p.dim;             // [WARPS]
  float* const totals = tops + WARPS;            // [WARPS]
  float* const sums = totals + WARPS;            // [WARPS, d]
  if (!AHEAD) awaitPrevious();
  const int batch = blockIdx.x / p.queryHeads, head = blockIdx.x % p.queryHeads;
  const int place = readAhead(p.place + (p.hasPlaces ? batch : 0));
  const int all = p.queryHeads + 2 * p.keyHeads, keyHead = head / (p.queryHeads / p.keyHeads);
  const T* own = p.heads + (u64)batch * all * p.dim;
  const T* ownQuery = own + (u64)head * p.dim;
  const T* ownKey = own + (u64)(p.queryHeads + keyHead) * p.dim;
  const T* ownValue = own + (u64)(p.queryHeads + p.keyHeads + keyHead) * p.dim;
  const u64 kept = ((u64)batch * p.keyHeads + keyHead) * p.length * p.dim, at = kept + (u64)place * p.dim;
  const int group = threadIdx.x / LANES, lane = threadIdx.x % LANES;
  const int from = p.window > 0 && place + 1 > p.window ? place + 1 - p.window : 0;
  // Whoever moves the place sees to it (Decoder); nothing is read or written elsewhere all the same.
  const bool isPlace = place >= 0 && place < p.length;
  Many key[SLOTS][PACKS], value[SLOTS][PACKS];
  const auto ask = [&](int slot, int first) {
    const int j = first + group;
    const u64 row = kept + (u64)j * p.dim;
#pragma unroll
    for (int n = 0; n < PACKS; n++) {
      const int c = (n * LANES + lane) * PACK;
      if (c >= p.dim || j >= place || !isPlace) continue;
      key[slot][n] = readAhead((const Many*)(p.keys + row + c));
      value[slot][n] = readAhead((const Many*)(p.values + row + c));
    }
  };
#pragma unroll
  for (int slot = 0; slot < SLOTS; slot++) ask(slot, from + slot * GROUPS);
  const int half = p.dim / 2;
  // A thread finds the angles of the pairs that it will turn.
  if (TURNED)
    for (int i = threadIdx.x; i < half; i += THREADS) turn((double)place * exp((double)i * p.step), cosines[i], sines[i]);
  if (AHEAD) awaitPrevious();
  if (!isPlace) return;
  // A thread a pair that turns, or a pair of halves that stays. Heads of a group write the same numbers.
  for (int i = threadIdx.x; i < half; i += THREADS) {
    const float cosine = TURNED ? cosines[i] : 1, sine = TURNED ? sines[i] : 0;
#pragma unroll
    for (int which = 0; which < 2; which++) {
      const T* x = which == 0 ? ownQuery : ownKey;
      const float a = wide(x[i]), b = wide(x[i + half]);
      const T near = narrow<T>(a * cosine - b * sine), far = narrow<T>(b * cosine + a * sine);
      if (which == 0) {
        q[i] = wide(near) * p.scale;
        q[i + half] = wide(far) * p.scale;
      } else {
        k[i] = wide(near);
        k[i + half] = wide(far);
        p.keys[at + i] = near;
        p.keys[at + i + half] = far;
      }
    }
  }
  for (int c = threadIdx.x; c < p.dim; c += THREADS) {
    v[c] = wide(ownValue[c]);
    p.values[at + c] = ownValue[c];
    if (p.dim % 2 == 1 && c == p.dim - 1) {
      q[c] = wide(ownQuery[c]) * p.scale;
      k[c] = wide(ownKey[c]);
      p.keys[at + c] = ownKey[c];
    }
  }
  __syncthreads();
  float top = -INFINITY, total = 0, part[PACKS][PACK] = {};
  const auto take = [&](int slot, int first) {
    const int j = first + group;
    const bool isOwn = j == place, isSeen = j <= place;
    float score = 0;
#pragma unroll
    for (int n = 0; n < PACKS; n++) {
      const int c = (n * LANES + lane) * PACK;
      if (c >= p.dim || !isSeen) continue;
#pragma unroll
      for (int e = 0; e < PACK; e++) score = multiplyAdd(q[c + e], isOwn ? k[c + e] : key[slot][n].at(e), score);
    }
#pragma unroll
    for (int step = LANES / 2; step > 0; step >>= 1) score += __shfl_xor_sync(0xffffffffu, score, step);
    if (!isSeen) return;
    const float above = greater(top, score);
    const float keep = expf(top - above), weight = expf(score - above);
    total = total * keep + weight;
    top = above;
#pragma unroll
    for (int n = 0; n < PACKS; n++) {
      const int c = (n * LANES + lane) * PACK;
      if (c >= p.dim) continue;
#pragma unroll
      for (int e = 0; e < PACK; e++)
        part[n][e] = multiplyAdd(weight, isOwn ? v[c + e] : value[slot][n].at(e), part[n][e] * keep);
    }
  };
  // All groups of a warp make as many rounds: they exchange numbers.
  for (int first = from; first <= place; first += SLOTS * GROUPS) {
#pragma unroll
    for (int slot = 0; slot < SLOTS; slot++) {
      if (first + slot * GROUPS > place) break;
      take(slot, first + slot * GROUPS);
      ask(slot, first + (SLOTS + slot) * GROUPS);
    }
  }
  // The four groups of a warp, pair by pair.
#pragma unroll
  for (int step = LANES; step < 32; step <<= 1) {
    const float other = __shfl_xor_sync(0xffffffffu, top, step), above = greater(top, other);
    const float mine = top == -INFINITY ? 0.0f : expf(top - above), its = other == -INFINITY ? 0.0f : expf(other - above);
    const float itsTotal = __shfl_xor_sync(0xffffffffu, total, step);
    total = mine * total + its * itsTotal;
    top = above;
#pragma unroll
    for (int n = 0; n < PACKS; n++)
#pragma unroll
      for (int e = 0; e < PACK; e++) {
        const float itsPart = __shfl_xor_sync(0xffffffffu, part[n][e], step);
        part[n][e] = mine * part[n][e] + its * itsPart;
      }
  }
  const int warp = threadIdx.x / 32;
  if ((threadIdx.x & 31) < LANES) {
#pragma unroll
    for (int n = 0; n < PACKS; n++) {
      const int c = (n * LANES + lane) * PACK;
      if (c >= p.dim) continue;
#pragma unroll
      for (int e = 0; e < PACK; e++) sums[warp * p.dim + c + e] = part[n][e];
    }
    if (lane == 0) {
      tops[warp] = top;
      totals[warp] = total;
    }
  }
  __syncthreads();
  // Every warp finds the warps' shares, a lane each.
  const int inWarp = threadIdx.x & 31;
  const float ownTop = inWarp < WARPS ? tops[inWarp] : -INFINITY;
  const float highest = foldWarp<Max>(ownTop);
  const float share = ownTop == -INFINITY ? 0.0f : expf(ownTop - highest);
  const float whole = foldWarp<Sum>(inWarp < WARPS ? share * totals[inWarp] : 0.0f);
  for (int c0 = 0; c0 < p.dim; c0 += THREADS) {
    const int c = c0 + threadIdx.x;
    float sum = 0;
#pragma unroll
    for (int w = 0; w < WARPS; w++) {
      const float its = __shfl_sync(0xffffffffu, share, w);
      if (c < p.dim && its > 0) sum = multiplyAdd(its, sums[w * p.dim + c], sum);
    }
    if (c < p.dim) p.y[(u64)blockIdx.x * p.dim + c] = narrow<T>(sum / whole);
  }
}
