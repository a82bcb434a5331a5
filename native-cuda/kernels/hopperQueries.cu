// The gradient of attention's queries on Hopper: 64 queries a group, walking over the keys that they see. While the threads turn a tile's scores
// into weights, the tensor cores multiply the next operand. It also finds delta, which the pass over keys needs as well. See hopperAttention.cu.

#ifdef HAS_WARPGROUPS
/** The sums of g · o of a lane's two rows, by the four lanes that share them. All loads come before what is done with the first. */
static __device__ __forceinline__ void deltaOf(const Attention& p, u32 line, int row0, float (&delta)[2]) {
  const int g = (threadIdx.x & 31) / 4, t = threadIdx.x & 3;
  const T *o = p.o.of(line, p.heads), *by = p.g.of(line, p.heads);
  Pack<T, 8> outputs[2][D / 32], gradients[2][D / 32];
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const int i = row0 + g + 8 * h, row = i < p.t ? i : p.t - 1;
#pragma unroll
    for (int n = 0; n < D / 32; n++) {
      const int column = (n * 4 + t) * 8, from = column < p.e ? column : 0;
      outputs[h][n] = *(const Pack<T, 8>*)(o + row * p.o.row + from);
      gradients[h][n] = *(const Pack<T, 8>*)(by + row * p.g.row + from);
    }
  }
#pragma unroll
  for (int h = 0; h < 2; h++) {
    float sum = 0;
#pragma unroll
    for (int n = 0; n < D / 32; n++)
#pragma unroll
      for (int k = 0; k < 8; k++)
        if ((n * 4 + t) * 8 < p.e) sum = fmaf(wide(outputs[h][n].v[k]), wide(gradients[h][n].v[k]), sum);
    delta[h] = sumOfRow(sum);
  }
}

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
      deltaOf(p.of, turn.line, row0, delta);
#pragma unroll
      for (int h = 0; h < 2; h++) {
        const int i = row0 + (threadIdx.x & 31) / 4 + 8 * h;
        const u64 at = (u64)turn.line * p.of.t + i;
        lse[h] = i < p.of.t ? p.of.lse[at] * LOG2E : 0;
        if ((threadIdx.x & 3) == 0 && i < p.of.t) p.of.delta[at] = delta[h];
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
        sight.hide(w, 0);
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
