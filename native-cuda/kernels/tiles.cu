// Tiles of 16-bit floats on tensor cores: what kernels of attention do with rows of one side (16 a warp, WARPS of them) and a tile of
// STEP rows of the other side, each D wide, a multiple of 16, filled up with zeros. Sums are float32, in one order. T.

static constexpr int THREADS = 32 * WARPS;
static constexpr float LOG2E = 1.4426950408889634f, LN2 = 0.6931471805599453f;

typedef u16 Tile[STEP][D + 8];  // eight more than a row, so that neighbouring rows lie in other banks

/**
 * Begins to load a tile, row r of it from `rowOf(r)`, a row of `width` elements, or zeros where that is null; `isPacked`: rows begin at 16 bytes, and
 * the copy goes on while the warps compute. `any`: an address to name where nothing is read.
 */
template <class RowOf>
static __device__ __forceinline__ void loadTile(Tile tile, const RowOf& rowOf, int width, bool isPacked, const T* any) {
  constexpr int parts = STEP * (D / 8);
#pragma unroll
  for (int first = 0; first < parts; first += THREADS) {
    const int part = first + threadIdx.x, r = part / (D / 8), c = part % (D / 8) * 8;
    if (parts % THREADS != 0 && part >= parts) break;
    const T* row = rowOf(r);
    if (isPacked) {
      const bool isWanted = row != nullptr && c < width;
      copyAhead<16>(&tile[r][c], isWanted ? row + c : any, isWanted);
    } else {
#pragma unroll
      for (int k = 0; k < 8; k++) tile[r][c + k] = row != nullptr && c + k < width ? row[c + k].bits : (u16)0;
    }
  }
}

/** The same of rows row0 on of a matrix [rows, width], `step` from row to row. */
static __device__ __forceinline__ void loadRows(Tile tile, const T* from, i64 step, int row0, int rows, int width, bool isPacked) {
  if (isPacked && THREADS % (D / 8) == 0) {
    // A thread stays in its columns, so that only the row goes on.
    constexpr int stride = THREADS / (D / 8) < STEP ? THREADS / (D / 8) : STEP;
    const int r = threadIdx.x / (D / 8), c = threadIdx.x % (D / 8) * 8;
    const bool isWanted = c < width;
    const SharedAt to = sharedAt(&tile[r < STEP ? r : 0][c]);
    const T* at = from + (row0 + r) * step + c;
    if (r < STEP)
#pragma unroll
      for (int first = 0; first < STEP; first += stride, at += stride * step) {
        const bool isInside = isWanted && row0 + r + first < rows;
        copyPack(further(to, first * (D + 8)), isInside ? at : from, isInside);
      }
    return;
  }
  const auto rowOf = [&](int r) { return row0 + r < rows ? from + (row0 + r) * step : nullptr; };
  loadTile(tile, rowOf, width, isPacked, from);
}

static __device__ __forceinline__ bool isPacked(const T* from, i64 step, int width) {
  return width % 8 == 0 && step % 8 == 0 && (u64)from % 16 == 0;
}

/** What was begun is there for all warps, and what they computed on is free. */
static __device__ __forceinline__ void arrive() {
  closeCopies();
  awaitCopies();
  __syncthreads();
}

/** A pair of neighbours, at an address that begins at a whole word. */
static __device__ __forceinline__ u32 pairAt(const T* at) { return *(const u32*)at; }

/** A warp's 16 rows as left operands [D / 16][4], given a lane's two: rows g and g + 8, null for zeros. */
static __device__ __forceinline__ void loadLeft(u32 (*a)[4], const T* first, const T* second, int width, bool isPacked) {
  const int t = threadIdx.x & 3;
#pragma unroll
  for (int kk = 0; kk < D / 16; kk++)
#pragma unroll
    for (int part = 0; part < 4; part++) {
      const T* row = (part & 1) == 0 ? first : second;
      const int c = kk * 16 + 2 * t + 8 * (part >> 1);
      if (isPacked) {
        a[kk][part] = row != nullptr && c < width ? pairAt(row + c) : 0;
        continue;
      }
      const u32 low = row != nullptr && c < width ? row[c].bits : 0, high = row != nullptr && c + 1 < width ? row[c + 1].bits : 0;
      a[kk][part] = low | high << 16;
    }
}
/** The same of rows row0 on of a matrix. */
static __device__ __forceinline__ void loadLeft(u32 (*a)[4], const T* from, i64 step, int row0, int rows, int width) {
  const int r = row0 + (int)(threadIdx.x & 31) / 4;
  loadLeft(a, r < rows ? from + r * step : nullptr, r + 8 < rows ? from + (r + 8) * step : nullptr, width, isPacked(from, step, width));
}

/** c [STEP / 8][4] = a · tileᵀ: rows against the rows of a tile. */
static __device__ __forceinline__ void againstRows(float (*c)[4], const u32 (*a)[4], const Tile tile) {
  const int lane = threadIdx.x & 31;
#pragma unroll
  for (int n = 0; n < STEP / 8; n++) c[n][0] = c[n][1] = c[n][2] = c[n][3] = 0;
  // Four tiles a load: two parts of two k steps; where D has an odd number of steps, the last load reads its step twice.
  const int last = D / 16 % 2 != 0 ? D - 16 : D;
  const SharedAt at = sharedAt(&tile[lane & 7][(lane >> 3) * 8]), odd = sharedAt(&tile[lane & 7][(lane >> 3 & 1) * 8]);
#pragma unroll
  for (int kk = 0; kk < D / 16; kk += 2)
#pragma unroll
    for (int n = 0; n < STEP / 8; n++) {
      u32 b[4];
      loadTiles<false>(b, further(kk * 16 < last ? at : odd, n * 8 * (D + 8) + kk * 16));
      multiplyTiles(c[n], a[kk], b);
      if (kk + 1 < D / 16) multiplyTiles(c[n], a[kk + 1], b + 2);
    }
}

/** sums [D / 8][4] += w · tile, w [16, STEP] in the layout of a product. */
static __device__ __forceinline__ void timesRows(float (*sums)[4], const float (*w)[4], const Tile tile) {
  const int lane = threadIdx.x & 31;
  const SharedAt at = sharedAt(&tile[lane & 15][(lane >> 4) * 8]);
#pragma unroll
  for (int kk = 0; kk < STEP / 16; kk++) {
    const u32 a[4] = {pairOf(w[2 * kk][0], w[2 * kk][1]), pairOf(w[2 * kk][2], w[2 * kk][3]),
                      pairOf(w[2 * kk + 1][0], w[2 * kk + 1][1]), pairOf(w[2 * kk + 1][2], w[2 * kk + 1][3])};
#pragma unroll
    for (int n = 0; n < D / 8; n += 2) {
      u32 b[4];
      loadTiles<true>(b, further(at, kk * 16 * (D + 8) + n * 8));
      multiplyTiles(sums[n], a, b);
      multiplyTiles(sums[n + 1], a, b + 2);
    }
  }
}

/** Over the four lanes that share a row. */
template <class Fold>
static __device__ __forceinline__ float foldRow(float v) {
  v = Fold::of(v, __shfl_xor_sync(0xffffffffu, v, 1));
  return Fold::of(v, __shfl_xor_sync(0xffffffffu, v, 2));
}
struct Most {
  static __device__ __forceinline__ float of(float a, float b) { return fmaxf(a, b); }
};

/** A softmax that goes along with the tiles: of a lane's two rows the largest score so far (in units of log 2), and the lane's part of the sum. */
struct Softmax {
  float top[2], total[2];
  __device__ __forceinline__ void start() {
    top[0] = top[1] = -INFINITY;
    total[0] = total[1] = 0;
  }
  /** Scores that are `factor` (positive) times w [STEP / 8][4] become weights, and `sums` are scaled to the new top. */
  __device__ __forceinline__ void fold(float (*w)[4], float factor, float (*sums)[4]) {
    float most[2] = {-INFINITY, -INFINITY}, kept[2], base[2];
#pragma unroll
    for (int n = 0; n < STEP / 8; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) most[e >> 1] = Most::of(most[e >> 1], w[n][e]);
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const float above = Most::of(top[h], foldRow<Most>(most[h]) * factor);
      base[h] = above == -INFINITY ? 0 : above;  // nothing seen yet
      kept[h] = exp2Of(top[h] - base[h]);
      top[h] = above;
      total[h] *= kept[h];
    }
#pragma unroll
    for (int n = 0; n < STEP / 8; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        w[n][e] = exp2Of(fmaf(w[n][e], factor, -base[e >> 1]));
        total[e >> 1] += w[n][e];
      }
#pragma unroll
    for (int n = 0; n < D / 8; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) sums[n][e] *= kept[e >> 1];
  }
};

/** Stores a warp's sums, row by row scaled, to a lane's two rows; nowhere where null. */
static __device__ __forceinline__ void storeLeft(T* first, T* second, const float (*sums)[4], int width, const float* scales, bool isPacked) {
  const int t = threadIdx.x & 3;
#pragma unroll
  for (int n = 0; n < D / 8; n++)
#pragma unroll
    for (int h = 0; h < 2; h++) {
      T* row = h == 0 ? first : second;
      const int c = n * 8 + 2 * t;
      if (row == nullptr || c >= width) continue;
      const float low = sums[n][2 * h] * scales[h], high = sums[n][2 * h + 1] * scales[h];
      if (isPacked) {
        *(u32*)(row + c) = pairOf(low, high);
        continue;
      }
      row[c] = narrow<T>(low);
      if (c + 1 < width) row[c + 1] = narrow<T>(high);
    }
}
/** The same to rows row0 on of a matrix. */
static __device__ __forceinline__ void storeRows(T* to, i64 step, const float (*sums)[4], int row0, int rows, int width, const float* scales) {
  const int r = row0 + (int)(threadIdx.x & 31) / 4;
  storeLeft(r < rows ? to + r * step : nullptr, r + 8 < rows ? to + (r + 8) * step : nullptr, sums, width, scales, isPacked(to, step, width));
}
