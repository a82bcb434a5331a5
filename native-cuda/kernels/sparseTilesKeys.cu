// The pass over keys of sparseTiles.cu: a block has 64 keys of a key head and part of the entries that show them, and goes along the
// queries of those, STEP at a time, whatever blocks and heads they are of. WARPS: 4; UNIFORM: whether blocks are multiples of STEP.

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

/** Queries that a block of keys goes along, STEP at a time: those of every entry, head after head. */
struct Along {
  const int* entries;
  const T *q, *g;
  int head;  // the first of the group's
  int members, first, entryCount;
  bool packsQueries, packsGradients;
};

/** Begins to load the shift and delta of a tile's query. */
static __device__ __forceinline__ void loadRow(const Sparse& p, float (*rows)[STEP], int r, u64 row, bool isWanted) {
  copyAhead<4>(&rows[0][r], p.shift + (isWanted ? row : 0), isWanted);
  copyAhead<4>(&rows[1][r], p.delta + (isWanted ? row : 0), isWanted);
}

#if UNIFORM
/** A tile of one head of one block: blocks are multiples of STEP. All threads know all of it. */
struct QueryTile {
  int member, query, t;
  int from, to, low, high;  // the keys that query `column` sees: of [from, to) those of [low, high) + column
  __device__ __forceinline__ void load(const Sparse& p, const Along& along, Tile* tiles, float (*rows)[STEP]) const {
    loadRows(tiles[0], along.q + member * p.q.head, p.q.row, query, t, p.d, along.packsQueries);
    loadRows(tiles[1], along.g + member * p.g.head, p.g.row, query, t, p.e, along.packsGradients);
    for (int r = threadIdx.x; r < STEP; r += THREADS) loadRow(p, rows, r, (u64)(along.head + member) * t + query + r, query + r < t);
  }
  __device__ __forceinline__ int memberOf(int) const { return member; }
  __device__ __forceinline__ int queryOf(int column) const { return query + column < t ? query + column : -1; }
  __device__ __forceinline__ bool sees(int column, int c) const {
    return query + column < t && c >= from && c < to && c >= low + column && c < high + column;
  }
  /** Whether all queries see the 16 keys from row0 on. */
  __device__ __forceinline__ bool seeAll(int row0) const {
    return query + STEP <= t && from <= row0 && low + STEP - 1 <= row0 && row0 + 15 < to && row0 + 15 < high;
  }
  /** Whether no query sees any of them: a causal edge leaves such tiles in blocks of several. */
  __device__ __forceinline__ bool seesNone(int row0) const {
    return row0 >= to || row0 + 16 <= from || row0 >= high + STEP - 1 || row0 + 16 <= low;
  }
};

/** Goes from tile to tile. */
struct QueryWalk {
  QueryTile at;
  Entry ahead;  // on its way while the one before is gone through
  int index, left;
  __device__ __forceinline__ void enter(const Sparse& p, const Along& along, const Entry& entry) {
    at.query = entry.query;
    at.from = along.first + (entry.keys & 255);
    at.to = along.first + (entry.keys >> 8);
    at.low = entry.low;
    at.high = entry.high;
    left = p.blockSize;
  }
  __device__ __forceinline__ void start(const Sparse& p, const Along& along) {
    index = at.member = 0;
    at.t = p.t;
    enter(p, along, entryAt(along.entries, 0));
    ahead = entryAt(along.entries, along.entryCount > 1 ? 1 : 0);
  }
  __device__ __forceinline__ void advance(const Sparse& p, const Along& along) {
    left -= STEP;
    int by = STEP;
    if (left == 0) {
      if (++at.member == along.members) {
        at.member = 0;
        enter(p, along, ahead);
        if (++index + 1 < along.entryCount) ahead = entryAt(along.entries, index + 1);
        return;
      }
      by = STEP - p.blockSize;
      left = p.blockSize;
    }
    at.query += by;
    at.low += by;
    at.high += by;
  }
};
#else
/** A tile of any queries. STEP threads find them while all compute on the tile before the last. */
struct QueryTile {
  int member[STEP], query[STEP], from[STEP], to[STEP];  // query -1: none
  __device__ __forceinline__ void find(const Sparse& p, const Along& along, int x0) {
    if (threadIdx.x >= STEP) return;
    const int x = x0 + threadIdx.x, each = along.members * p.blockSize, index = x / each;
    int own = 0, number = -1, least = 0, end = 0;
    if (index < along.entryCount) {
      const Entry entry = entryAt(along.entries, index);
      const int place = x % each % p.blockSize;
      if (entry.query + place < p.t) {
        own = x % each / p.blockSize;
        number = entry.query + place;
        least = firstSeen(entry, along.first, place);
        end = endSeen(entry, along.first, place);
      }
    }
    member[threadIdx.x] = own;
    query[threadIdx.x] = number;
    from[threadIdx.x] = least;
    to[threadIdx.x] = end;
  }
  __device__ __forceinline__ void load(const Sparse& p, const Along& along, Tile* tiles, float (*rows)[STEP]) const {
    const auto rowOf = [&](const T* at, const Operand<const T>& x) {
      return [this, at, &x](int r) { return query[r] < 0 ? nullptr : at + member[r] * x.head + query[r] * x.row; };
    };
    loadTile(tiles[0], rowOf(along.q, p.q), p.d, along.packsQueries, along.q);
    loadTile(tiles[1], rowOf(along.g, p.g), p.e, along.packsGradients, along.g);
    for (int r = threadIdx.x; r < STEP; r += THREADS) loadRow(p, rows, r, (u64)(along.head + member[r]) * p.t + query[r], query[r] >= 0);
  }
  __device__ __forceinline__ int memberOf(int column) const { return member[column]; }
  __device__ __forceinline__ int queryOf(int column) const { return query[column]; }
  __device__ __forceinline__ bool sees(int column, int c) const { return c >= from[column] && c < to[column]; }
  __device__ __forceinline__ bool seeAll(int row0) const {
    bool isWhole = true;
#pragma unroll
    for (int c = threadIdx.x & 31; c < STEP; c += 32) isWhole = isWhole && from[c] <= row0 && row0 + 15 < to[c];
    return __all_sync(0xffffffffu, isWhole);
  }
  __device__ __forceinline__ bool seesNone(int) const { return false; }
};
#endif

/** Calls `take(tile, queries and gradients, shift and delta)` for every tile, whose copies are then there. */
template <class Take>
static __device__ __forceinline__ void overQueries(const Sparse& p, const Along& along, const Take& take) {
  __shared__ __align__(16) Tile tiles[2][2];
  __shared__ __align__(16) float rows[2][2][STEP];
  const int total = along.entryCount * along.members * p.blockSize;
  if (total == 0) return;
#if UNIFORM
  QueryWalk walk;
  walk.start(p, along);
  walk.at.load(p, along, tiles[0], rows[0]);
  for (int x0 = 0, turn = 0; x0 < total; x0 += STEP, turn ^= 1) {
    const QueryTile now = walk.at;
    arrive();
    if (x0 + STEP < total) {
      walk.advance(p, along);
      walk.at.load(p, along, tiles[turn ^ 1], rows[turn ^ 1]);
    }
    take(now, tiles[turn], rows[turn]);
  }
#else
  __shared__ QueryTile queries[3];  // of a tile that is computed, one that is loaded, and one that is found
  queries[0].find(p, along, 0);
  queries[1].find(p, along, STEP);
  __syncthreads();
  queries[0].load(p, along, tiles[0], rows[0]);
  for (int x0 = 0, turn = 0, now = 0; x0 < total; x0 += STEP, turn ^= 1) {
    const int next = now == 2 ? 0 : now + 1;
    arrive();
    if (x0 + STEP < total) queries[next].load(p, along, tiles[turn ^ 1], rows[turn ^ 1]);
    queries[next == 2 ? 0 : next + 1].find(p, along, x0 + 2 * STEP);
    take(queries[now], tiles[turn], rows[turn]);
    now = next;
  }
#endif
}

/** A block of 64 keys: for dk and dv over the heads that share it, or for the gradient by the bias of one head. */
template <bool isBias>
static __device__ __forceinline__ void forKeys(const Sparse& p) {
  const int group = groupOf(p);
  const u64 outer = blockIdx.y, keyHead = isBias ? keyHeadOf(outer, p.heads, p.keyHeads) : outer;
  const u64 list = listOf(p, keyHead);
  const Part part = partOf(p, list, blockIdx.x);
  if (part.number < 0) return;
  Along along;
  along.head = (int)(isBias ? outer : keyHead / p.keyHeads * p.heads + keyHead % p.keyHeads * group);
  along.members = isBias ? 1 : group;
  along.entries = p.entries + 4 * (list * p.mostEntries + columnAt(p, list, part.number).start + part.from);
  along.entryCount = part.to - part.from;
  along.first = part.number * 64;
  along.q = p.q.of(along.head, p.heads);
  along.g = p.g.of(along.head, p.heads);
  along.packsQueries = isPacked(along.q, p.q.row, p.d) && p.q.head % 8 == 0;
  along.packsGradients = isPacked(along.g, p.g.row, p.e) && p.g.head % 8 == 0;
  const int lane = threadIdx.x & 31, gi = lane / 4, t = lane & 3, first = along.first, row0 = first + (int)(threadIdx.x >> 5) * 16;
  u32 k[D / 16][4], v[D / 16][4];
  loadLeft(k, p.k.of(keyHead, p.keyHeads), p.k.row, row0, p.s, p.d);
  loadLeft(v, p.v.of(keyHead, p.keyHeads), p.v.row, row0, p.s, p.e);
  float byKey[D / 8][4] = {}, byValue[D / 8][4] = {}, byBias[2] = {0, 0};
  const float scale = (float)p.scale;
  overQueries(p, along, [&](const QueryTile& at, const Tile* tiles, const float (*rows)[STEP]) {
    if (at.seesNone(row0)) return;
    const float *shift = rows[0], *delta = rows[1];
    float w[STEP / 8][4], dw[STEP / 8][4], bias[2] = {0, 0};
    againstRows(w, k, tiles[0]);
    againstRows(dw, v, tiles[1]);
    if (BIAS == 1)
#pragma unroll
      for (int h = 0; h < 2; h++) {
        const int c = row0 + gi + 8 * h;
        if (c < p.s) bias[h] = keyBiasOf(p, along.head + at.memberOf(0))[c];
      }
#pragma unroll
    for (int n = 0; n < STEP / 8; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const int column = n * 8 + 2 * t + (e & 1), h = e >> 1, c = row0 + gi + 8 * h;
        float added = bias[h];
        if (BIAS == 2 && at.queryOf(column) >= 0 && c < p.s) added = biasAt(p, along.head + at.memberOf(column), at.queryOf(column), c) * LOG2E;
        w[n][e] = exp2Of(fmaf(w[n][e], scale * LOG2E, fmaf(-LOG2E, shift[column], added)));
        dw[n][e] = w[n][e] * (dw[n][e] - delta[column]);
      }
    if (!at.seeAll(row0))
#pragma unroll
      for (int n = 0; n < STEP / 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++)
          if (!at.sees(n * 8 + 2 * t + (e & 1), row0 + gi + 8 * (e >> 1))) w[n][e] = dw[n][e] = 0;
    if (isBias) {
#pragma unroll
      for (int n = 0; n < STEP / 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) byBias[e >> 1] += dw[n][e];
      return;
    }
    timesRows(byValue, w, tiles[1]);
    timesRows(byKey, dw, tiles[0]);
  });
  if (isBias) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const float sum = foldRow<Sum>(byBias[h]);
      const int c = row0 + gi + 8 * h;
      if (t != 0 || c >= p.s) continue;
      if (part.partial < 0) p.db[(u64)along.head * p.dbSize + c] = sum;
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
  float* const to = p.partials + (outer * p.mostPartials + part.partial) * 2 * 64 * D + (row0 - first + gi) * D + 2 * t;
#pragma unroll
  for (int n = 0; n < D / 8; n++)
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const int at = (e >> 1) * 8 * D + n * 8 + (e & 1);
      to[at] = byKey[n][e] * scale;
      to[64 * D + at] = byValue[n][e];
    }
}

KERNEL_SHARING(sparseTilesKeys, Sparse, 128, SHARING) { forKeys<false>(p); }
KERNEL(sparseTilesBias, Sparse, 128) { forKeys<true>(p); }

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
  p.db[head * p.dbSize + row] = sum;
}
