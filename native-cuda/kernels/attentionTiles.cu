// Attention of 16-bit floats on tensor cores, heads of up to 128: tiles of 64 queries by STEP keys (or keys by queries), four
// warps of 16 rows. Sums in float32, in one order; no atomics, and no workspace of [t, s]. D: the head, a multiple of 16,
// filled up with zeros; STEP: what a tile holds of the other side. The parameters are those of attentionProblem.cu, which is put before
// this, and the rows and tiles those of tiles.cu. Source: Dao 2023 (arXiv:2307.08691), whose backward pass we split in two, so that every sum has one owner.

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
  float sums[D / 8][4] = {};
  Softmax softmax;
  softmax.start();
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
#pragma unroll
    for (int n = 0; n < STEP / 8; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const bool isSeen = isWhole || sees(p, at.row0 + at.g + 8 * (e >> 1), j0 + n * 8 + 2 * at.t + (e & 1));
        w[n][e] = isSeen ? w[n][e] * before : -INFINITY;
      }
    softmax.fold(w, after, sums);
    timesRows(sums, w, values);
  }
  float inverse[2];
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const float all = foldRow<Sum>(softmax.total[h]);
    inverse[h] = 1 / all;
    const int i = at.row0 + at.g + 8 * h;
    if (at.t == 0 && i < p.t) p.lse[at.head * p.t + i] = logf(all) + softmax.top[h] * LN2;
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
