// Attention of 16-bit floats on tensor cores, heads of up to 128: tiles of 64 queries by STEP keys (or keys by queries), four
// warps of 16 rows. Sums in float32, in one order; no atomics, and no workspace of [t, s]. D: the head, a multiple of 16,
// filled up with zeros; STEP: what a tile holds of the other side. The parameters are those of attention.cu, which is put before
// this. Source: Dao 2023 (arXiv:2307.08691), whose backward pass we split in two, so that every sum has one owner.

typedef u16 Tile[STEP][D + 8];  // eight more than a row, so that neighbouring rows lie in other banks

static constexpr float LOG2E = 1.4426950408889634f, LN2 = 0.6931471805599453f;

/**
 * Begins to load rows of a matrix [rows, width] from row0 on, with zeros beyond its ends. `step`: from row to row; `isPacked`: rows begin at 16 bytes, and
 * the copy goes on while the warps compute.
 */
static __device__ __forceinline__ void loadRows(Tile tile, const T* from, i64 step, int row0, int rows, int width, bool isPacked) {
  for (int part = threadIdx.x; part < STEP * (D / 8); part += 128) {
    const int r = part / (D / 8), c = part % (D / 8) * 8;
    const bool isInside = row0 + r < rows;
    if (isPacked) {
      const bool isWanted = isInside && c < width;
      copyAhead<16>(&tile[r][c], isWanted ? from + (row0 + r) * step + c : from, isWanted);
    } else {
#pragma unroll
      for (int k = 0; k < 8; k++) tile[r][c + k] = isInside && c + k < width ? from[(row0 + r) * step + c + k].bits : (u16)0;
    }
  }
}

/** What was begun is there for all warps, and what they computed on is free. */
static __device__ __forceinline__ void arrive() {
  closeCopies();
  awaitCopies();
  __syncthreads();
}

/** A warp's 16 rows as left operands: [D / 16][4]. */
static __device__ __forceinline__ void loadLeft(u32 (*a)[4], const T* from, i64 step, int row0, int rows, int width) {
  const int g = (threadIdx.x & 31) / 4, t = threadIdx.x & 3;
#pragma unroll
  for (int kk = 0; kk < D / 16; kk++)
#pragma unroll
    for (int part = 0; part < 4; part++) {
      const int r = row0 + g + 8 * (part & 1), c = kk * 16 + 2 * t + 8 * (part >> 1);
      const T* at = from + r * step + c;
      const u32 low = r < rows && c < width ? at[0].bits : 0, high = r < rows && c + 1 < width ? at[1].bits : 0;
      a[kk][part] = low | high << 16;
    }
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

/** Stores a warp's sums, row by row scaled. */
static __device__ __forceinline__ void storeRows(T* to, i64 step, const float (*sums)[4], int row0, int rows, int width, const float* scales) {
  const int g = (threadIdx.x & 31) / 4, t = threadIdx.x & 3;
#pragma unroll
  for (int n = 0; n < D / 8; n++)
#pragma unroll
    for (int k = 0; k < 4; k++) {
      const int r = row0 + g + 8 * (k >> 1), c = n * 8 + 2 * t + (k & 1);
      if (r < rows && c < width) to[r * step + c] = narrow<T>(sums[n][k] * scales[k >> 1]);
    }
}

/** What every tile kernel of queries begins with. A block: 64 queries of one head. */
struct Place {
  u64 head, keyHead;
  int row0, lane, g, t, from, to;
};
static __device__ __forceinline__ Place placeOfQueries(const Attention& p) {
  Place at;
  at.head = blockIdx.y;
  at.keyHead = keyHeadOf(p, at.head);
  // Long rows first: under a causal mask the last queries see the most keys.
  const int first = (int)(gridDim.x - 1 - blockIdx.x) * 64;
  at.lane = threadIdx.x & 31;
  at.g = at.lane / 4;
  at.t = at.lane & 3;
  at.row0 = first + (int)(threadIdx.x >> 5) * 16;
  const int last = first + 63 < p.t ? first + 63 : p.t - 1;
  at.from = firstKey(p, first) / STEP * STEP;
  at.to = endOfKeys(p, last);
  return at;
}
static __device__ __forceinline__ bool sees(const Attention& p, int i, int j) {
  return i < p.t && j < p.s && j < endOfKeys(p, i) && j >= firstKey(p, i);
}
static __device__ __forceinline__ bool isPacked(const T* from, i64 step, int width) {
  return width % 8 == 0 && step % 8 == 0 && (u64)from % 16 == 0;
}

KERNEL(tilesForward, Attention, 128) {
  __shared__ __align__(16) Tile tiles[2][2];
  const Place at = placeOfQueries(p);
  const T* k = p.k.of(at.keyHead, p.keyHeads);
  const T* v = p.v.of(at.keyHead, p.keyHeads);
  const bool packsKeys = isPacked(k, p.k.row, p.d), packsValues = isPacked(v, p.v.row, p.e);
  const auto load = [&](Tile* to, int j0) {
    if (j0 >= at.to) return;
    loadRows(to[0], k, p.k.row, j0, p.s, p.d, packsKeys);
    loadRows(to[1], v, p.v.row, j0, p.s, p.e, packsValues);
  };
  load(tiles[0], at.from);
  u32 q[D / 16][4];
  loadLeft(q, p.q.of(at.head, p.heads), p.q.row, at.row0, p.t, p.d);
  float sums[D / 8][4] = {}, top[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0};
  const float scale = (float)p.scale * LOG2E;
  // The largest score is the scale times the largest product, where the scale is positive.
  const float before = scale > 0 ? 1 : scale, after = scale > 0 ? scale : 1;
  for (int j0 = at.from, turn = 0; j0 < at.to; j0 += STEP, turn ^= 1) {
    arrive();
    load(tiles[turn ^ 1], j0 + STEP);
    const Tile &keys = tiles[turn][0], &values = tiles[turn][1];
    float w[STEP / 8][4];
    againstRows(w, q, keys);
    // Inside the mask and the ends no element is looked at on its own.
    const bool isWhole = at.row0 + 15 < p.t && sees(p, at.row0, j0 + STEP - 1) && sees(p, at.row0 + 15, j0);
    float most[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (int n = 0; n < STEP / 8; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const bool isSeen = isWhole || sees(p, at.row0 + at.g + 8 * (e >> 1), j0 + n * 8 + 2 * at.t + (e & 1));
        w[n][e] = isSeen ? w[n][e] * before : -INFINITY;
        most[e >> 1] = Most::of(most[e >> 1], w[n][e]);
      }
    float kept[2], base[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const float above = Most::of(top[h], foldRow<Most>(most[h]) * after);
      base[h] = above == -INFINITY ? 0 : above;  // nothing seen yet
      kept[h] = exp2Of(top[h] - base[h]);
      top[h] = above;
      total[h] *= kept[h];
    }
#pragma unroll
    for (int n = 0; n < STEP / 8; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        w[n][e] = exp2Of(fmaf(w[n][e], after, -base[e >> 1]));
        total[e >> 1] += w[n][e];
      }
#pragma unroll
    for (int n = 0; n < D / 8; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) sums[n][e] *= kept[e >> 1];
    timesRows(sums, w, values);
  }
  float inverse[2];
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const float all = foldRow<Sum>(total[h]);
    inverse[h] = 1 / all;
    const int i = at.row0 + at.g + 8 * h;
    if (at.t == 0 && i < p.t) p.lse[at.head * p.t + i] = logf(all) + top[h] * LN2;
  }
  storeRows(p.out.of(at.head, p.heads), p.out.row, sums, at.row0, p.t, p.e, inverse);
}

KERNEL(tilesQueries, Attention, 128) {
  __shared__ __align__(16) Tile tiles[2][2];
  const Place at = placeOfQueries(p);
  const T* k = p.k.of(at.keyHead, p.keyHeads);
  const T* v = p.v.of(at.keyHead, p.keyHeads);
  const bool packsKeys = isPacked(k, p.k.row, p.d), packsValues = isPacked(v, p.v.row, p.e);
  const auto load = [&](Tile* to, int j0) {
    if (j0 >= at.to) return;
    loadRows(to[0], k, p.k.row, j0, p.s, p.d, packsKeys);
    loadRows(to[1], v, p.v.row, j0, p.s, p.e, packsValues);
  };
  load(tiles[0], at.from);
  u32 q[D / 16][4], g[D / 16][4];
  loadLeft(q, p.q.of(at.head, p.heads), p.q.row, at.row0, p.t, p.d);
  loadLeft(g, p.g.of(at.head, p.heads), p.g.row, at.row0, p.t, p.e);
  float lse[2], delta[2], sums[D / 8][4] = {};
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const int i = at.row0 + at.g + 8 * h;
    lse[h] = i < p.t ? p.lse[at.head * p.t + i] * LOG2E : 0;
    delta[h] = i < p.t ? p.delta[at.head * p.t + i] : 0;
  }
  const float scale = (float)p.scale;
  for (int j0 = at.from, turn = 0; j0 < at.to; j0 += STEP, turn ^= 1) {
    arrive();
    load(tiles[turn ^ 1], j0 + STEP);
    const Tile &keys = tiles[turn][0], &values = tiles[turn][1];
    float w[STEP / 8][4], dw[STEP / 8][4];
    againstRows(w, q, keys);
    againstRows(dw, g, values);
    const bool isWhole = at.row0 + 15 < p.t && sees(p, at.row0, j0 + STEP - 1) && sees(p, at.row0 + 15, j0);
#pragma unroll
    for (int n = 0; n < STEP / 8; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const bool isSeen = isWhole || sees(p, at.row0 + at.g + 8 * (e >> 1), j0 + n * 8 + 2 * at.t + (e & 1));
        const float weight = isSeen ? exp2Of(fmaf(w[n][e], scale * LOG2E, -lse[e >> 1])) : 0;
        w[n][e] = weight * (dw[n][e] - delta[e >> 1]);
      }
    timesRows(sums, w, keys);
  }
  const float scales[2] = {scale, scale};
  storeRows(p.dq.of(at.head, p.heads), p.dq.row, sums, at.row0, p.t, p.d, scales);
}

/** A block: 64 keys of one key head, over the query heads that share it. */
KERNEL(tilesKeys, Attention, 128) {
  __shared__ __align__(16) Tile tiles[2][2];
  __shared__ __align__(16) float rows[2][2][STEP];  // log-sum-exp and delta
  const u64 keyHead = blockIdx.y;
  const int lane = threadIdx.x & 31, gi = lane / 4, t = lane & 3, first = blockIdx.x * 64, row0 = first + (threadIdx.x >> 5) * 16;
  const int group = p.heads / p.keyHeads, shift = p.s - p.t;
  u32 k[D / 16][4], v[D / 16][4];
  loadLeft(k, p.k.of(keyHead, p.keyHeads), p.k.row, row0, p.s, p.d);
  loadLeft(v, p.v.of(keyHead, p.keyHeads), p.v.row, row0, p.s, p.e);
  float byKey[D / 8][4] = {}, byValue[D / 8][4] = {};
  const float scale = (float)p.scale;
  // The queries that see a key of the block.
  const int least = p.isCausal && first - shift > 0 ? first - shift : 0, from = least / STEP * STEP;
  const int end = p.isCausal && p.window > 0 ? first + 63 - shift + p.window : p.t, until = end < p.t ? end : p.t;
  for (int member = 0; member < group; member++) {
    const u64 head = keyHead / p.keyHeads * p.heads + keyHead % p.keyHeads * group + member;
    const T* q = p.q.of(head, p.heads);
    const T* g = p.g.of(head, p.heads);
    const bool packsQueries = isPacked(q, p.q.row, p.d), packsGradients = isPacked(g, p.g.row, p.e);
    const auto load = [&](int to, int i0) {
      if (i0 >= until) return;
      loadRows(tiles[to][0], q, p.q.row, i0, p.t, p.d, packsQueries);
      loadRows(tiles[to][1], g, p.g.row, i0, p.t, p.e, packsGradients);
      for (int r = threadIdx.x; r < STEP; r += 128) {
        const bool isInside = i0 + r < p.t;
        const u64 row = head * p.t + (isInside ? i0 + r : 0);
        copyAhead<4>(&rows[to][0][r], p.lse + row, isInside);
        copyAhead<4>(&rows[to][1][r], p.delta + row, isInside);
      }
    };
    __syncthreads();  // another head's tiles are done with
    load(0, from);
    for (int i0 = from, turn = 0; i0 < until; i0 += STEP, turn ^= 1) {
      arrive();
      load(turn ^ 1, i0 + STEP);
      const Tile &queries = tiles[turn][0], &gradients = tiles[turn][1];
      const float *lse = rows[turn][0], *delta = rows[turn][1];
      float w[STEP / 8][4], dw[STEP / 8][4];
      againstRows(w, k, queries);
      againstRows(dw, v, gradients);
      const bool isWhole = row0 + 15 < p.s && sees(p, i0, row0 + 15) && sees(p, i0 + STEP - 1, row0);
#pragma unroll
      for (int n = 0; n < STEP / 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
          const int column = n * 8 + 2 * t + (e & 1);
          const bool isSeen = isWhole || sees(p, i0 + column, row0 + gi + 8 * (e >> 1));
          const float weight = isSeen ? exp2Of(fmaf(w[n][e], scale * LOG2E, -LOG2E * lse[column])) : 0;
          w[n][e] = weight;
          dw[n][e] = weight * (dw[n][e] - delta[column]);
        }
      timesRows(byValue, w, gradients);
      timesRows(byKey, dw, queries);
    }
  }
  const float one[2] = {1, 1}, scales[2] = {scale, scale};
  storeRows(p.dk.of(keyHead, p.keyHeads), p.dk.row, byKey, row0, p.s, p.d, scales);
  storeRows(p.dv.of(keyHead, p.keyHeads), p.dv.row, byValue, row0, p.s, p.e, one);
}
