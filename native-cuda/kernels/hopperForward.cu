// Attention's forward pass on Hopper: 64 queries a group. While the tensor cores multiply a tile's weights with its values and the next tile's keys
// with the queries, the threads turn the scores before into weights. See hopperAttention.cu.

#ifdef HAS_WARPGROUPS
/** A softmax that goes along with the tiles: of a lane's two rows the largest score so far (in units of log 2), and parts of the sum. */
struct Running {
  float top[2], total[4];
  /** Scores become weights; `kept`: what the sums so far are worth on the new scale. */
  __device__ __forceinline__ void fold(float (&w)[STEP / 2], float scale, float (&kept)[2]) {
    float base[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
      float most = fmaxf(w[2 * h], w[2 * h + 1]);
#pragma unroll
      for (int n = 1; n < STEP / 8; n++) most = fmaxf(most, fmaxf(w[n * 4 + 2 * h], w[n * 4 + 2 * h + 1]));
      const float above = fmaxf(top[h], mostOfRow(most) * scale);
      base[h] = above == -INFINITY ? 0 : above;  // nothing seen yet
      kept[h] = exp2Of(top[h] - base[h]);
      top[h] = above;
      total[2 * h] *= kept[h];
      total[2 * h + 1] *= kept[h];
    }
#pragma unroll
    for (int i = 0; i < STEP / 2; i++) {
      w[i] = exp2Of(fmaf(w[i], scale, -base[i >> 1 & 1]));
      total[i & 3] += w[i];
    }
  }
};

/** Keys that are hidden from a query have scores of -infinity. */
static __device__ __forceinline__ void hide(float (&w)[STEP / 2], const Attention& p, int row0, int j0) {
  const Sight sight = Sight::ofKeys(p, row0, j0);
  if (sight.isWhole) return;
#pragma unroll
  for (int i = 0; i < STEP / 2; i++)
    if (!sight.has(i)) w[i] = -INFINITY;
}

KERNEL_SHARING(hopperForward, HopperAttention, 128 * (GROUPS + 1), 1) {
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
    float w[STEP / 2], sums[D / 2], kept[2];
    u32 weights[STEP / 16][4];
    const auto ask = [&]() {
      settle(w);
      productsFence();
      rowsAgainstRows<ROWS, STEP>(w, panelAt(shared.own[own.at][0][0][ownRow], 0), panelAt(shared.other[stage.at][0], 0));
      productsClose();
    };
    const auto weigh = [&](const Stage& of, bool keeps) {
      barrierWait(&shared.full[of.at][1], of.parity);
      settle(sums);
      settle(weights);
      productsFence();
      weightsTimesRows(sums, weights, panelAt(shared.other[of.at][1], OTHER_PANEL), keeps);
      productsClose();
    };
    Turn turn;
    bool isLeft = turn.next(p);
    const auto await = [&]() {
      barrierWait(&shared.ownFull[own.at], own.parity);
      barrierWait(&shared.full[stage.at][0], stage.parity);
    };
    await();  // no block is without a tile
    ask();
    while (isLeft) {
      const Reach reach(p.of, turn.first);
      const int row0 = turn.first + ownRow + warp * 16;
      Running softmax = {{-INFINITY, -INFINITY}, {0, 0, 0, 0}};
      productsWait<0>();
      settle(w);
      leave(&shared.free[stage.at][0]);
      hide(w, p.of, row0, reach.from + (reach.count - 1) * STEP);
      softmax.fold(w, scale, kept);
      roundInto(weights, w);
      for (int n = reach.count - 2; n >= 0; n--) {
        const Stage before = stage;
        stage.next();
        barrierWait(&shared.full[stage.at][0], stage.parity);
        ask();
        weigh(before, n < reach.count - 2);
        productsWait<1>();
        settle(w);
        leave(&shared.free[stage.at][0]);
        hide(w, p.of, row0, reach.from + n * STEP);
        softmax.fold(w, scale, kept);
        productsWait<0>();
        settle(sums);
        leave(&shared.free[before.at][1]);
        // Most tiles have no greater score than those before.
        if (!__all_sync(0xffffffffu, kept[0] == 1 && kept[1] == 1))
#pragma unroll
          for (int i = 0; i < D / 2; i++) sums[i] *= kept[i >> 1 & 1];
        roundInto(weights, w);
      }
      leave(&shared.ownFree[own.at]);
      own.next();
      // The last products of this tile, and the first of the next while this one's results are stored.
      const Stage last = stage;
      const Turn done = turn;
      stage.next();
      weigh(last, reach.count > 1);
      isLeft = turn.next(p);
      if (isLeft) await();
      ask();  // of whatever lies there where nothing is left: in a branch, products would wait for each other
      productsWait<1>();
      settle(sums);
      leave(&shared.free[last.at][1]);
      float inverse[2];
#pragma unroll
      for (int h = 0; h < 2; h++) {
        const float all = sumOfRow(softmax.total[2 * h] + softmax.total[2 * h + 1]);
        inverse[h] = 1 / all;
        const int i = row0 + (threadIdx.x & 31) / 4 + 8 * h;
        if ((threadIdx.x & 3) == 0 && i < p.of.t) p.of.lse[(u64)done.line * p.of.t + i] = logf(all) + softmax.top[h] * LN2;
      }
      storeSums(p.of.out.of(done.line, p.of.heads), p.of.out.row, sums, row0, p.of.t, p.of.e, inverse);
    }
    productsWait<0>();
  }
}
#endif
