// Gradients of layer and RMS norms. By the input: a row at a time. By the parameters: sums over rows, each thread a column
// and a run of rows, whose partial sums [chunks, length] the host folds again (reduce.cu). T.

typedef Number<T>::Wide W;

struct NormBackward {
  const T* x;
  const T* weight;
  const T* mean;
  const T* inverse;
  const T* gradient;
  T* dx;
  u64 rows;
  u32 length;
  int hasMean;  // a layer norm
};

struct Normalised {
  const T* x;
  W mean, inverse;
  __device__ __forceinline__ W operator()(u32 c) const { return (wide(x[c]) - mean) * inverse; }
};

template <int threads, bool isHeld>
static __device__ __forceinline__ void normBackwardRow(const NormBackward& p, W* shared) {
  typedef RowThreads<W, threads> Threads;
  const bool isInside = Threads::row() < p.rows;
  const u64 row = isInside ? Threads::row() : 0;
  const W mean = p.hasMean ? wide(p.mean[row]) : (W)0, inverse = wide(p.inverse[row]);
  const T* gradient = p.gradient + row * p.length;
  const Row<W, threads, isHeld, Normalised> normalised(Normalised{p.x + row * p.length, mean, inverse}, p.length);
  W sum = 0, product = 0;
  normalised.each([&](u32 c, W v) {
    const W g = wide(gradient[c]) * wide(p.weight[c]);
    sum += g;
    product = multiplyAdd(g, v, product);
  });
  const W count = (W)p.length;
  const W meanGradient = p.hasMean ? Threads::template fold<Sum>(sum, shared) / count : (W)0;
  const W meanProduct = Threads::template fold<Sum>(product, shared) / count;
  if (!isInside) return;
  normalised.each([&](u32 c, W v) {
    const W g = wide(gradient[c]) * wide(p.weight[c]);
    p.dx[row * p.length + c] = narrow<T>((g - meanGradient - v * meanProduct) * inverse);
  });
}
ROW_KERNELS(normBackward, NormBackward, W)

struct NormParameters {
  const T* x;
  const T* mean;
  const T* inverse;
  const T* gradient;
  W* byWeight;  // [chunks, length]
  W* byBias;
  u64 rows, chunkRows;
  u32 length;
  int hasMean;
};
KERNEL(normParameters, NormParameters, 256) {
  const u32 c = blockIdx.x * 256 + threadIdx.x;
  if (c >= p.length) return;
  const u64 from = blockIdx.y * p.chunkRows, to = from + p.chunkRows < p.rows ? from + p.chunkRows : p.rows;
  W byWeight = 0, byBias = 0;
  for (u64 row = from; row < to; row++) {
    const W g = wide(p.gradient[row * p.length + c]);
    const W mean = p.hasMean ? wide(p.mean[row]) : (W)0;
    byWeight = multiplyAdd(g, (wide(p.x[row * p.length + c]) - mean) * wide(p.inverse[row]), byWeight);
    byBias += g;
  }
  p.byWeight[(u64)blockIdx.y * p.length + c] = byWeight;
  if (p.hasMean) p.byBias[(u64)blockIdx.y * p.length + c] = byBias;
}
