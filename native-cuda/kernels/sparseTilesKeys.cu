// The pass over keys of sparseTiles.cu: a block has 64 keys of a key head and part of the entries that show them, and goes along the
// queries of those, STEP at a time, whatever blocks and heads they are of. WARPS: 4.

/** A part of the entries of 64 keys. */
struct Part {
  int number;  // of the 64 keys; -1: there is no such part
  int from, to;
  int partial;  // its place among the sums of parts, -1 where it is the only one
};
static __device__ __forceinline__ Part partOf(const Sparse& p, u64 list, int x) {
  // Whole parts first: the shorter ones fill the gaps.
  const int full = p.totals[list], columns = (int)columnsOf(p);
  const int number = x < full ? p.parts[list * p.mostParts + x] : columns - 1 - (x - full);
  if (number < 0) return Part{-1, 0, 0, 0};
  const Column column = columnAt(p, list, number);
  const int parts = (column.count + p.partEntries - 1) / p.partEntries, index = x < full ? x - column.full : parts > 1 ? parts - 1 : 0;
  const int from = index * p.partEntries, to = from + p.partEntries;
  const int partial = parts > 1 ? column.partial + index : -1;
  if (partial >= p.mostPartials) return Part{-1, 0, 0, 0};
  return Part{number, from, to < column.count ? to : column.count, partial};
}

/** Of a tile's queries: the head within the group, the query (-1: none), and the keys [from, to) it sees. */
struct QueryTile {
  int member[STEP], query[STEP], from[STEP], to[STEP];
};

template <bool isBias>
static __device__ __forceinline__ void overQueries(const Sparse& p) {
  __shared__ __align__(16) Tile tiles[2][2];
  __shared__ __align__(16) float rows[2][2][STEP];  // shift and delta
  __shared__ QueryTile queries[3];                  // of a tile that is computed, one that is loaded, and one that is found
  const int group = groupOf(p), members = isBias ? 1 : group;
  const u64 outer = blockIdx.y, keyHead = isBias ? keyHeadOf(outer, p.heads, p.keyHeads) : outer;
  const u64 head = isBias ? outer : keyHead / p.keyHeads * p.heads + keyHead % p.keyHeads * group;
  const u64 list = listOf(p, keyHead);
  const Part part = partOf(p, list, blockIdx.x);
  if (part.number < 0) return;
  const int* entries = p.entries + 4 * (list * p.mostEntries + p.columns[4 * (list * columnsOf(p) + part.number)] + part.from);
  const int each = members * p.blockSize, total = (part.to - part.from) * each;
  const int lane = threadIdx.x & 31, gi = lane / 4, t = lane & 3, first = part.number * 64, row0 = first + (int)(threadIdx.x >> 5) * 16;

  const auto find = [&](QueryTile& to, int x0) {
    if (threadIdx.x >= STEP) return;
    const int x = x0 + threadIdx.x;
    int member = 0, query = -1, from = 0, end = 0;
    if (x < total) {
      const Entry entry = entryAt(entries, x / each);
      const int place = x % each % p.blockSize;
      if (entry.query + place < p.t) {
        member = x % each / p.blockSize;
        query = entry.query + place;
        from = firstSeen(entry, first, place);
        end = endSeen(entry, first, place);
      }
    }
    to.member[threadIdx.x] = member;
    to.query[threadIdx.x] = query;
    to.from[threadIdx.x] = from;
    to.to[threadIdx.x] = end;
  };
  const T* q = p.q.of(head, p.heads);
  const T* g = p.g.of(head, p.heads);
  const bool packsQueries = isPacked(q, p.q.row, p.d) && p.q.head % 8 == 0, packsGradients = isPacked(g, p.g.row, p.e) && p.g.head % 8 == 0;
  const auto load = [&](int turn, const QueryTile& at) {
    const auto rowOf = [&](const T* from, const Operand<const T>& x) {
      return [&at, from, &x](int r) { return at.query[r] < 0 ? nullptr : from + at.member[r] * x.head + at.query[r] * x.row; };
    };
    loadTile(tiles[turn][0], rowOf(q, p.q), p.d, packsQueries, q);
    loadTile(tiles[turn][1], rowOf(g, p.g), p.e, packsGradients, g);
    for (int r = threadIdx.x; r < STEP; r += THREADS) {
      const bool isWanted = at.query[r] >= 0;
      const u64 row = (head + at.member[r]) * p.t + (isWanted ? at.query[r] : 0);
      copyAhead<4>(&rows[turn][0][r], p.shift + row, isWanted);
      copyAhead<4>(&rows[turn][1][r], p.delta + row, isWanted);
    }
  };
  find(queries[0], 0);
  find(queries[1], STEP);
  u32 k[D / 16][4], v[D / 16][4];
  loadLeft(k, p.k.of(keyHead, p.keyHeads), p.k.row, row0, p.s, p.d);
  loadLeft(v, p.v.of(keyHead, p.keyHeads), p.v.row, row0, p.s, p.e);
  __syncthreads();
  load(0, queries[0]);
  float byKey[D / 8][4] = {}, byValue[D / 8][4] = {}, byBias[2] = {0, 0};
  const float scale = (float)p.scale;
  for (int x0 = 0, turn = 0, now = 0; x0 < total; x0 += STEP, turn ^= 1) {
    const int next = now == 2 ? 0 : now + 1;
    arrive();
    if (x0 + STEP < total) load(turn ^ 1, queries[next]);
    find(queries[next == 2 ? 0 : next + 1], x0 + 2 * STEP);
    const QueryTile& at = queries[now];
    const float *shift = rows[turn][0], *delta = rows[turn][1];
    float w[STEP / 8][4], dw[STEP / 8][4], bias[2] = {0, 0};
    againstRows(w, k, tiles[turn][0]);
    againstRows(dw, v, tiles[turn][1]);
    if (BIAS == 1)
#pragma unroll
      for (int h = 0; h < 2; h++) {
        const int c = row0 + gi + 8 * h;
        if (c < p.s) bias[h] = keyBiasOf(p, head + at.member[0])[c];
      }
    bool isWhole = true;
#pragma unroll
    for (int c = lane; c < STEP; c += 32) isWhole = isWhole && at.from[c] <= row0 && row0 + 15 < at.to[c];
    isWhole = __all_sync(0xffffffffu, isWhole);
#pragma unroll
    for (int n = 0; n < STEP / 8; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const int column = n * 8 + 2 * t + (e & 1), h = e >> 1, c = row0 + gi + 8 * h;
        const bool isSeen = isWhole || (at.from[column] <= c && c < at.to[column]);
        float added = bias[h];
        if (BIAS == 2 && isSeen) added = biasAt(p, head + at.member[column], at.query[column], c) * LOG2E;
        const float weight = isSeen ? exp2Of(fmaf(w[n][e], scale * LOG2E, fmaf(-LOG2E, shift[column], added))) : 0;
        w[n][e] = weight;
        dw[n][e] = weight * (dw[n][e] - delta[column]);
        if (isBias) byBias[h] += dw[n][e];
      }
    if (!isBias) {
      timesRows(byValue, w, tiles[turn][1]);
      timesRows(byKey, dw, tiles[turn][0]);
    }
    now = next;
  }
  const int row = row0 + gi;
  if (isBias) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const float sum = foldRow<Sum>(byBias[h]);
      const int c = row + 8 * h;
      if (t != 0 || c >= p.s) continue;
      if (part.partial < 0) p.db[head * p.dbSize + c] = narrow<T>(sum);
      else p.partials[(outer * p.mostPartials + part.partial) * 64 + (c - first)] = sum;
    }
    return;
  }
  const float one[2] = {1, 1}, scales[2] = {scale, scale};
  if (part.partial < 0) {
    storeRows(p.dk.of(keyHead, p.keyHeads), p.dk.row, byKey, row0, p.s, p.d, scales);
    storeRows(p.dv.of(keyHead, p.keyHeads), p.dv.row, byValue, row0, p.s, p.e, one);
    return;
  }
  float* const to = p.partials + (outer * p.mostPartials + part.partial) * 2 * 64 * D + (row - first) * D;
  storeLeft(to, to + 8 * D, byKey, D, scales);
  storeLeft(to + 64 * D, to + 72 * D, byValue, D, one);
}

KERNEL(sparseTilesKeys, Sparse, 128) { overQueries<false>(p); }
KERNEL(sparseTilesBias, Sparse, 128) { overQueries<true>(p); }

/** Of keys whose entries were cut: the parts that there are, and where their sums begin. 0: nothing to add. */
static __device__ __forceinline__ int partsOf(const Sparse& p, u64 keyHead, i64& from) {
  const Column column = columnAt(p, listOf(p, keyHead), blockIdx.x);
  from = column.partial;
  const int parts = (column.count + p.partEntries - 1) / p.partEntries, room = p.mostPartials - column.partial;
  return parts <= 1 ? 0 : parts < room ? parts : room;
}

KERNEL(sparseTilesSum, Sparse, 256) {
  const u64 keyHead = blockIdx.y;
  i64 from;
  const int parts = partsOf(p, keyHead, from), first = blockIdx.x * 64;
  if (parts == 0) return;
  const float* partials = p.partials + (keyHead * p.mostPartials + from) * 2 * 64 * D;
  for (int i = threadIdx.x; i < 2 * 64 * D; i += 256) {
    const bool isValue = i >= 64 * D;
    const int row = first + i % (64 * D) / D, c = i % D;
    if (row >= p.s || c >= (isValue ? p.e : p.d)) continue;
    float sum = 0;
    for (int n = 0; n < parts; n++) sum += partials[(i64)n * 2 * 64 * D + i];
    const Operand<T>& to = isValue ? p.dv : p.dk;
    to.of(keyHead, p.keyHeads)[row * to.row + c] = narrow<T>(sum);
  }
}

KERNEL(sparseTilesBiasSum, Sparse, 64) {
  const u64 head = blockIdx.y;
  i64 from;
  const int parts = partsOf(p, keyHeadOf(head, p.heads, p.keyHeads), from), row = blockIdx.x * 64 + threadIdx.x;
  if (parts == 0 || row >= p.s) return;
  float sum = 0;
  for (int n = 0; n < parts; n++) sum += p.partials[(head * p.mostPartials + from + n) * 64 + threadIdx.x];
  p.db[head * p.dbSize + row] = narrow<T>(sum);
}
