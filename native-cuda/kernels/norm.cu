// Layer and RMS norms over rows, held in registers: the mean, then the mean of squares of what is left of it. T: the rows and
// everything but y; Y. HAS_MEAN: a layer norm, else an RMS norm, which has no bias either. AHEAD: whether weight and bias may be read before the
// wait for the work in front.

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

/** Four elements of what nothing in the graph writes. */
static __device__ __forceinline__ Pack<T, 4> loadFourAhead(const T* x, u32 c, u32 length) {
  if (ROW_PACKED) return readAhead((const Pack<T, 4>*)(x + c));
  Pack<T, 4> pack;
#pragma unroll
  for (int j = 0; j < 4; j++) pack.v[j] = c + j < length ? readAhead(x + c + j) : T{};
  return pack;
}

/** Weight and bias. To make one is to wait for the work in front: held ones are asked for before, others where they are used. */
template <int threads, bool isHeld>
struct Scale {
  static constexpr bool HOLDS = AHEAD && isHeld;
  Pack<T, 4> weights[HOLDS ? ROW_PARTS : 1], biases[HOLDS && HAS_MEAN ? ROW_PARTS : 1];
  const Norm& p;

  __device__ __forceinline__ Scale(const Norm& p) : p(p) {
    if (HOLDS) {
#pragma unroll
      for (int k = 0; k < ROW_PARTS; k++) {
        const u32 c = 4 * (k * threads + RowThreads<W, threads>::lane());
        if (c >= p.length) continue;
        weights[HOLDS ? k : 0] = loadFourAhead(p.weight, c, p.length);
        if (HAS_MEAN) biases[HOLDS && HAS_MEAN ? k : 0] = loadFourAhead(p.bias, c, p.length);
      }
    }
    awaitPrevious();
  }
  __device__ __forceinline__ void four(int part, u32 c, W* weight, W* bias) const {
    widenFour(HOLDS ? weights[HOLDS ? part : 0] : loadFour(p.weight, c, p.length), weight);
    if (HAS_MEAN) widenFour(HOLDS ? biases[HOLDS && HAS_MEAN ? part : 0] : loadFour(p.bias, c, p.length), bias);
  }
};

/** The norm of a held row, which is the same for every source of its numbers. */
template <int threads, class S, class R>
static __device__ __forceinline__ void normRow(const Norm& p, u64 row, const S& scale, R& values, W* shared) {
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
      [&](int part, u32 c, W* v) {
        W weight[4], bias[4];
        scale.four(part, c, weight, bias);
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

/** As ROW_KERNELS, of a function that makes its scale first. */
#define NORM_KERNELS(name, Parameters)                                                        \
  KERNEL_AHEAD(name##Warp, Parameters, 256) { name##Row<32, true>(p, (W*)0); }                \
  KERNEL_AHEAD(name##Block, Parameters, 256) {                                                \
    __shared__ W shared[33];                                                                  \
    name##Row<256, true>(p, shared);                                                          \
  }                                                                                           \
  KERNEL_AHEAD(name##Long, Parameters, 256) {                                                 \
    __shared__ W shared[33];                                                                  \
    name##Row<256, false>(p, shared);                                                         \
  }

template <int threads, bool isHeld>
static __device__ __forceinline__ void normRow(const Norm& p, W* shared) {
  const Scale<threads, isHeld> scale(p);
  Row<W, threads, isHeld, FromMemory<T>> values(FromMemory<T>(p.x, RowThreads<W, threads>::rowToRead(p.rows), p.length), p.length);
  normRow<threads>(p, RowThreads<W, threads>::row(), scale, values, shared);
}
NORM_KERNELS(norm, Norm)
