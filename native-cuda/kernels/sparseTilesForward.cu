// The forward pass of sparseTiles.cu.

KERNEL_SHARING(sparseTilesForward, Sparse, 32 * WARPS, SHARING) {
  const Rows rows(p);
  u32 q[D / 16][4];
  loadLeft(q, rows.of(p.q, p, 0), rows.of(p.q, p, 1), p.d, isPacked(p.q, p.d));
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
    if (BIAS != 0 || before != 1)
#pragma unroll
      for (int n = 0; n < STEP / 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) w[n][e] = fmaf(w[n][e], before, tileBias(p, rows, span, biases, n, e));
    hide(p, rows, span, w, -INFINITY);
    softmax.fold(w, after, sums);
    timesRows(sums, w, tiles[1]);
  });
  float inverse[2];
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const float all = foldRow<Sum>(softmax.total[h]);
    inverse[h] = all > 0 ? 1 / all : 0;
    if ((threadIdx.x & 3) == 0 && rows.query[h] >= 0)
      p.lse[rows.headOf(p, h) * p.t + rows.query[h]] = all > 0 ? logf(all) + softmax.top[h] * LN2 : -INFINITY;
  }
  storeLeft(rows.of(p.out, p, 0), rows.of(p.out, p, 1), sums, p.e, inverse, isPacked(p.out, p.e));
}
