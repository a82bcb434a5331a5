// The gradients of attention's keys and values on Hopper: 64 keys a group, walking over the queries that see them, of every head that shares them.
// Scores lie with keys in rows, so that weights are left operands as they come. See hopperAttention.cu.

#ifdef HAS_WARPGROUPS
/** The queries that see a tile of keys: tiles of STEP from `from` on, of which there may be none. */
struct Seers {
  int from, count;
  __device__ __forceinline__ Seers(const Attention& p, int first) {
    const int least = first - (p.s - p.t), end = least + ROWS - 1 + p.window;
    from = p.isCausal && least > 0 ? least / STEP * STEP : 0;
    const int until = p.isCausal && p.window > 0 && end < p.t ? end : p.t;
    count = until > from ? (until - from + STEP - 1) / STEP : 0;
  }
};

/** The copying warp: boxes, and the log-sum-exps and deltas that belong to those of queries. */
static __device__ __forceinline__ void copyAll(const HopperAttention& p, SharedTiles& shared) {
  const int lane = threadIdx.x, members = p.of.heads / p.of.keyHeads;
  Stage stage = {0, 1};
  OwnStage own = {0, 1};
  for (Turn turn; turn.next(p);) {
    const Seers seers(p.of, turn.first);
    barrierWait(&shared.ownFree[own.at], own.parity);
    if (lane == 0) {
      const Line line(turn.line, p.of.keyHeads);
      barrierExpect(&shared.ownFull[own.at], OWN_BYTES);
      copyTile(shared.own[own.at][0], &p.k, &shared.ownFull[own.at], ROWS, turn.first, line);
      copyTile(shared.own[own.at][1], &p.v, &shared.ownFull[own.at], ROWS, turn.first, line);
    }
    own.next();
    for (int member = 0; member < members; member++) {
      const u32 head = turn.line * (u32)members + member;  // members of a key head are neighbours
      const Line line(head, p.of.heads);
      const float *lseOf = p.of.lse + (u64)head * p.of.t, *deltaOf = p.of.delta + (u64)head * p.of.t;
      for (int n = 0; n < seers.count; n++, stage.next()) {
        const int i0 = seers.from + n * STEP;
        float lse[STEP / 32], delta[STEP / 32];
#pragma unroll
        for (int r = 0; r < STEP / 32; r++) {
          const int i = i0 + r * 32 + lane;
          lse[r] = i < p.of.t ? lseOf[i] * LOG2E : INFINITY;  // a query that is none has no weight
          delta[r] = i < p.of.t ? deltaOf[i] : 0;
        }
        barrierWait(&shared.free[stage.at][0], stage.parity);
#pragma unroll
        for (int r = 0; r < STEP / 32; r++) {
          shared.statistics[stage.at][0][r * 32 + lane] = lse[r];
          shared.statistics[stage.at][1][r * 32 + lane] = delta[r];
        }
        __syncwarp();
        if (lane == 0) {
          barrierExpect(&shared.full[stage.at][0], OTHER_BYTES);
          copyTile(shared.other[stage.at][0], &p.q, &shared.full[stage.at][0], STEP, i0, line);
          barrierWait(&shared.free[stage.at][1], stage.parity);
          barrierExpect(&shared.full[stage.at][1], OTHER_BYTES);
          copyTile(shared.other[stage.at][1], &p.g, &shared.full[stage.at][1], STEP, i0, line);
        }
      }
    }
  }
}

KERNEL_SHARING(hopperKeys, HopperAttention, 128 * (GROUPS + 1), 1) {
  DYNAMIC_SHARED(unsigned char, raw);
  SharedTiles& shared = startShared(raw);
  const int group = groupOfWarps(), members = p.of.heads / p.of.keyHeads;
  if (group == 0) {
    giveRegisters<GIVEN>();
    if (threadIdx.x < 32) copyAll(p, shared);
  } else {
    takeRegisters<TAKEN>();
    const float scale = (float)p.of.scale * LOG2E;
    const int ownRow = (group - 1) * 64, warp = (int)threadIdx.x / 32 % 4, t2 = (threadIdx.x & 3) * 2;
    Stage stage = {0, 0};
    OwnStage own = {0, 0};
    for (Turn turn; turn.next(p);) {
      const Seers seers(p.of, turn.first);
      const int row0 = turn.first + ownRow + warp * 16, count = seers.count * members;
      float byKey[D / 2] = {}, byValue[D / 2] = {};
      // Where registers are few, changes lie where weights did, once those are used.
      u32 weights[STEP / 16][4], others[D == 64 ? STEP / 16 : 1][4];
      const u64 keys = panelAt(shared.own[own.at][0][0][ownRow], 0), values = panelAt(shared.own[own.at][1][0][ownRow], 0);
      barrierWait(&shared.ownFull[own.at], own.parity);
      Stage before = stage;
      for (int n = 0; n < count; n++) {
        const int i0 = seers.from + n % seers.count * STEP;
        float w[STEP / 2], dw[STEP / 2];
        barrierWait(&shared.full[stage.at][0], stage.parity);
        productsFence();
        rowsAgainstRows<ROWS, STEP>(w, keys, panelAt(shared.other[stage.at][0], 0));
        productsClose();
        barrierWait(&shared.full[stage.at][1], stage.parity);
        productsFence();
        rowsAgainstRows<ROWS, STEP>(dw, values, panelAt(shared.other[stage.at][1], 0));
        productsClose();
        productsWait<1>();  // the scores, and the sums of the tile before
        settle(w);
        if (n > 0) {
          leave(&shared.free[before.at][0]);
          leave(&shared.free[before.at][1]);
        }
        const float *lse = shared.statistics[stage.at][0], *delta = shared.statistics[stage.at][1];
        const Sight sight = Sight::ofQueries(p.of, row0, i0);
#pragma unroll
        for (int i = 0; i < STEP / 2; i++) w[i] = exp2Of(fmaf(w[i], scale, -lse[i / 4 * 8 + t2 + (i & 1)]));
        if (!sight.isWhole)
#pragma unroll
          for (int i = 0; i < STEP / 2; i++)
            if (!sight.has(i)) w[i] = 0;
        roundInto(weights, w);
        settle(weights);
        settle(byValue);
        productsFence();
        weightsTimesRows(byValue, weights, panelAt(shared.other[stage.at][1], OTHER_PANEL), true);
        productsClose();
        productsWait<D == 64 ? 1 : 0>();
        settle(dw);
        if (D > 64) settle(byValue);
#pragma unroll
        for (int i = 0; i < STEP / 2; i++) w[i] *= dw[i] - delta[i / 4 * 8 + t2 + (i & 1)];
        u32(&changes)[STEP / 16][4] = *(u32(*)[STEP / 16][4])(D == 64 ? others : weights);
        roundInto(changes, w);
        settle(changes);
        settle(byKey);
        productsFence();
        weightsTimesRows(byKey, changes, panelAt(shared.other[stage.at][0], OTHER_PANEL), true);
        productsClose();
        before = stage;
        stage.next();
      }
      leave(&shared.ownFree[own.at]);
      own.next();
      productsWait<0>();
      settle(byKey);
      settle(byValue);
      if (count > 0) {
        leave(&shared.free[before.at][0]);
        leave(&shared.free[before.at][1]);
      }
      const float one[2] = {1, 1}, scales[2] = {(float)p.of.scale, (float)p.of.scale};
      storeSums(p.of.dk.of(turn.line, p.of.keyHeads), p.of.dk.row, byKey, row0, p.of.s, p.of.d, scales);
      storeSums(p.of.dv.of(turn.line, p.of.keyHeads), p.of.dv.row, byValue, row0, p.of.s, p.of.e, one);
    }
  }
}
#endif
