// Attention of 16-bit floats driven by a list, on tensor cores, heads of up to 128: a block has 16 · WARPS rows that share a row of the list
// (queries of a block, of every head of a group: their keys are the same) and goes along its runs, STEP keys at a time; the pass over keys
// has 64 of them and goes along the entries of sparseList.cu, STEP queries at a time, in parts of equal length whose sums are added after.
// BIAS: 0 none, 1 a number a key, 2 a number a pair. The parameters are those of sparse.cu. Source: Dao 2023 (arXiv:2307.08691).

/** Where a tile of a run lies: keys [key, end) of it, seen through the band. */
struct Span {
  int key, end, low, high;
};
static __device__ __forceinline__ bool sees(const Span& at, int r, int c) { return c < at.end && c >= at.low + r && c < at.high + r; }

/** Goes through the runs of rows whose places in the block are [least, most], tile by tile. */
struct Walk {
  const int* runs;
  int slots, slot, least, most, s, to;
  Run next;
  Span span;
  __device__ __forceinline__ Walk(const Sparse& p, const int* runs, int least, int most)
      : runs(runs), slots(p.slots), slot(-1), least(least), most(most), s(p.s), to(0), span{0, 0, 0, 0} {
    if (slots > 0) next = runAt(runs, 0);
  }
  /** Whether there is another tile. */
  __device__ __forceinline__ bool advance() {
    span.key += STEP;
    while (span.key >= to) {
      if (++slot >= slots) return false;
      const Run run = next;
      if (slot + 1 < slots) next = runAt(runs, slot + 1);
      span = Span{firstOf(run, least), run.end < s ? run.end : s, run.low, run.high};
      to = endOf(run, most, s);
    }
    return true;
  }
};

/** A lane's two rows of queries. */
struct Rows {
  int block, first;  // the warp's first row of the block's rows
  u64 keyHead, blockHead;  // the head of the first of all warps' rows
  int query[2], place[2];  // -1: none
  u64 head[2];
  __device__ __forceinline__ Rows(const Sparse& p) {
    const int group = groupOf(p), all = group * p.blockSize, tiles = (all + 16 * WARPS - 1) / (16 * WARPS);
    // Long rows first: under a causal mask the last queries see the most keys.
    const int number = (int)(gridDim.x - 1 - blockIdx.x);
    block = number / tiles;
    keyHead = blockIdx.y;
    first = number % tiles * 16 * WARPS + (int)(threadIdx.x >> 5) * 16;
    const u64 firstHead = keyHead / p.keyHeads * p.heads + keyHead % p.keyHeads * group;
    blockHead = firstHead + number % tiles * 16 * WARPS / p.blockSize;
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const int row = first + (int)(threadIdx.x & 31) / 4 + 8 * h, member = row / p.blockSize;
      place[h] = row % p.blockSize;
      query[h] = block * p.blockSize + place[h];
      if (row >= all || query[h] >= p.t) query[h] = -1;
      head[h] = firstHead + (row < all ? member : 0);
    }
  }
  /** The places [least, most] of `rows` rows from row `from` on. */
  __device__ __forceinline__ void extent(const Sparse& p, int from, int rows, int& least, int& most) const {
    const int place = from % p.blockSize;
    const bool isOne = place + rows <= p.blockSize;
    least = isOne ? place : 0;
    most = isOne ? place + rows - 1 : p.blockSize - 1;
  }
  template <class Element>
  __device__ __forceinline__ Element* of(const Operand<Element>& x, const Sparse& p, int h) const {
    return query[h] < 0 ? nullptr : x.of(head[h], p.heads) + (i64)query[h] * x.row;
  }
};

/** What kernels of queries go along with: tiles of keys and values and, where it is a number a key, of the bias. */
struct Keys {
  const T *k, *v;
  const float* bias;
  bool packsKeys, packsValues;
  __device__ __forceinline__ Keys(const Sparse& p, const Rows& rows) : k(p.k.of(rows.keyHead, p.keyHeads)), v(p.v.of(rows.keyHead, p.keyHeads)) {
    packsKeys = isPacked(k, p.k.row, p.d);
    packsValues = isPacked(v, p.v.row, p.e);
    bias = BIAS == 1 ? keyBiasOf(p, rows.blockHead) : nullptr;
  }
  __device__ __forceinline__ void load(const Sparse& p, const Span& span, Tile* to, float* biases) const {
    loadRows(to[0], k, p.k.row, span.key, span.end, p.d, packsKeys);
    loadRows(to[1], v, p.v.row, span.key, span.end, p.e, packsValues);
    if (BIAS != 1) return;
    for (int c = threadIdx.x; c < STEP; c += THREADS) {
      const bool isWanted = span.key + c < span.end;
      copyAhead<4>(&biases[c], isWanted ? bias + span.key + c : bias, isWanted);
    }
  }
};

/** Goes along the rows' runs: `take(span, tiles of keys and values, biases)` for every tile, whose copies are then there. */
template <class Take>
static __device__ __forceinline__ void overTiles(const Sparse& p, const Rows& rows, const Take& take) {
  __shared__ __align__(16) Tile tiles[2][2];
  __shared__ __align__(16) float biases[2][STEP];
  int least, most;
  rows.extent(p, rows.first - (int)(threadIdx.x >> 5) * 16, 16 * WARPS, least, most);
  Walk walk(p, runsOf(p, rows.keyHead, rows.block), least, most);
  const Keys keys(p, rows);
  bool isThere = walk.advance();
  if (isThere) keys.load(p, walk.span, tiles[0], biases[0]);
  for (int turn = 0; isThere; turn ^= 1) {
    const Span span = walk.span;
    arrive();
    isThere = walk.advance();
    if (isThere) keys.load(p, walk.span, tiles[turn ^ 1], biases[turn ^ 1]);
    take(span, tiles[turn], biases[turn]);
  }
}

/** Calls `use(n, e, whether it is seen, its bias)` for a lane's elements of a tile of scores. */
template <class Use>
static __device__ __forceinline__ void overScores(const Sparse& p, const Rows& rows, const Span& span, const float* biases, const Use& use) {
  const int t = threadIdx.x & 3;
  int least, most;
  rows.extent(p, rows.first, 16, least, most);
  // Inside the band and the ends no element is looked at on its own.
  const bool isWhole = span.key + STEP <= span.end && span.low + most <= span.key && span.key + STEP <= span.high + least;
#pragma unroll
  for (int n = 0; n < STEP / 8; n++)
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const int column = n * 8 + 2 * t + (e & 1), h = e >> 1, c = span.key + column;
      const bool isSeen = isWhole || sees(span, rows.place[h], c);
      float bias = 0;
      if (BIAS == 1) bias = biases[column];
      if (BIAS == 2 && isSeen && rows.query[h] >= 0) bias = biasAt(p, rows.head[h], rows.query[h], c) * LOG2E;
      use(n, e, isSeen, bias);
    }
}

KERNEL(sparseTilesForward, Sparse, 32 * WARPS) {
  const Rows rows(p);
  u32 q[D / 16][4];
  loadLeft(q, rows.of(p.q, p, 0), rows.of(p.q, p, 1), p.d);
  float sums[D / 8][4] = {};
  Softmax softmax;
  softmax.start();
  const float scale = (float)p.scale * LOG2E;
  // Without a bias the largest score is the scale times the largest product, where the scale is positive.
  const bool isLate = BIAS == 0 && scale > 0;
  const float before = isLate ? 1 : scale, after = isLate ? scale : 1;
  overTiles(p, rows, [&](const Span& span, const Tile* tiles, const float* biases) {
    float w[STEP / 8][4];
    againstRows(w, q, tiles[0]);
    overScores(p, rows, span, biases, [&](int n, int e, bool isSeen, float bias) {
      w[n][e] = !isSeen ? -INFINITY : BIAS == 0 ? w[n][e] * before : fmaf(w[n][e], before, bias);
    });
    softmax.fold(w, after, sums);
    timesRows(sums, w, tiles[1]);
  });
  float inverse[2];
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const float all = foldRow<Sum>(softmax.total[h]);
    inverse[h] = all > 0 ? 1 / all : 0;
    if ((threadIdx.x & 3) == 0 && rows.query[h] >= 0)
      p.lse[rows.head[h] * p.t + rows.query[h]] = all > 0 ? logf(all) + softmax.top[h] * LN2 : -INFINITY;
  }
  storeLeft(rows.of(p.out, p, 0), rows.of(p.out, p, 1), sums, p.e, inverse);
}

KERNEL(sparseTilesQueries, Sparse, 32 * WARPS) {
  const Rows rows(p);
  u32 q[D / 16][4], g[D / 16][4];
  loadLeft(q, rows.of(p.q, p, 0), rows.of(p.q, p, 1), p.d);
  loadLeft(g, rows.of(p.g, p, 0), rows.of(p.g, p, 1), p.e);
  float shift[2], delta[2], sums[D / 8][4] = {};
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const u64 at = rows.head[h] * p.t + rows.query[h];
    shift[h] = rows.query[h] < 0 ? INFINITY : p.shift[at] * LOG2E;
    delta[h] = rows.query[h] < 0 ? 0 : p.delta[at];
  }
  const float scale = (float)p.scale;
  overTiles(p, rows, [&](const Span& span, const Tile* tiles, const float* biases) {
    float w[STEP / 8][4], dw[STEP / 8][4];
    againstRows(w, q, tiles[0]);
    againstRows(dw, g, tiles[1]);
    overScores(p, rows, span, biases, [&](int n, int e, bool isSeen, float bias) {
      const int h = e >> 1;
      const float weight = isSeen ? exp2Of(fmaf(w[n][e], scale * LOG2E, bias - shift[h])) : 0;
      w[n][e] = weight * (dw[n][e] - delta[h]);
    });
    timesRows(sums, w, tiles[0]);
  });
  const float scales[2] = {scale, scale};
  storeLeft(rows.of(p.dq, p, 0), rows.of(p.dq, p, 1), sums, p.d, scales);
}
