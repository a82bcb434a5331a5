// What attention on Hopper's tensor cores shares. A block: one group of four warps that only copies, GROUPS of 64 rows each of one side
// (queries, or keys) that compute, against tiles of STEP rows of the other side, two operands of it, STAGES tiles ahead. Blocks stay
// and take tile after tile, so that the next tile's copies go on while the last one's products do. D: 64 or 128, which heads are filled up
// to with zeros; OWNED: operands of the block's own rows, of which it has OWN_STAGES tiles; GIVEN, TAKEN: registers of a thread that copies, and
// of one that computes. Sums in float32, each with one owner, in one order. Left operands of products that are held in registers over a loop
// are none of ptxas 13.0's: it gives their registers to others (seen for keys and queries).
// Source: Shah et al. 2024 (arXiv:2407.08608), without their exchange between groups.

#ifdef HAS_WARPGROUPS
static constexpr int ROWS = 64 * GROUPS, PANELS = D / 64;
// A block begins with as many registers a thread as its launch bounds leave, whole eights; who waits for more than others gave waits for ever.
static_assert(GIVEN + GROUPS * TAKEN <= 65536 / (128 * (GROUPS + 1)) / 8 * 8 * (GROUPS + 1), "registers of a block");
static constexpr float LOG2E = 1.4426950408889634f, LN2 = 0.6931471805599453f;

struct HopperAttention {
  TensorMap q, k, v, g;
  int tiles, lines, together, isDescending;  // tiles of a head, heads, heads that are walked together, whether the last tiles come first
  Attention of;
};

struct SharedTiles {
  u16 own[OWN_STAGES][OWNED][PANELS][ROWS][64];
  u16 other[STAGES][2][PANELS][STEP][64];
  float statistics[STAGES][2][STEP];
  Barrier ownFull[OWN_STAGES], ownFree[OWN_STAGES], full[STAGES][2], free[STAGES][2];
};
static_assert(sizeof(SharedTiles) + 1008 <= SHARED_BYTES, "shared memory of a block, which begins at a multiple of 16");
static constexpr u32 OWN_BYTES = OWNED * PANELS * ROWS * 128, OTHER_BYTES = PANELS * STEP * 128, OTHER_PANEL = STEP * 128;

/** From the next multiple of 1024, with all barriers started. */
static __device__ __forceinline__ SharedTiles& startShared(unsigned char* raw) {
  SharedTiles& shared = *(SharedTiles*)(raw + (1024 - (sharedAddress(raw) & 1023)) % 1024);
  if (threadIdx.x == 0) {
    for (int i = 0; i < OWN_STAGES; i++) {
      barrierStart(&shared.ownFull[i], 1);
      barrierStart(&shared.ownFree[i], 4 * GROUPS);
    }
    for (int i = 0; i < 2 * STAGES; i++) {
      barrierStart(&shared.full[i / 2][i % 2], 1);
      barrierStart(&shared.free[i / 2][i % 2], 4 * GROUPS);
    }
    barriersStarted();
  }
  __syncthreads();
  return shared;
}
/** 0: the group that copies. */
static __device__ __forceinline__ int groupOfWarps() { return __shfl_sync(0xffffffffu, (int)threadIdx.x / 128, 0); }
/** A warp has done with what the barrier guards. */
static __device__ __forceinline__ void leave(Barrier* free) {
  if ((threadIdx.x & 31) == 0) barrierArrive(free);
}

/** A place in a ring of stages. */
template <int stages>
struct Ring {
  int at;
  u32 parity;
  __device__ __forceinline__ void next() {
    if (++at == stages) {
      at = 0;
      parity ^= 1;
    }
  }
};

typedef Ring<STAGES> Stage;
typedef Ring<OWN_STAGES> OwnStage;

/** A block's tile in a round: heads that share the cache are walked together, long tiles first; every other round runs back, so that all have as much. */
struct Turn {
  int round, first;
  u32 line;
  __device__ __forceinline__ explicit Turn() : round(-1) {}
  /** The next tile; false where there is none. */
  __device__ __forceinline__ bool next(const HopperAttention& p) {
    do {
      if (!at(p, ++round)) return false;
    } while (first < 0);
    return true;
  }
  __device__ __forceinline__ bool at(const HopperAttention& p, int round) {
    const u32 blocks = gridDim.x, i = (u32)round * blocks + ((round & 1) != 0 ? blocks - 1 - blockIdx.x : blockIdx.x);
    if ((u32)round * blocks >= (u32)p.tiles * (u32)p.lines) return false;
    first = -1;
    if (i >= (u32)p.tiles * (u32)p.lines) return true;
    const u32 part = (u32)p.tiles * (u32)p.together, number = i / part, rest = i - number * part;
    const u32 left = (u32)p.lines - number * (u32)p.together, width = left < (u32)p.together ? left : (u32)p.together;
    const u32 tile = rest / width;
    line = number * (u32)p.together + (rest - tile * width);
    first = (int)(p.isDescending ? p.tiles - 1 - tile : tile) * ROWS;
    return true;
  }
};

/** A head's number in its batch, and the batch's. */
struct Line {
  int head, batch;
  __device__ __forceinline__ Line(u32 number, int heads) : head((int)(number % (u32)heads)), batch((int)(number / (u32)heads)) {}
};
/** Copies a tile of `rows` rows, panel by panel. */
static __device__ __forceinline__ void copyTile(void* to, const TensorMap* map, Barrier* barrier, int rows, int row, Line line) {
#pragma unroll
  for (int panel = 0; panel < PANELS; panel++)
    copyBox((unsigned char*)to + panel * rows * 128, map, barrier, panel * 64, row, line.head, line.batch);
}

/** What the queries of a tile see of the keys: tiles of STEP from `from` on, at least one. */
struct Reach {
  int from, count;
  __device__ __forceinline__ Reach(const Attention& p, int first) {
    const int last = first + ROWS - 1 < p.t ? first + ROWS - 1 : p.t - 1, end = endOfKeys(p, last);
    from = firstKey(p, first) / STEP * STEP;
    count = ((end < p.s ? end : p.s) - from + STEP - 1) / STEP;
    if (count < 1) count = 1;
  }
};

/** One thread of the group that copies, where blocks own queries: theirs, then the keys and values that they see, the last tile first. */
static __device__ __forceinline__ void copyForQueries(const HopperAttention& p, SharedTiles& shared) {
  Stage stage = {0, 1};
  OwnStage own = {0, 1};
  for (Turn turn; turn.next(p);) {
    const Reach reach(p.of, turn.first);
    const Line line(turn.line, p.of.heads), keyLine((u32)keyHeadOf(p.of, turn.line), p.of.keyHeads);
    barrierWait(&shared.ownFree[own.at], own.parity);
    barrierExpect(&shared.ownFull[own.at], OWN_BYTES);
#pragma unroll
    for (int which = 0; which < OWNED; which++)
      copyTile(shared.own[own.at][which], which == 0 ? &p.q : &p.g, &shared.ownFull[own.at], ROWS, turn.first, line);
    own.next();
    for (int n = reach.count - 1; n >= 0; n--, stage.next())
#pragma unroll
      for (int which = 0; which < 2; which++) {
        Barrier* full = &shared.full[stage.at][which];
        barrierWait(&shared.free[stage.at][which], stage.parity);
        barrierExpect(full, OTHER_BYTES);
        copyTile(shared.other[stage.at][which], which == 0 ? &p.k : &p.v, full, STEP, reach.from + n * STEP, keyLine);
      }
  }
}

/** What a lane's two rows, g and g + 8 of its warp's sixteen, have to do with a tile of the other side: columns from, up to and without to. */
struct Sight {
  int from[2], to[2];
  bool isWhole;
  /** Rows of queries from row0 on, and keys from j0 on. */
  static __device__ __forceinline__ Sight ofKeys(const Attention& p, int row0, int j0) {
    const int g = (threadIdx.x & 31) / 4, t2 = (threadIdx.x & 3) * 2;
    Sight sight;
    sight.isWhole = j0 + STEP <= p.s && j0 + STEP <= endOfKeys(p, row0) && j0 >= firstKey(p, row0 + 15);
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const int end = endOfKeys(p, row0 + g + 8 * h);
      sight.from[h] = firstKey(p, row0 + g + 8 * h) - j0 - t2;
      sight.to[h] = (end < p.s ? end : p.s) - j0 - t2;
    }
    return sight;
  }
  /** Rows of keys from row0 on, and queries from i0 on: those behind the last have weights of zero anyhow. */
  static __device__ __forceinline__ Sight ofQueries(const Attention& p, int row0, int i0) {
    const int g = (threadIdx.x & 31) / 4, t2 = (threadIdx.x & 3) * 2, shift = p.s - p.t;
    const bool isNear = p.isCausal && p.window > 0;
    Sight sight;
    sight.isWhole = (!p.isCausal || i0 >= row0 + 15 - shift) && (!isNear || i0 + STEP <= row0 - shift + p.window);
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const int first = row0 + g + 8 * h - shift;
      sight.from[h] = p.isCausal ? first - i0 - t2 : -STEP;
      sight.to[h] = isNear ? first + p.window - i0 - t2 : STEP;
    }
    return sight;
  }
  /** Element i of a lane's sums, as products lay them out. */
  __device__ __forceinline__ bool has(int i) const {
    const int column = i / 4 * 8 + (i & 1);
    return column < to[i >> 1 & 1] && column >= from[i >> 1 & 1];
  }
};

/** Sums [16, 2n], as products lay them out, rounded: the left operand of the product that follows. */
template <int n>
static __device__ __forceinline__ void roundInto(u32 (&to)[n / 8][4], const float (&from)[n]) {
#pragma unroll
  for (int kk = 0; kk < n / 8; kk++)
#pragma unroll
    for (int part = 0; part < 4; part++) to[kk][part] = pairOf(from[kk * 8 + part * 2], from[kk * 8 + part * 2 + 1]);
}

/** Over the four lanes that share a row. */
static __device__ __forceinline__ float mostOfRow(float v) {
  v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 1));
  return fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 2));
}
static __device__ __forceinline__ float sumOfRow(float v) {
  v += __shfl_xor_sync(0xffffffffu, v, 1);
  return v + __shfl_xor_sync(0xffffffffu, v, 2);
}

/** Four lanes that share a row exchange what they hold of four tiles of 8 columns, so that each has 16 bytes of one. */
static __device__ __forceinline__ void gatherPacks(u32 (&r)[4]) {
  const bool isOdd = threadIdx.x & 1, isHigh = threadIdx.x & 2;
#pragma unroll
  for (int i = 0; i < 4; i += 2) {
    const u32 other = __shfl_xor_sync(0xffffffffu, isOdd ? r[i] : r[i + 1], 1);
    if (isOdd) r[i] = other;
    else r[i + 1] = other;
  }
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const u32 other = __shfl_xor_sync(0xffffffffu, isHigh ? r[i] : r[i + 2], 2);
    if (isHigh) r[i] = other;
    else r[i + 2] = other;
  }
}
/** Stores a warp's 16 rows, row by row scaled, to the matrix's rows row0 on. */
static __device__ __forceinline__ void storeSums(T* to, i64 step, const float (&sums)[D / 2], int row0, int rows, int width, const float* scales) {
  const int g = (threadIdx.x & 31) / 4, t = threadIdx.x & 3;
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const int i = row0 + g + 8 * h;
#pragma unroll
    for (int n = 0; n < D / 8; n += 4) {
      Pack<u32, 4> pack;
#pragma unroll
      for (int k = 0; k < 4; k++)
        pack.v[k] = pairOf(sums[(n + k) * 4 + 2 * h] * scales[h], sums[(n + k) * 4 + 2 * h + 1] * scales[h]);
      gatherPacks(pack.v);
      const int column = (n + t) * 8;
      if (i < rows && column < width) *(Pack<u32, 4>*)(to + i * step + column) = pack;
    }
  }
}
#endif
