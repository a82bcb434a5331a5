// Gradients of layer and RMS norms, alone or with those of the sum before them. By the input: a row at a time. By the
// parameters: sums over rows. A short row is read once for both: every warp takes rows of its block's run one after the other, the
// next one on its way meanwhile (rowsAhead.cu), and keeps the sums of its columns. Else each thread takes a column and a run of
// rows. Either way the partial sums [parts, length] are folded again (columns.cu). X: the rows, a fixed-point stream where IS_STREAM;
// T: what they are otherwise, and everything beside them; G: the norm's gradient; L: the increment, where it is another type.
// HAS_MEAN: a layer norm; HAS_DIRECT, HAS_LOW: whether those are given.

typedef Number<T>::Wide W;

struct NormBackward {
  const X* x;
  const T* weight;
  const T* mean;
  const T* inverse;
  const G* gradient;
  const T* direct;  // the sum's own gradient
  T* dx;
  L* low;        // dx again
  W* byWeight;   // [parts, length]
  W* byBias;
  u64 rows, partRows;
  u32 length;
  float unit;  // of a fixed-point stream
};

/** What is read of a row, wherever it lies. */
struct Operands {
  const X* x;
  const G* gradient;
  const T* direct;
  W mean, inverse;
};
static __device__ __forceinline__ Operands operandsOf(const NormBackward& p, u64 row) {
  const u64 at = row * p.length;
  return {p.x + at, p.gradient + at, p.direct + at, HAS_MEAN ? wide(p.mean[row]) : (W)0, wide(p.inverse[row])};
}

#if IS_STREAM
typedef FromStream Source;
static __device__ __forceinline__ Source sourceOf(const NormBackward& p, const X* x) { return {x, p.length, p.unit}; }
#else
typedef FromMemory<T> Source;
static __device__ __forceinline__ Source sourceOf(const NormBackward& p, const X* x) { return Source(x, 0, p.length); }
#endif

struct Normalised {
  Source x;
  W mean, inverse;
  typedef Source::Loaded Loaded;
  __device__ __forceinline__ Loaded load(u32 c) const { return x.load(c); }
  __device__ __forceinline__ void finish(u32 c, const Loaded& loaded, W* to) const {
    x.finish(c, loaded, to);
#pragma unroll
    for (int j = 0; j < 4; j++) to[j] = hasOne(c + j, x.length) ? (to[j] - mean) * inverse : (W)0;
  }
};

/** Writes a row's gradient; loaded() when all of it is held; visit(part, column, gradients, normalised values) for the sums over rows. */
template <int threads, bool isHeld, class Loaded, class Visit>
static __device__ __forceinline__ void pullRow(
    const NormBackward& p, u64 row, const Operands& of, const Stored<T, W, threads, isHeld>& weights, W* shared, Loaded loaded, Visit visit) {
  typedef RowThreads<W, threads> Threads;
  const W inverse = of.inverse;
  Row<W, threads, isHeld, Normalised> normalised(Normalised{sourceOf(p, of.x), of.mean, inverse}, p.length);
  const Stored<G, W, threads, isHeld> gradients(FromMemory<G>(of.gradient, 0, p.length));
#if HAS_DIRECT
  // Asked for with the others, though it is added last.
  const Stored<T, W, threads, isHeld> directs(FromMemory<T>(of.direct, 0, p.length));
#endif
  loaded();
  W held[isHeld ? 4 * ROW_PARTS : 4];
  const auto scaled = [&](int part) { return held + (isHeld ? 4 * part : 0); };
  /** Gradients, and those times weights, which a held row is asked for once. */
  const auto scale = [&](int part, u32 c, W* g) {
    W weight[4];
    weights.four(part, c, weight);
    gradients.four(part, c, g);
#pragma unroll
    for (int j = 0; j < 4; j++) scaled(part)[j] = g[j] * weight[j];
  };
  W sum = 0, product = 0;
  normalised.eachFour([&](int part, u32 c, const W* v) {
    W g[4];
    scale(part, c, g);
    visit(part, c, g, v);
#pragma unroll
    for (int j = 0; j < 4; j++) {
      sum += scaled(part)[j];
      product = multiplyAdd(scaled(part)[j], v[j], product);
    }
  });
  const W count = (W)p.length;
  const W meanGradient = HAS_MEAN ? Threads::template fold<Sum>(sum, shared) / count : (W)0;
  const W meanProduct = Threads::template fold<Sum>(product, shared) / count;
  normalised.changeAndStore(
      [&](int part, u32 c, W* v) {
        W g[4], direct[4] = {};
        if (!isHeld) scale(part, c, g);
#if HAS_DIRECT
        directs.four(part, c, direct);
#endif
#pragma unroll
        for (int j = 0; j < 4; j++) {
          // Rounded where an op of its own would end.
          v[j] = wide(narrow<T>((scaled(part)[j] - meanGradient - v[j] * meanProduct) * inverse));
          if (HAS_DIRECT) v[j] = wide(narrow<T>(direct[j] + v[j]));
        }
      },
      [&](int, u32 c, const W* dx) {
        writeFour(p.dx + row * p.length, c, p.length, dx);
        if (HAS_LOW) writeFour(p.low + row * p.length, c, p.length, dx);
      });
}
template <int threads, bool isHeld>
static __device__ __forceinline__ Stored<T, W, threads, isHeld> weightsOf(const NormBackward& p) {
  return Stored<T, W, threads, isHeld>(FromMemory<T>(p.weight, 0, p.length));
}
struct Nothing {
  __device__ __forceinline__ void operator()() const {}
  __device__ __forceinline__ void operator()(int, u32, const W*, const W*) const {}
};

/** A warp's row in shared memory. */
struct Ahead {
  unsigned char* at;
  u32 length;
  __device__ __forceinline__ Operands row() const {
    unsigned char *gradient = at + rowBytes<X>(length), *direct = gradient + rowBytes<G>(length);
    return {(X*)at, (G*)gradient, (T*)direct, 0, 0};
  }
  __device__ __forceinline__ void ask(const NormBackward& p, u64 row) const {
    const Operands to = this->row();
    const u64 from = row * length;
    copyRow((X*)to.x, p.x + from, length);
    copyRow((G*)to.gradient, p.gradient + from, length);
    if (HAS_DIRECT) copyRow((T*)to.direct, p.direct + from, length);
  }
};

// A block has a multiprocessor to itself: eight warps with weights and sums in registers, each with a row in registers and one on its way,
// keep memory busier than more warps with less (measured: docs/gpu-performance.md).
KERNEL_SHARING(normBackwardWarp, NormBackward, 256, 1) {
  DYNAMIC_SHARED(unsigned char, shared);  // a row a warp; then sums [weight and bias, warps, length of whole fours]
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  const u64 from = blockIdx.x * p.partRows, to = from + p.partRows < p.rows ? from + p.partRows : p.rows;
  const u32 bytes = rowBytes<X>(p.length) + rowBytes<G>(p.length) + (HAS_DIRECT ? rowBytes<T>(p.length) : 0);
  const Ahead ahead = {shared + warp * bytes, p.length};
  const auto weights = weightsOf<32, true>(p);
  W byWeight[4 * ROW_PARTS] = {}, byBias[4 * ROW_PARTS] = {};
  if (from + warp < to) ahead.ask(p, from + warp);
  int turn = 0;
  W mean = 0, inverse = 0;  // of 32 rows, one a lane
  for (u64 row = from + warp; row < to; row += 8) {
    if (turn == 0) {
      const u64 own = row + 8 * lane < to ? row + 8 * lane : row;
      if (HAS_MEAN) mean = wide(p.mean[own]);
      inverse = wide(p.inverse[own]);
    }
    Operands of = ahead.row();
    of.mean = HAS_MEAN ? __shfl_sync(0xffffffffu, mean, turn) : (W)0;
    of.inverse = __shfl_sync(0xffffffffu, inverse, turn);
    turn = (turn + 1) & 31;
    awaitCopies();
    const auto loaded = [&]() {
      if (row + 8 < to) ahead.ask(p, row + 8);
    };
    pullRow<32, true>(p, row, of, weights, (W*)0, loaded, [&](int part, u32, const W* g, const W* v) {
#pragma unroll
      for (int j = 0; j < 4; j++) {
        byWeight[4 * part + j] = multiplyAdd(g[j], v[j], byWeight[4 * part + j]);
        byBias[4 * part + j] += g[j];
      }
    });
  }
  __syncthreads();
  const u32 padded = (p.length + 3) / 4 * 4;
  W* sums = (W*)shared;
#pragma unroll
  for (int k = 0; k < ROW_PARTS; k++) {
    const u32 c = 4 * (k * 32 + lane);
    if (!hasFour(c, p.length)) break;
#pragma unroll
    for (int j = 0; j < 4; j++) {
      sums[warp * padded + c + j] = byWeight[4 * k + j];
      sums[(8 + warp) * padded + c + j] = byBias[4 * k + j];
    }
  }
  __syncthreads();
  for (u32 c = threadIdx.x; c < p.length; c += 256) {
    W weight = 0, bias = 0;
#pragma unroll
    for (int w = 0; w < 8; w++) {
      weight += sums[w * padded + c];
      bias += sums[(8 + w) * padded + c];
    }
    p.byWeight[(u64)blockIdx.x * p.length + c] = weight;
    if (HAS_MEAN) p.byBias[(u64)blockIdx.x * p.length + c] = bias;
  }
}
KERNEL(normBackwardBlock, NormBackward, 256) {
  __shared__ W shared[33];
  pullRow<256, true>(p, blockIdx.x, operandsOf(p, blockIdx.x), weightsOf<256, true>(p), shared, Nothing(), Nothing());
}
KERNEL(normBackwardLong, NormBackward, 256) {
  __shared__ W shared[33];
  pullRow<256, false>(p, blockIdx.x, operandsOf(p, blockIdx.x), weightsOf<256, false>(p), shared, Nothing(), Nothing());
}

static __device__ __forceinline__ W valueAt(const NormBackward& p, u64 row, u32 c) {
  const W v = (W)wide(p.x[row * p.length + c]);
  return IS_STREAM ? v * (W)p.unit : v;
}
KERNEL(normParameters, NormBackward, 256) {
  const u32 c = blockIdx.x * 256 + threadIdx.x;
  if (c >= p.length) return;
  const u64 from = blockIdx.y * p.partRows, to = from + p.partRows < p.rows ? from + p.partRows : p.rows;
  W byWeight = 0, byBias = 0;
  for (u64 row = from; row < to; row++) {
    const W g = wide(p.gradient[row * p.length + c]);
    const W mean = HAS_MEAN ? wide(p.mean[row]) : (W)0;
    byWeight = multiplyAdd(g, (valueAt(p, row, c) - mean) * wide(p.inverse[row]), byWeight);
    byBias += g;
  }
  p.byWeight[(u64)blockIdx.y * p.length + c] = byWeight;
  if (HAS_MEAN) p.byBias[(u64)blockIdx.y * p.length + c] = byBias;
}
