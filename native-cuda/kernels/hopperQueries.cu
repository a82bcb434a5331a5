// The gradient of attention's queries on Hopper: 64 queries a group, walking over the keys that they see. While the threads turn a tile's scores
// into weights, the tensor cores multiply the next operand. See hopperAttention.cu.

#ifdef HAS_WARPGROUPS
KERNEL_SHARING(hopperQueries, HopperAttention, 128 * (GROUPS + 1), 1) {
  DYNAMIC_SHARED(unsigned char, raw);
  SharedTiles& shared = startShared(raw);
  const int group = groupOfWarps();
  if (group == 0) {
    giveRegisters<GIVEN>();
    if (threadIdx.x == 0) copyForQueries(p, shared);
  } else {
    takeRegisters<TAKEN>();
    const float scale = (float)p.of.scale * LOG2E;
    const int ownRow = (group - 1) * 64, warp = (int)threadIdx.x / 32 % 4;
    Stage stage = {0, 0};
    OwnStage own = {0, 0};
    for (Turn turn; turn.next(p);) {
      const Reach reach(p.of, turn.first);
      const int row0 = turn.first + ownRow + warp * 16;
      float lse[2], delta[2], sums[D / 2];
      u32 changes[STEP / 16][4];
#pragma unroll
      for (int h = 0; h < 2; h++) {
        const int i = row0 + (threadIdx.x & 31) / 4 + 8 * h;
        const u64 at = (u64)turn.line * p.of.t + i;
        lse[h] = i < p.of.t ? p.of.lse[at] * LOG2E : 0;
        delta[h] = i < p.of.t ? p.of.delta[at] : 0;
      }
      const u64 queries = panelAt(shared.own[own.at][0][0][ownRow], 0), gradients = panelAt(shared.own[own.at][1][0][ownRow], 0);
      barrierWait(&shared.ownFull[own.at], own.parity);
      Stage before = stage;
      for (int n = reach.count - 1; n >= 0; n--) {
        const int j0 = reach.from + n * STEP;
        float w[STEP / 2], dw[STEP / 2];
        barrierWait(&shared.full[stage.at][0], stage.parity);
        productsFence();
        rowsAgainstRows<ROWS, STEP>(w, queries, panelAt(shared.other[stage.at][0], 0));
        productsClose();
        barrierWait(&shared.full[stage.at][1], stage.parity);
        productsFence();
        rowsAgainstRows<ROWS, STEP>(dw, gradients, panelAt(shared.other[stage.at][1], 0));
        productsClose();
        productsWait<1>();  // the scores, and the sums of the tile before
        settle(w);
        if (n < reach.count - 1) leave(&shared.free[before.at][0]);
        const Sight sight = Sight::ofKeys(p.of, row0, j0);
#pragma unroll
        for (int i = 0; i < STEP / 2; i++) w[i] = exp2Of(fmaf(w[i], scale, -lse[i >> 1 & 1]));
        if (!sight.isWhole)
#pragma unroll
          for (int i = 0; i < STEP / 2; i++)
            if (!sight.has(i)) w[i] = 0;
        productsWait<0>();
        settle(dw);
        leave(&shared.free[stage.at][1]);
#pragma unroll
        for (int i = 0; i < STEP / 2; i++) w[i] *= dw[i] - delta[i >> 1 & 1];
        roundInto(changes, w);
        settle(changes);
        settle(sums);
        productsFence();
        weightsTimesRows(sums, changes, panelAt(shared.other[stage.at][0], OTHER_PANEL), n < reach.count - 1);
        productsClose();
        before = stage;
        stage.next();
      }
      leave(&shared.ownFree[own.at]);
      own.next();
      productsWait<0>();
      settle(sums);
      leave(&shared.free[before.at][0]);
      const float scales[2] = {(float)p.of.scale, (float)p.of.scale};
      storeSums(p.of.dq.of(turn.line, p.of.heads), p.of.dq.row, sums, row0, p.of.t, p.of.d, scales);
    }
  }
}
#endif
