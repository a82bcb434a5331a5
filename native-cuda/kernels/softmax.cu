// Softmax over rows and its relatives: the largest, the sum of exponentials of what is below it, and the result. T.

typedef Number<T>::Wide W;

static __device__ __forceinline__ float expOf(float v) { return expf(v); }
static __device__ __forceinline__ double expOf(double v) { return exp(v); }
static __device__ __forceinline__ float logOf(float v) { return logf(v); }
static __device__ __forceinline__ double logOf(double v) { return log(v); }

struct FromMemory {
  const T* x;
  __device__ __forceinline__ W operator()(u32 c) const { return wide(x[c]); }
};

struct Softmax {
  const T* x;  // of the backward pass: the softmax
  const T* gradient;
  T* y;
  u64 rows;
  u32 length;
};

template <int threads, class R>
static __device__ __forceinline__ W largest(const R& values, W* shared) {
  W top = -(W)INFINITY;
  values.each([&](u32, W v) { top = greater(top, v); });
  return RowThreads<W, threads>::template fold<Max>(top, shared);
}
template <int threads, class R>
static __device__ __forceinline__ W exponentials(const R& values, W top, W* shared) {
  W sum = 0;
  values.each([&](u32, W v) { sum += expOf(v - top); });
  return RowThreads<W, threads>::template fold<Sum>(sum, shared);
}
template <int threads>
static __device__ __forceinline__ u64 rowToRead(u64 rows) {
  const u64 row = RowThreads<W, threads>::row();
  return row < rows ? row : 0;
}

template <int threads, bool isHeld>
static __device__ __forceinline__ void softmaxRow(const Softmax& p, W* shared) {
  const u64 row = RowThreads<W, threads>::row();
  const Row<W, threads, isHeld, FromMemory> values(FromMemory{p.x + rowToRead<threads>(p.rows) * p.length}, p.length);
  const W top = largest<threads>(values, shared), sum = exponentials<threads>(values, top, shared);
  if (row < p.rows) values.each([&](u32 c, W v) { p.y[row * p.length + c] = narrow<T>(expOf(v - top) / sum); });
}
ROW_KERNELS(softmax, Softmax, W)

template <int threads, bool isHeld>
static __device__ __forceinline__ void logSoftmaxRow(const Softmax& p, W* shared) {
  const u64 row = RowThreads<W, threads>::row();
  const Row<W, threads, isHeld, FromMemory> values(FromMemory{p.x + rowToRead<threads>(p.rows) * p.length}, p.length);
  const W top = largest<threads>(values, shared), sum = exponentials<threads>(values, top, shared);
  const W shift = logOf(sum);
  if (row < p.rows) values.each([&](u32 c, W v) { p.y[row * p.length + c] = narrow<T>(v - top - shift); });
}
ROW_KERNELS(logSoftmax, Softmax, W)

template <int threads, bool isHeld>
static __device__ __forceinline__ void softmaxBackwardRow(const Softmax& p, W* shared) {
  const u64 row = RowThreads<W, threads>::row();
  const T* gradient = p.gradient + rowToRead<threads>(p.rows) * p.length;
  const Row<W, threads, isHeld, FromMemory> values(FromMemory{p.x + rowToRead<threads>(p.rows) * p.length}, p.length);
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
  T* loss;
  T* lse;
  Fault* fault;
  u64 rows;
  u32 length;
};
template <int threads, bool isHeld>
static __device__ __forceinline__ void crossEntropyRow(const CrossEntropy& p, W* shared) {
  const u64 row = RowThreads<W, threads>::row(), read = rowToRead<threads>(p.rows);
  const Row<W, threads, isHeld, FromMemory> values(FromMemory{p.x + read * p.length}, p.length);
  const W top = largest<threads>(values, shared);
  const W lse = logOf(exponentials<threads>(values, top, shared)) + top;
  if (row >= p.rows || RowThreads<W, threads>::lane() != 0) return;
  const int target = p.targets[row];
  const W chosen = wide(p.x[row * p.length + (target < 0 ? 0 : checkedPlace(target, p.length, p.fault, 4))]);
  p.loss[row] = narrow<T>(target < 0 ? (W)0 : lse - chosen);
  p.lse[row] = narrow<T>(lse);
}
ROW_KERNELS(crossEntropy, CrossEntropy, W)

struct CrossEntropyBackward {
  const T* x;
  const int* targets;
  const T* lse;
  const T* gradient;
  T* dx;
  u32 length, parts;  // blocks a row, 1024 elements each
};
KERNEL(crossEntropyBackward, CrossEntropyBackward, 256) {
  const u64 row = blockIdx.x / p.parts;
  const u32 from = blockIdx.x % p.parts * 1024 + threadIdx.x;
  const int target = p.targets[row];
  const W kept = target < 0 ? (W)0 : wide(p.gradient[row]), lse = wide(p.lse[row]);
  const T* x = p.x + row * p.length;
  T* dx = p.dx + row * p.length;
#pragma unroll
  for (int k = 0; k < 4; k++) {
    const u32 c = from + 256 * k;
    if (c < p.length) dx[c] = narrow<T>((expOf(wide(x[c]) - lse) - (c == (u32)target ? (W)1 : (W)0)) * kept);
  }
}
