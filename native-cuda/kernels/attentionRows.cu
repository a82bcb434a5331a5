// Attention under a mask, a warp a row (rowsOfAttention.cu): for every type and every size of head. Parameters are those of attentionProblem.cu.

/** A query: a warp's. */
struct Query {
  u64 row, head, keyHead;
  int i, from, to;  // the keys it sees
};
static __device__ __forceinline__ Query queryOf(const Attention& p) {
  Query at;
  at.row = (u64)blockIdx.x * 8 + (threadIdx.x >> 5);
  at.head = at.row / p.t;
  at.keyHead = keyHeadOf(p, at.head);
  at.i = (int)(at.row % p.t);
  at.from = firstKey(p, at.i);
  at.to = endOfKeys(p, at.i);
  return at;
}

KERNEL(attentionForward, Attention, 256) {
  const Query at = queryOf(p);
  if (at.row >= p.queries) return;
  const T* q = p.q.of(at.head, p.heads) + at.i * p.q.row;
  const T* k = p.k.of(at.keyHead, p.keyHeads);
  const T* v = p.v.of(at.keyHead, p.keyHeads);
  RowSoftmax row;
  row.start();
  row.along(at.from, at.to, [&](int j) { return dot(q, k + j * p.k.row, p.d) * (W)p.scale; }, v, p.v.row, p.e);
  row.store(p.out.of(at.head, p.heads) + at.i * p.out.row, p.e, p.lse + at.row);
}

/** dq of a query, its delta found before. */
KERNEL(attentionQueries, Attention, 256) {
  const Query at = queryOf(p);
  if (at.row >= p.queries) return;
  const T* q = p.q.of(at.head, p.heads) + at.i * p.q.row;
  const T* g = p.g.of(at.head, p.heads) + at.i * p.g.row;
  const T* k = p.k.of(at.keyHead, p.keyHeads);
  const T* v = p.v.of(at.keyHead, p.keyHeads);
  const W lse = p.lse[at.row], delta = p.delta[at.row];
  W sums[D] = {};
  const auto slopeOf = [&](int j) {
    const W weight = expOf(dot(q, k + j * p.k.row, p.d) * (W)p.scale - lse);
    return weight * (dot(g, v + j * p.v.row, p.e) - delta);
  };
  addAlong(sums, at.from, at.to, slopeOf, (W)p.scale, k, p.k.row, p.d);
  storeRow(p.dq.of(at.head, p.heads) + at.i * p.dq.row, sums, p.d);
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
      W weight = 0, slope = 0;
      if (i < to) {
        weight = expOf(dot(q + i * p.q.row, k, p.d) * (W)p.scale - p.lse[head * p.t + i]);
        slope = weight * (dot(g + i * p.g.row, v, p.e) - p.delta[head * p.t + i]);
      }
      addQueries(byKey, byValue, i < to ? i : -1, weight, slope, (W)p.scale, q, p.q.row, p.d, g, p.g.row, p.e);
    }
  }
  storeRow(p.dk.of(keyHead, p.keyHeads) + j * p.dk.row, byKey, p.d);
  storeRow(p.dv.of(keyHead, p.keyHeads) + j * p.dv.row, byValue, p.e);
}
