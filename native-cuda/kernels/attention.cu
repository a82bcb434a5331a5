// Attention for every type and every size of head, without a [t, s] workspace: a warp a query or a key, 32 of the others at a
// time, one a lane. No atomics: a key's gradient is summed by the warp that
// owns the key, over queries in ascending order. T; D, E: 32-wide parts of a head that a lane holds.
// Source: Dao et al. 2022 (arXiv:2205.14135), algorithms 1 and 4.

KERNEL(attentionForward, Attention, 256) {
  const u64 row = (u64)blockIdx.x * 8 + (threadIdx.x >> 5);
  const int lane = threadIdx.x & 31;
  if (row >= p.queries) return;
  const u64 head = row / p.t, keyHead = keyHeadOf(p, head);
  const int i = (int)(row % p.t), from = firstKey(p, i), to = endOfKeys(p, i);
  const T* q = p.q.of(head, p.heads) + i * p.q.row;
  const T* k = p.k.of(keyHead, p.keyHeads);
  const T* v = p.v.of(keyHead, p.keyHeads);
  W top = -(W)INFINITY, total = 0, sums[E] = {};
  for (int j0 = from; j0 < to; j0 += 32) {
    const int j = j0 + lane;
    const W score = j < to ? dot(q, k + j * p.k.row, p.d) * (W)p.scale : -(W)INFINITY;
    const W above = greater(top, foldWarp<Max>(score));
    const W kept = expOf(top - above), weight = j < to ? expOf(score - above) : (W)0;
    total = total * kept + foldWarp<Sum>(weight);
    top = above;
#pragma unroll
    for (int c = 0; c < E; c++) sums[c] *= kept;
    for (int n = 0; n < 32 && j0 + n < to; n++) {
      const W w = __shfl_sync(0xffffffffu, weight, n);
#pragma unroll
      for (int c = 0; c < E; c++)
        if (lane + 32 * c < p.e) sums[c] = multiplyAdd(w, wide(v[(j0 + n) * p.v.row + lane + 32 * c]), sums[c]);
    }
  }
  T* out = p.out.of(head, p.heads) + i * p.out.row;
  for (int c = 0; c < E; c++)
    if (lane + 32 * c < p.e) out[lane + 32 * c] = narrow<T>(sums[c] / total);
  if (lane == 0) p.lse[row] = logOf(total) + top;
}

/** dq of a query, its delta found before. */
KERNEL(attentionQueries, Attention, 256) {
  const u64 row = (u64)blockIdx.x * 8 + (threadIdx.x >> 5);
  const int lane = threadIdx.x & 31;
  if (row >= p.queries) return;
  const u64 head = row / p.t, keyHead = keyHeadOf(p, head);
  const int i = (int)(row % p.t), from = firstKey(p, i), to = endOfKeys(p, i);
  const T* q = p.q.of(head, p.heads) + i * p.q.row;
  const T* g = p.g.of(head, p.heads) + i * p.g.row;
  const T* k = p.k.of(keyHead, p.keyHeads);
  const T* v = p.v.of(keyHead, p.keyHeads);
  const W lse = p.lse[row], delta = p.delta[row];
  W sums[D] = {};
  for (int j0 = from; j0 < to; j0 += 32) {
    const int j = j0 + lane;
    W change = 0;
    if (j < to) {
      const W weight = expOf(dot(q, k + j * p.k.row, p.d) * (W)p.scale - lse);
      change = weight * (dot(g, v + j * p.v.row, p.e) - delta) * (W)p.scale;
    }
    for (int n = 0; n < 32 && j0 + n < to; n++) {
      const W w = __shfl_sync(0xffffffffu, change, n);
#pragma unroll
      for (int c = 0; c < D; c++)
        if (lane + 32 * c < p.d) sums[c] = multiplyAdd(w, wide(k[(j0 + n) * p.k.row + lane + 32 * c]), sums[c]);
    }
  }
  T* dq = p.dq.of(head, p.heads) + i * p.dq.row;
  for (int c = 0; c < D; c++)
    if (lane + 32 * c < p.d) dq[lane + 32 * c] = narrow<T>(sums[c]);
}

/** dk and dv of a key, over the heads that share it and their queries. */
KERNEL(attentionKeys, Attention, 256) {
  const u64 row = (u64)blockIdx.x * 8 + (threadIdx.x >> 5);
  const int lane = threadIdx.x & 31;
  if (row >= p.keys) return;
  const u64 keyHead = row / p.s;
  const int j = (int)(row % p.s), group = p.heads / p.keyHeads;
  const T* k = p.k.of(keyHead, p.keyHeads) + j * p.k.row;
  const T* v = p.v.of(keyHead, p.keyHeads) + j * p.v.row;
  // Queries that see the key.
  const int first = p.isCausal ? j - (p.s - p.t) : 0, from = first > 0 ? first : 0;
  const int end = p.isCausal && p.window > 0 ? first + p.window : p.t, to = end < p.t ? end : p.t;
  W byKey[D] = {}, byValue[E] = {};
  for (int member = 0; member < group; member++) {
    const u64 head = keyHead / p.keyHeads * p.heads + keyHead % p.keyHeads * group + member;
    const T* q = p.q.of(head, p.heads);
    const T* g = p.g.of(head, p.heads);
    for (int i0 = from; i0 < to; i0 += 32) {
      const int i = i0 + lane;
      W weight = 0, change = 0;
      if (i < to) {
        weight = expOf(dot(q + i * p.q.row, k, p.d) * (W)p.scale - p.lse[head * p.t + i]);
        change = weight * (dot(g + i * p.g.row, v, p.e) - p.delta[head * p.t + i]) * (W)p.scale;
      }
      for (int n = 0; n < 32 && i0 + n < to; n++) {
        const W w = __shfl_sync(0xffffffffu, weight, n), ds = __shfl_sync(0xffffffffu, change, n);
#pragma unroll
        for (int c = 0; c < E; c++)
          if (lane + 32 * c < p.e) byValue[c] = multiplyAdd(w, wide(g[(i0 + n) * p.g.row + lane + 32 * c]), byValue[c]);
#pragma unroll
        for (int c = 0; c < D; c++)
          if (lane + 32 * c < p.d) byKey[c] = multiplyAdd(ds, wide(q[(i0 + n) * p.q.row + lane + 32 * c]), byKey[c]);
      }
    }
  }
  T* dk = p.dk.of(keyHead, p.keyHeads) + j * p.dk.row;
  T* dv = p.dv.of(keyHead, p.keyHeads) + j * p.dv.row;
  for (int c = 0; c < D; c++)
    if (lane + 32 * c < p.d) dk[lane + 32 * c] = narrow<T>(byKey[c]);
  for (int c = 0; c < E; c++)
    if (lane + 32 * c < p.e) dv[lane + 32 * c] = narrow<T>(byValue[c]);
}
