// Softmax over rows and its relatives: the largest, the sum of exponentials of what is below it, and the result. T.

typedef Number<T>::Wide W;

static __device__ __forceinline__ float expOf(float v) { return expf(v); }
static __device__ __forceinline__ double expOf(double v) { return exp(v); }
static __device__ __forceinline__ float logOf(float v) { return logf(v); }
static __device__ __forceinline__ double logOf(double v) { return log(v); }

struct Softmax {
  const T* x;  // of the backward pass: the softmax
  const T* gradient;
  T* y;
  u64 rows;
  u32 length;
};

template <int threads, class R>
static __device__ __forceinline__ W largest(R& values, W* shared) {
  W top = -(W)INFINITY;
  values.each([&](u32, W v) { top = greater(top, v); });
  return RowThreads<W, threads>::template fold<Max>(top, shared);
}
template <int threads, class R>
static __device__ __forceinline__ W exponentials(R& values, W top, W* shared) {
  W sum = 0;
  values.each([&](u32, W v) { sum += expOf(v - top); });
  return RowThreads<W, threads>::template fold<Sum>(sum, shared);
}

template <int threads, bool isHeld>
static __device__ __forceinline__ void softmaxRow(const Softmax& p, W* shared) {
  const u64 row = RowThreads<W, threads>::row();
  Row<W, threads, isHeld, FromMemory<T>> values(FromMemory<T>(p.x, RowThreads<W, threads>::rowToRead(p.rows), p.length), p.length);
  const W top = largest<threads>(values, shared), sum = exponentials<threads>(values, top, shared);
  if (row < p.rows) values.each([&](u32 c, W v) { p.y[row * p.length + c] = narrow<T>(expOf(v - top) / sum); });
}
ROW_KERNELS(softmax, Softmax, W)

template <int threads, bool isHeld>
static __device__ __forceinline__ void logSoftmaxRow(const Softmax& p, W* shared) {
  const u64 row = RowThreads<W, threads>::row();
  Row<W, threads, isHeld, FromMemory<T>> values(FromMemory<T>(p.x, RowThreads<W, threads>::rowToRead(p.rows), p.length), p.length);
  const W top = largest<threads>(values, shared), sum = exponentials<threads>(values, top, shared);
  const W shift = logOf(sum);
  if (row < p.rows) values.each([&](u32 c, W v) { p.y[row * p.length + c] = narrow<T>(v - top - shift); });
}
ROW_KERNELS(logSoftmax, Softmax, W)

template <int threads, bool isHeld>
static __device__ __forceinline__ void softmaxBackwardRow(const Softmax& p, W* shared) {
  const u64 row = RowThreads<W, threads>::row();
  const T* gradient = p.gradient + RowThreads<W, threads>::rowToRead(p.rows) * p.length;
  Row<W, threads, isHeld, FromMemory<T>> values(FromMemory<T>(p.x, RowThreads<W, threads>::rowToRead(p.rows), p.length), p.length);
  W sum = 0;
  values.each([&](u32 c, W v) { sum = multiplyAdd(v, wide(gradient[c]), sum); });
  const W dot = RowThreads<W, threads>::template fold<Sum>(sum, shared);
  if (row < p.rows) values.each([&](u32 c, W v) { p.y[row * p.length + c] = narrow<T>(v * (wide(gradient[c]) - dot)); });
}
ROW_KERNELS(softmaxBackward, Softmax, W)

/** Loss and log-sum-exp of rows against targets; a negative target is ignored. */
struct CrossEntropy {
  const T* x;
  const int* targets;
  W* loss;
  W* lse;
  Fault* fault;
  u64 rows;
  u32 length;
};
static __device__ __forceinline__ void storeLoss(const CrossEntropy& p, u64 row, W lse) {
  const int target = p.targets[row];
  const W chosen = wide(p.x[row * p.length + (target < 0 ? 0 : checkedPlace(target, p.length, p.fault, 4))]);
  p.loss[row] = target < 0 ? (W)0 : lse - chosen;
  p.lse[row] = lse;
}
template <int threads, bool isHeld>
static __device__ __forceinline__ void crossEntropyRow(const CrossEntropy& p, W* shared) {
  const u64 row = RowThreads<W, threads>::row(), read = RowThreads<W, threads>::rowToRead(p.rows);
  Row<W, threads, isHeld, FromMemory<T>> values(FromMemory<T>(p.x, read, p.length), p.length);
  const W top = largest<threads>(values, shared);
  const W lse = logOf(exponentials<threads>(values, top, shared)) + top;
  if (row < p.rows && RowThreads<W, threads>::lane() == 0) storeLoss(p, row, lse);
}
KERNEL(crossEntropyWarp, CrossEntropy, 256) { crossEntropyRow<32, true>(p, (W*)0); }
KERNEL(crossEntropyBlock, CrossEntropy, 256) {
  __shared__ W shared[33];
  crossEntropyRow<256, true>(p, shared);
}

// A vocabulary's row is read once, 16 bytes at a time: every thread keeps the largest of what it has seen and the sum of
// exponentials below that, rescaled where a larger one comes. Source: Milakov & Gimelshein 2018 (arXiv:1805.02867).
static constexpr float LOG2E = 1.4426950408889634f;

/** e^(v - base). */
template <class E>
struct Below {
  W base;
  __device__ __forceinline__ Below(W base) : base(base) {}
  __device__ __forceinline__ W of(W v) const { return expOf(v - base); }
};
/** Of what is rounded to 16 bits a power of 2, and one instruction for product and difference: off by as much as rounding the base itself. */
struct ShortBelow {
  float scaled;
  __device__ __forceinline__ ShortBelow(float base) : scaled(base * LOG2E) {}
  __device__ __forceinline__ float of(float v) const { return exp2Of(multiplyAdd(v, LOG2E, -scaled)); }
};
template <>
struct Below<bf16> : ShortBelow {
  using ShortBelow::ShortBelow;
};
template <>
struct Below<f16> : ShortBelow {
  using ShortBelow::ShortBelow;
};
/** Below the largest of some numbers; of nothing but -∞ nothing is taken away. */
static __device__ __forceinline__ Below<T> belowLargest(W top) { return Below<T>(top == -(W)INFINITY ? (W)0 : top); }
static __device__ __forceinline__ W larger(W a, W b) { return b > a ? b : a; }

/** What a thread has seen of a row: the largest, and the sum of exponentials below it. */
struct Seen {
  W top, sum;
  template <int V>
  __device__ __forceinline__ void add(const Pack<T, V>& pack) {
    W above = top;
#pragma unroll
    for (int k = 0; k < V; k++) above = larger(above, wide(pack.v[k]));
    const Below<T> below = belowLargest(above);
    sum *= below.of(top);
#pragma unroll
    for (int k = 0; k < V; k++) sum += below.of(wide(pack.v[k]));
    top = above;
  }
};
/** The largest of a block's row, and the sum of exponentials below it. */
static __device__ __forceinline__ Seen foldSeen(const Seen& mine, W* shared) {
  const W all = foldBlock<Max>(mine.top, shared);
  return {all, foldBlock<Sum>(mine.sum * belowLargest(all).of(mine.top), shared)};
}

template <int V>
static __device__ __forceinline__ void onlineRow(const CrossEntropy& p, W* shared) {
  const T* x = p.x + (u64)blockIdx.x * p.length;
  Seen mine = {-(W)INFINITY, 0};
#pragma unroll 4
  for (u32 at = threadIdx.x * V; at < p.length; at += 256 * V) mine.add(*(const Pack<T, V>*)(x + at));
  const Seen all = foldSeen(mine, shared);
  if (threadIdx.x == 0) storeLoss(p, blockIdx.x, logOf(all.sum) + all.top);
}
KERNEL(crossEntropyLong, CrossEntropy, 256) {
  __shared__ W shared[33];
  constexpr int V = 16 / sizeof(T);
  if (p.length % V == 0 && (u64)p.x % 16 == 0) onlineRow<V>(p, shared);
  else onlineRow<1>(p, shared);
}

// A row that shared memory holds is read once and written once, in packs of 16 bytes.
constexpr int HELD = 16 / sizeof(T);
typedef Pack<T, HELD> Many;
static __device__ __forceinline__ Seen holdRow(const Many* x, Many* row, u32 packs, W* shared) {
  Seen mine = {-(W)INFINITY, 0};
#pragma unroll 4
  for (u32 at = threadIdx.x; at < packs; at += 512) {
    const Many pack = x[at];
    row[at] = pack;
    mine.add(pack);
  }
  return foldSeen(mine, shared);
}

/** Loss and gradient of a held row. */
struct CrossEntropyWithGradient {
  const T* x;
  const int* targets;
  T* dx;  // may be x
  W* loss;
  Fault* fault;
  u32 length;
};
KERNEL(crossEntropyWithGradient, CrossEntropyWithGradient, 512) {
  __shared__ W shared[33];
  DYNAMIC_SHARED(Many, row);
  const Many* x = (const Many*)(p.x + (u64)blockIdx.x * p.length);
  Many* dx = (Many*)(p.dx + (u64)blockIdx.x * p.length);
  const u32 packs = p.length / HELD;
  const int target = p.targets[blockIdx.x];
  // Read before anything is written over it.
  const u32 place = target < 0 ? 0 : checkedPlace(target, p.length, p.fault, 4);
  const W chosen = wide(p.x[(u64)blockIdx.x * p.length + place]);
  const Seen all = holdRow(x, row, packs, shared);
  const W lse = logOf(all.sum) + all.top;
  if (threadIdx.x == 0) p.loss[blockIdx.x] = target < 0 ? (W)0 : lse - chosen;
  // Of an ignored row nothing is left below infinity, and no pack holds its target. What is no number stays none.
  const Below<T> below(target < 0 ? lse + (W)INFINITY : lse);
  const u32 packOfTarget = target < 0 ? packs : (u32)target / HELD, inPack = (u32)target % HELD;
#pragma unroll 4
  for (u32 at = threadIdx.x; at < packs; at += 512) {
    const Many pack = row[at];
    W gradient[HELD];
#pragma unroll
    for (int j = 0; j < HELD; j++) gradient[j] = below.of(wide(pack.v[j]));
    if (at == packOfTarget) {
#pragma unroll
      for (int j = 0; j < HELD; j++)
        if (j == inPack) gradient[j] -= 1;
    }
    Many narrowed;
#pragma unroll
    for (int j = 0; j < HELD; j++) narrowed.v[j] = narrow<T>(gradient[j]);
    dx[at] = narrowed;
  }
}

/** Softmax of a held row, or its logarithm. */
struct HeldSoftmax {
  const T* x;
  T* y;
  u32 length;
};
template <bool isLogarithm>
static __device__ __forceinline__ void softmaxHeldRow(const HeldSoftmax& p) {
  __shared__ W shared[33];
  DYNAMIC_SHARED(Many, row);
  const Many* x = (const Many*)(p.x + (u64)blockIdx.x * p.length);
  Many* y = (Many*)(p.y + (u64)blockIdx.x * p.length);
  const u32 packs = p.length / HELD;
  const Seen all = holdRow(x, row, packs, shared);
  const Below<T> below = belowLargest(all.top);
  const W shift = isLogarithm ? logOf(all.sum) : 1 / all.sum;
#pragma unroll 4
  for (u32 at = threadIdx.x; at < packs; at += 512) {
    Many pack = row[at];
#pragma unroll
    for (int k = 0; k < HELD; k++) {
      const W v = wide(pack.v[k]);
      pack.v[k] = narrow<T>(isLogarithm ? v - all.top - shift : below.of(v) * shift);
    }
    y[at] = pack;
  }
}
KERNEL(softmaxHeld, HeldSoftmax, 512) { softmaxHeldRow<false>(p); }
KERNEL(logSoftmaxHeld, HeldSoftmax, 512) { softmaxHeldRow<true>(p); }

struct CrossEntropyBackward {
  const T* x;
  const int* targets;
  const W* lse;
  const W* gradient;  // null where all are 1
  T* dx;  // may be x
  u32 length, parts;  // blocks a row, PART elements each
};
template <int V>
static __device__ __forceinline__ void pullRow(const CrossEntropyBackward& p) {
  const u64 row = blockIdx.x / p.parts;
  const u32 from = blockIdx.x % p.parts * PART;
  const int target = p.targets[row];
  const W kept = target < 0 ? (W)0 : p.gradient == 0 ? (W)1 : p.gradient[row], lse = p.lse[row];
  const T* x = p.x + row * p.length;
  T* dx = p.dx + row * p.length;
  const Below<T> below(lse);
#pragma unroll
  for (int k = 0; k < PART / (256 * V); k++) {
    const u32 c = from + (k * 256 + threadIdx.x) * V;
    if (c >= p.length) return;
    Pack<T, V> pack = *(const Pack<T, V>*)(x + c);
#pragma unroll
    for (int j = 0; j < V; j++)
      pack.v[j] = narrow<T>((below.of(wide(pack.v[j])) - (c + j == (u32)target ? (W)1 : (W)0)) * kept);
    *(Pack<T, V>*)(dx + c) = pack;
  }
}
KERNEL(crossEntropyBackward, CrossEntropyBackward, 256) {
  constexpr int V = 16 / sizeof(T);
  if (p.length % V == 0 && (u64)p.x % 16 == 0 && (u64)p.dx % 16 == 0) pullRow<V>(p);
  else pullRow<1>(p);
}
