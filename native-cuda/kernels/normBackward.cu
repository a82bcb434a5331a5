// Gradients of layer and RMS norms, alone or with those of the sum before them. By the input: a row at a time. By the
// parameters: sums over rows. A short row is read once for both: every warp takes rows of its block's run one after the other
// and keeps the sums of its columns. Else each thread takes a column and a run of rows. Either way the partial sums
// [parts, length] are folded again (columns.cu). X: the rows, a fixed-point stream where IS_STREAM; T: what they are otherwise, and
// everything beside them; G: the norm's gradient; L: the increment, where it is another type. HAS_MEAN: a layer norm; HAS_DIRECT,
// HAS_LOW: whether those are given.

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

#if IS_STREAM
typedef FromStream Source;
static __device__ __forceinline__ Source sourceOf(const NormBackward& p, u64 row) { return {p.x + row * p.length, p.length, p.unit}; }
#else
typedef FromMemory<T> Source;
static __device__ __forceinline__ Source sourceOf(const NormBackward& p, u64 row) { return Source(p.x, row, p.length); }
#endif

struct Normalised {
  Source x;
  W mean, inverse;
  typedef Source::Loaded Loaded;
  __device__ __forceinline__ Loaded load(u32 c) const { return x.load(c); }
  __device__ __forceinline__ void finish(u32 c, const Loaded& loaded, W* to) const {
    x.finish(c, loaded, to);
#pragma unroll
    for (int j = 0; j < 4; j++) to[j] = c + j < x.length ? (to[j] - mean) * inverse : (W)0;
  }
};

/** Writes a row's gradient; visit(part, column, gradients, normalised values) for the sums over rows. */
template <int threads, bool isHeld, class Visit>
static __device__ __forceinline__ void pullRow(const NormBackward& p, u64 row, bool isInside, W* shared, Visit visit) {
  typedef RowThreads<W, threads> Threads;
  const u64 read = isInside ? row : 0;
  const W mean = HAS_MEAN ? wide(p.mean[read]) : (W)0, inverse = wide(p.inverse[read]);
  Row<W, threads, isHeld, Normalised> normalised(Normalised{sourceOf(p, read), mean, inverse}, p.length);
  const Stored<G, W, threads, isHeld> gradients(FromMemory<G>(p.gradient, read, p.length));
#if HAS_DIRECT
  // Asked for with the others, though it is added last.
  const Stored<T, W, threads, isHeld> directs(FromMemory<T>(p.direct, read, p.length));
#endif
  W sum = 0, product = 0;
  normalised.eachFour([&](int part, u32 c, const W* v) {
    W weight[4], g[4];
    readFour(p.weight, c, p.length, weight);
    gradients.four(part, c, g);
    visit(part, c, g, v);
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const W scaled = g[j] * weight[j];
      sum += scaled;
      product = multiplyAdd(scaled, v[j], product);
    }
  });
  const W count = (W)p.length;
  const W meanGradient = HAS_MEAN ? Threads::template fold<Sum>(sum, shared) / count : (W)0;
  const W meanProduct = Threads::template fold<Sum>(product, shared) / count;
  if (!isInside) return;
  normalised.changeAndStore(
      [&](int part, u32 c, W* v) {
        W weight[4], g[4], direct[4] = {};
        readFour(p.weight, c, p.length, weight);
        gradients.four(part, c, g);
#if HAS_DIRECT
        directs.four(part, c, direct);
#endif
#pragma unroll
        for (int j = 0; j < 4; j++) {
          // Rounded where an op of its own would end.
          v[j] = wide(narrow<T>((g[j] * weight[j] - meanGradient - v[j] * meanProduct) * inverse));
          if (HAS_DIRECT) v[j] = wide(narrow<T>(direct[j] + v[j]));
        }
      },
      [&](int, u32 c, const W* dx) {
        writeFour(p.dx + row * p.length, c, p.length, dx);
        if (HAS_LOW) writeFour(p.low + row * p.length, c, p.length, dx);
      });
}
struct Nothing {
  __device__ __forceinline__ void operator()(int, u32, const W*, const W*) const {}
};

// Every warp keeps the sums of its rows in shared memory: in registers they would leave room for half as many warps.
KERNEL_SHARING(normBackwardWarp, NormBackward, 256, sizeof(W) == 4 ? 2 : 1) {
  DYNAMIC_SHARED(W, sums);  // [weight and bias, warps, length of whole fours]
  const int warp = threadIdx.x >> 5;
  const u32 padded = (p.length + 3) / 4 * 4;
  W* byWeight = sums + warp * padded;
  W* byBias = sums + (8 + warp) * padded;
  for (u32 c = threadIdx.x & 31; c < padded; c += 32) byWeight[c] = byBias[c] = 0;
  __syncwarp();
  const u64 from = blockIdx.x * p.partRows, to = from + p.partRows < p.rows ? from + p.partRows : p.rows;
  typedef Pack<W, 4> Four;
  for (u64 row = from + warp; row < to; row += 8)
    pullRow<32, true>(p, row, true, (W*)0, [&](int, u32 c, const W* g, const W* v) {
      Four weights = *(Four*)(byWeight + c), biases = *(Four*)(byBias + c);
#pragma unroll
      for (int j = 0; j < 4; j++) {
        weights.v[j] = multiplyAdd(g[j], v[j], weights.v[j]);
        biases.v[j] += g[j];
      }
      *(Four*)(byWeight + c) = weights;
      *(Four*)(byBias + c) = biases;
    });
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
  pullRow<256, true>(p, blockIdx.x, true, shared, Nothing());
}
KERNEL(normBackwardLong, NormBackward, 256) {
  __shared__ W shared[33];
  pullRow<256, false>(p, blockIdx.x, true, shared, Nothing());
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
