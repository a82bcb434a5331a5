// Attention of 16-bit floats driven by a list, on tensor cores, heads of up to 128: a block has 16 · WARPS rows that share a row of the list
// (queries of a block, of every head of a group: their keys are the same) and goes along its runs, STEP keys at a time; the pass over keys
// has 64 of them and goes along the entries of sparseList.cu, STEP queries at a time, in parts of equal length whose sums are added after.
// BIAS: 0 none, 1 a number a key, 2 a number a pair. The parameters are those of sparse.cu. Source: Dao 2023 (arXiv:2307.08691).

/** Whether every row of every head begins at 16 bytes. */
template <class Element>
static __device__ __forceinline__ bool isPacked(const Operand<Element>& x, int width) {
  return x.head % 8 == 0 && x.batch % 8 == 0 && isPacked(x.at, x.row, width);
}

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

/** The places [least, most] in their block of `rows` rows from row `from` on. */
static __device__ __forceinline__ void extentOf(const Sparse& p, int from, int rows, int& least, int& most) {
  const int place = from % p.blockSize;
  const bool isOne = place + rows <= p.blockSize;
  least = isOne ? place : 0;
  most = isOne ? place + rows - 1 : p.blockSize - 1;
}

/** A lane's two rows of queries. */
struct Rows {
  int keyHead, block, first;         // the warp's first row among those of the block
  int member[2], query[2], place[2];  // the head in its group, the query (-1: none), its place in the block
  __device__ __forceinline__ Rows(const Sparse& p) {
    const int all = groupOf(p) * p.blockSize, tiles = (all + 16 * WARPS - 1) / (16 * WARPS);
    // Long rows first: under a causal mask the last queries see the most keys.
    const int number = (int)(gridDim.x - 1 - blockIdx.x);
    block = number / tiles;
    keyHead = blockIdx.y;
    first = number % tiles * 16 * WARPS + (int)(threadIdx.x >> 5) * 16;
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const int row = first + (int)(threadIdx.x & 31) / 4 + 8 * h;
      member[h] = row < all ? row / p.blockSize : 0;
      place[h] = row % p.blockSize;
      query[h] = block * p.blockSize + place[h];
      if (row >= all || query[h] >= p.t) query[h] = -1;
    }
  }
  /** The first of all warps' rows. */
  __device__ __forceinline__ int firstOfAll() const { return first - (int)(threadIdx.x >> 5) * 16; }
  __device__ __forceinline__ u64 groupHead(const Sparse& p) const {
    return (u64)(keyHead / p.keyHeads * p.heads + keyHead % p.keyHeads * groupOf(p));
  }
  __device__ __forceinline__ u64 headOf(const Sparse& p, int h) const { return groupHead(p) + member[h]; }
  /** The row h of an operand of queries. */
  template <class Element>
  __device__ __forceinline__ Element* of(const Operand<Element>& x, const Sparse& p, int h) const {
    return query[h] < 0 ? nullptr : x.of(headOf(p, h), p.heads) + (i64)query[h] * x.row;
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
    bias = BIAS == 1 ? keyBiasOf(p, rows.groupHead(p) + rows.firstOfAll() / p.blockSize) : nullptr;
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
  extentOf(p, rows.firstOfAll(), 16 * WARPS, least, most);
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

/** The bias of a lane's element of a tile of scores, times log2 e. */
static __device__ __forceinline__ float tileBias(const Sparse& p, const Rows& rows, const Span& span, const float* biases, int n, int e) {
  const int column = n * 8 + 2 * (threadIdx.x & 3) + (e & 1), h = e >> 1;
  if (BIAS == 1) return biases[column];
  if (BIAS == 2 && rows.query[h] >= 0 && span.key + column < span.end)
    return biasAt(p, rows.headOf(p, h), rows.query[h], span.key + column) * LOG2E;
  return 0;
}

/** Hides of a lane's elements what its rows do not see. Inside the band and the ends no element is looked at on its own. */
static __device__ __forceinline__ void hide(const Sparse& p, const Rows& rows, const Span& span, float (*w)[4], float as) {
  int least, most;
  extentOf(p, rows.first, 16, least, most);
  if (span.key + STEP <= span.end && span.low + most <= span.key && span.key + STEP <= span.high + least) return;
#pragma unroll
  for (int n = 0; n < STEP / 8; n++)
#pragma unroll
    for (int e = 0; e < 4; e++)
      if (!sees(span, rows.place[e >> 1], span.key + n * 8 + 2 * (int)(threadIdx.x & 3) + (e & 1))) w[n][e] = as;
}
