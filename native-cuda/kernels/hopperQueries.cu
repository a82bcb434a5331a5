// The gradient of attention's queries on Hopper: 64 queries a group, walking over the keys that they see. While the threads turn a tile's scores
// into weights, the tensor cores multiply the next operand. Warps that have nothing to copy find delta, which the pass over keys needs as well.
// See hopperAttention.cu.

#ifdef HAS_WARPGROUPS
/** The copying group's other warps, up to two tiles ahead: of its queries the log-sum-exps, in units of log 2, and delta, the sums of g · o. */
static __device__ __forceinline__ void measureQueries(const HopperAttention& p, SharedTiles& shared) {
  constexpr int LANES = D / 8, AT_ONCE = 32 / LANES, WARPS = 3, AHEAD = 2;  // lanes a row, rows a warp, rows under way
  const int warp = (int)threadIdx.x / 32 - 1, lane = threadIdx.x & 31, column = lane % LANES * 8, from = column < p.of.e ? column : 0;
  Ring<2> place = {0, 1};
  for (Turn turn; turn.next(p); place.next()) {
    const T *o = p.of.o.of(turn.line, p.of.heads) + from, *by = p.of.g.of(turn.line, p.of.heads) + from;
    const u64 first = (u64)turn.line * p.of.t + turn.first;
    const int rows = p.of.t - turn.first < ROWS ? p.of.t - turn.first : ROWS;
    float(&lse)[ROWS] = shared.ownStatistics[place.at][0], (&delta)[ROWS] = shared.ownStatistics[place.at][1];
    barrierWait(&shared.taken[place.at], place.parity);
    for (int i = (int)threadIdx.x - 32; i < ROWS; i += 32 * WARPS) lse[i] = i < rows ? p.of.lse[first + i] * LOG2E : 0;
    for (int i0 = warp * AT_ONCE + lane / LANES; i0 - lane / LANES < ROWS; i0 += AHEAD * WARPS * AT_ONCE) {
      Pack<T, 8> outputs[AHEAD], gradients[AHEAD];
#pragma unroll
      for (int n = 0; n < AHEAD; n++) {
        const int i = i0 + n * WARPS * AT_ONCE, row = turn.first + (i < rows ? i : rows - 1);
        outputs[n] = *(const Pack<T, 8>*)(o + row * p.of.o.row);
        gradients[n] = *(const Pack<T, 8>*)(by + row * p.of.g.row);
      }
#pragma unroll
      for (int n = 0; n < AHEAD; n++) {
        const int i = i0 + n * WARPS * AT_ONCE;
        float sum = 0;
#pragma unroll
        for (int k = 0; k < 8; k++)
          if (column < p.of.e) sum = fmaf(wide(outputs[n].v[k]), wide(gradients[n].v[k]), sum);
#pragma unroll
        for (int mask = 1; mask < LANES; mask *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, mask);
        if (lane % LANES == 0 && i < ROWS) {
          delta[i] = i < rows ? sum : 0;
          if (i < rows) p.of.delta[first + i] = sum;
        }
      }
    }
    __syncwarp();
    leave(&shared.measured[place.at]);
  }
}

KERNEL_SHARING(hopperQueries, HopperAttention, 128 * (GROUPS + 1), 1) {
  DYNAMIC_SHARED(unsigned char, raw);
  SharedTiles& shared = startShared(raw);
  const int group = groupOfWarps();
  if (group == 0) {
    giveRegisters<GIVEN>();
    if (threadIdx.x == 0) copyForQueries(p, shared);
    else if (threadIdx.x >= 32) measureQueries(p, shared);
  } else {
    takeRegisters<TAKEN>();
    const float scale = (float)p.of.scale * LOG2E;
    const int ownRow = (group - 1) * 64, warp = (int)threadIdx.x / 32 % 4;
    Stage stage = {0, 0};
    OwnStage own = {0, 0};
    Ring<2> place = {0, 0};
    for (Turn turn; turn.next(p);) {
      const Reach reach(p.of, turn.first);
      const int row0 = turn.first + ownRow + warp * 16;
      float lse[2], delta[2], sums[D / 2];
      u32 changes[STEP / 16][4];
      barrierWait(&shared.measured[place.at], place.parity);
#pragma unroll
      for (int h = 0; h < 2; h++) {
        const int i = ownRow + warp * 16 + (threadIdx.x & 31) / 4 + 8 * h;
        lse[h] = shared.ownStatistics[place.at][0][i];
        delta[h] = shared.ownStatistics[place.at][1][i];
      }
      __syncwarp();
      leave(&shared.taken[place.at]);
      place.next();
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
