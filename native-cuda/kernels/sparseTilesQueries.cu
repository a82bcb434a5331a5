// The pass of sparseTiles.cu over queries for their gradient.

KERNEL_SHARING(sparseTilesQueries, Sparse, 32 * WARPS, SHARING) {
  const Rows rows(p);
  u32 q[D / 16][4], g[D / 16][4];
  loadLeft(q, rows.of(p.q, p, 0), rows.of(p.q, p, 1), p.d, isPacked(p.q, p.d));
  loadLeft(g, rows.of(p.g, p, 0), rows.of(p.g, p, 1), p.e, isPacked(p.g, p.e));
  float shift[2], delta[2], sums[D / 8][4] = {};
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const u64 at = rows.headOf(p, h) * p.t + rows.query[h];
    shift[h] = rows.query[h] < 0 ? INFINITY : p.shift[at] * LOG2E;
    delta[h] = rows.query[h] < 0 ? 0 : p.delta[at];
  }
  const float scale = (float)p.scale;
  overTiles(p, rows, [&](const Span& span, const Tile* tiles, const float* biases) {
    float w[STEP / 8][4], dw[STEP / 8][4];
    againstRows(w, q, tiles[0]);
    againstRows(dw, g, tiles[1]);
#pragma unroll
    for (int n = 0; n < STEP / 8; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const int h = e >> 1;
        const float weight = exp2Of(fmaf(w[n][e], scale * LOG2E, tileBias(p, rows, span, biases, n, e) - shift[h]));
        w[n][e] = weight * (dw[n][e] - delta[h]);
      }
    hide(p, rows, span, w, 0);
    timesRows(sums, w, tiles[0]);
  });
  const float scales[2] = {scale, scale};
  storeLeft(rows.of(p.dq, p, 0), rows.of(p.dq, p, 1), sums, p.d, scales, isPacked(p.dq, p.d));
}
