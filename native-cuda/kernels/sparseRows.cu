// Attention driven by a list, a warp a row (rowsOfAttention.cu): for every type and every size of head. Parameters are those of sparse.cu.

/** A query: a warp's. */
struct Query {
  u64 row, head, keyHead;
  int i, r, lane;
  const int* runs;
};
static __device__ __forceinline__ Query queryOf(const Sparse& p) {
  Query at;
  at.row = (u64)blockIdx.x * 8 + (threadIdx.x >> 5);
  at.lane = threadIdx.x & 31;
  at.head = at.row / p.t;
  at.i = (int)(at.row % p.t);
  at.r = at.i % p.blockSize;
  at.keyHead = keyHeadOf(at.head, p.heads, p.keyHeads);
  at.runs = runsOf(p, at.keyHead, at.i / p.blockSize);
  return at;
}

static __device__ __forceinline__ W scoreOf(const Sparse& p, const T* q, const T* k, const W* bias, int i, int c) {
  const W score = dot(q, k, p.d) * (W)p.scale;
  return bias == nullptr ? score : score + bias[i * p.biasQuery + c];
}

KERNEL(sparseForward, Sparse, 256) {
  const Query at = queryOf(p);
  if (at.head >= p.allHeads) return;
  const T* q = p.q.of(at.head, p.heads) + at.i * p.q.row;
  const T* k = p.k.of(at.keyHead, p.keyHeads);
  const T* v = p.v.of(at.keyHead, p.keyHeads);
  const W* bias = biasOf(p, at.head);
  RowSoftmax row;
  row.start();
  for (int slot = 0; slot < p.slots; slot++) {
    const Run run = runAt(at.runs, slot);
    const auto scoreAt = [&](int j) { return scoreOf(p, q, k + j * p.k.row, bias, at.i, j); };
    row.along(firstOf(run, at.r), endOf(run, at.r, p.s), scoreAt, v, p.v.row, p.e);
  }
  row.store(p.out.of(at.head, p.heads) + at.i * p.out.row, p.e, p.lse + at.row);
}

/** dq of a query, and where a bias is one a pair, its gradient. */
KERNEL(sparseQueries, Sparse, 256) {
  const Query at = queryOf(p);
  if (at.head >= p.allHeads) return;
  const T* q = p.q.of(at.head, p.heads) + at.i * p.q.row;
  const T* g = p.g.of(at.head, p.heads) + at.i * p.g.row;
  const T* k = p.k.of(at.keyHead, p.keyHeads);
  const T* v = p.v.of(at.keyHead, p.keyHeads);
  const W* bias = biasOf(p, at.head);
  const W shift = p.shift[at.row], delta = p.delta[at.row];
  W sums[D] = {};
  const auto slopeAt = [&](int j) {
    const W weight = expOf(scoreOf(p, q, k + j * p.k.row, bias, at.i, j) - shift);
    return weight * (dot(g, v + j * p.v.row, p.e) - delta);
  };
  for (int slot = 0; slot < p.slots; slot++) {
    const Run run = runAt(at.runs, slot);
    addAlong(sums, firstOf(run, at.r), endOf(run, at.r, p.s), slopeAt, (W)p.scale, k, p.k.row, p.d);
  }
  storeRow(p.dq.of(at.head, p.heads) + at.i * p.dq.row, sums, p.d);
}

/** dk and dv of a key, over the heads that share it and their queries, and for a bias a key its gradient. */
KERNEL(sparseKeys, Sparse, 256) {
  const u64 row = (u64)blockIdx.x * 8 + (threadIdx.x >> 5), keyHead = row / p.s;
  const int lane = threadIdx.x & 31;
  if (keyHead >= p.allKeyHeads) return;
  const int j = (int)(row % p.s), first = j / 64 * 64, group = groupOf(p);
  const T* k = p.k.of(keyHead, p.keyHeads) + j * p.k.row;
  const T* v = p.v.of(keyHead, p.keyHeads) + j * p.v.row;
  const u64 list = listOf(p, keyHead);
  const Column column = columnAt(p, list, j / 64);
  const int* entries = p.entries + 4 * (list * p.mostEntries + column.start);
  W byKey[D] = {}, byValue[E] = {};
  for (int member = 0; member < group; member++) {
    const u64 head = keyHead / p.keyHeads * p.heads + keyHead % p.keyHeads * group + member;
    const T* q = p.q.of(head, p.heads);
    const T* g = p.g.of(head, p.heads);
    const W* bias = biasOf(p, head);
    W byBias = 0;
    const i64 queries = (i64)column.count * p.blockSize;
    for (i64 x0 = 0; x0 < queries; x0 += 32) {
      const i64 x = x0 + lane;
      int i = -1;
      W weight = 0, slope = 0;
      if (x < queries) {
        const Entry entry = entryAt(entries, x / p.blockSize);
        const int r = (int)(x % p.blockSize);
        if (entry.query + r < p.t && firstSeen(entry, first, r) <= j && j < endSeen(entry, first, r)) i = entry.query + r;
      }
      if (i >= 0) {
        const u64 at = head * p.t + i;
        weight = expOf(scoreOf(p, q + i * p.q.row, k, bias, i, j) - p.shift[at]);
        slope = weight * (dot(g + i * p.g.row, v, p.e) - p.delta[at]);
        byBias += slope;
      }
      addQueries(byKey, byValue, i, weight, slope, (W)p.scale, q, p.q.row, p.d, g, p.g.row, p.e);
    }
    if (p.db == nullptr || p.biasQuery != 0) continue;
    byBias = foldWarp<Sum>(byBias);
    if (lane == 0) p.db[head * p.dbSize + j] = byBias;
  }
  storeRow(p.dk.of(keyHead, p.keyHeads) + j * p.dk.row, byKey, p.d);
  storeRow(p.dv.of(keyHead, p.keyHeads) + j * p.dv.row, byValue, p.e);
}

/** The gradient by a pair's score, once. */
static __device__ __forceinline__ W slopeOf(const Sparse& p, u64 head, int i, int c) {
  const u64 keyHead = keyHeadOf(head, p.heads, p.keyHeads), row = head * p.t + i;
  const T* q = p.q.of(head, p.heads) + i * p.q.row;
  const T* g = p.g.of(head, p.heads) + i * p.g.row;
  const T* k = p.k.of(keyHead, p.keyHeads) + c * p.k.row;
  const T* v = p.v.of(keyHead, p.keyHeads) + c * p.v.row;
  return expOf(scoreOf(p, q, k, biasOf(p, head), i, c) - p.shift[row]) * (dot(g, v, p.e) - p.delta[row]);
}

/** The gradient by a bias of a pair, a thread each. */
KERNEL(sparsePairs, Sparse, 256) {
  const u64 at = (u64)blockIdx.x * 256 + threadIdx.x, head = at / p.dbSize;
  if (head >= p.allHeads) return;
  const int i = (int)(at % p.dbSize / p.s), c = (int)(at % p.dbSize % p.s), r = i % p.blockSize;
  const int* runs = runsOf(p, keyHeadOf(head, p.heads, p.keyHeads), i / p.blockSize);
  int times = 0;
  for (int slot = 0; slot < p.slots; slot++) {
    const Run run = runAt(runs, slot);
    if (c >= firstOf(run, r) && c < endOf(run, r, p.s)) times++;
  }
  p.db[at] = times == 0 ? (W)0 : (W)times * slopeOf(p, head, i, c);
}

/** The gradient by a bias of a distance, a warp each: a lane goes through every 32nd run. */
KERNEL(sparseDistances, Sparse, 256) {
  const u64 at = (u64)blockIdx.x * 8 + (threadIdx.x >> 5), head = at / p.dbSize;
  if (head >= p.allHeads) return;
  const int lane = threadIdx.x & 31, distance = (int)(at % p.dbSize) - (p.t - 1);
  const u64 keyHead = keyHeadOf(head, p.heads, p.keyHeads);
  W sum = 0;
  for (i64 slot = lane; slot < (i64)p.blocks * p.slots; slot += 32) {
    const int block = (int)(slot / p.slots), query = block * p.blockSize, key = query + distance;
    const Run run = runAt(runsOf(p, keyHead, block), slot % p.slots);
    if (run.low > key || key >= run.high) continue;  // c - r is the same for all of the block's queries
    const int rows = p.t - query < p.blockSize ? p.t - query : p.blockSize;
    const int from = within((run.first > 0 ? run.first : 0) - key, 0, rows), to = within((run.end < p.s ? run.end : p.s) - key, 0, rows);
    for (int r = from; r < to; r++) sum += slopeOf(p, head, query + r, key + r);
  }
  sum = foldWarp<Sum>(sum);
  if (lane == 0) p.db[at] = sum;
}
