// Layer and RMS norms over rows, held in registers: the mean, then the mean of squares of what is left of it. T: the rows and
// everything but y; Y. HAS_MEAN: a layer norm, else an RMS norm, which has no bias either.

typedef Number<T>::Wide W;

static __device__ __forceinline__ float rootOf(float v) { return sqrtf(v); }
static __device__ __forceinline__ double rootOf(double v) { return sqrt(v); }

struct Norm {
  const T* x;
  const T* weight;
  const T* bias;
  Y* y;
  T* mean;
  T* inverse;
  u64 rows;
  double eps;
  u32 length;
};

/** The norm of a held row, which is the same for every source of its numbers. */
template <int threads, class R>
static __device__ __forceinline__ void normRow(const Norm& p, u64 row, R& values, W* shared) {
  typedef RowThreads<W, threads> Threads;
  const W count = (W)p.length;
  W mean = 0;
  if (HAS_MEAN) {
    W sum = 0;
    values.each([&](u32, W v) { sum += v; });
    mean = Threads::template fold<Sum>(sum, shared) / count;
    // What rounding left of the mean shows where a row hardly varies: its own mean is added.
    sum = 0;
    values.each([&](u32, W v) { sum += v - mean; });
    const W rest = Threads::template fold<Sum>(sum, shared) / count;
    if (rest == rest) mean += rest;  // of an infinite mean nothing is left that is a number
  }
  W squares = 0;
  values.each([&](u32, W v) {
    const W centred = v - mean;
    squares = multiplyAdd(centred, centred, squares);
  });
  const W inverse = (W)1 / rootOf(Threads::template fold<Sum>(squares, shared) / count + (W)p.eps);
  if (row >= p.rows) return;
  values.changeAndStore(
      [&](int, u32 c, W* v) {
        W weight[4], bias[4];
        readFour(p.weight, c, p.length, weight);
        if (HAS_MEAN) readFour(p.bias, c, p.length, bias);
#pragma unroll
        for (int j = 0; j < 4; j++) {
          const W scaled = (v[j] - mean) * inverse * weight[j];
          v[j] = HAS_MEAN ? scaled + bias[j] : scaled;
        }
      },
      [&](int, u32 c, const W* y) { writeFour(p.y + row * p.length, c, p.length, y); });
  if (Threads::lane() != 0) return;
  if (HAS_MEAN) p.mean[row] = narrow<T>(mean);
  p.inverse[row] = narrow<T>(inverse);
}

template <int threads, bool isHeld>
static __device__ __forceinline__ void normOfRow(const Norm& p, W* shared) {
  Row<W, threads, isHeld, FromMemory<T>> values(FromMemory<T>(p.x, RowThreads<W, threads>::rowToRead(p.rows), p.length), p.length);
  normRow<threads>(p, RowThreads<W, threads>::row(), values, shared);
}
template <int threads, bool isHeld>
static __device__ __forceinline__ void normRow(const Norm& p, W* shared) { normOfRow<threads, isHeld>(p, shared); }
ROW_KERNELS(norm, Norm, W)
