// Optimizer steps over many tensors in one launch: the parameters of the kernel are a table of up to 64 of them, a row of
// blocks for each. T.

typedef Number<T>::Wide W;

static __device__ __forceinline__ float rootOf(float v) { return sqrtf(v); }
static __device__ __forceinline__ double rootOf(double v) { return sqrt(v); }

struct Adamw {
  T* p[64];
  const T* g[64];
  T* m[64];
  T* v[64];
  u64 n[64];
  const T* factor;
  /** Learning rate, 1 - beta1^t, 1 - beta2^t. */
  const T* schedule;
  double beta1, beta2, rest1, rest2, eps, weightDecay;
};
/** V neighbouring elements of every tensor at a time. */
template <int V>
static __device__ __forceinline__ void updateRun(const Adamw& p, int i, W factor, u64 packs) {
  const W beta1 = (W)p.beta1, beta2 = (W)p.beta2, rest1 = (W)p.rest1, rest2 = (W)p.rest2;
  const W learningRate = wide(p.schedule[0]), correction1 = wide(p.schedule[1]), correction2 = wide(p.schedule[2]);
  const W eps = (W)p.eps, weightDecay = (W)p.weightDecay;
  typedef Pack<T, V> Many;
  for (u64 at = (u64)blockIdx.x * 256 + threadIdx.x; at < packs; at += (u64)gridDim.x * 256) {
    const Many gradient = ((const Many*)p.g[i])[at];
    Many parameters = ((const Many*)p.p[i])[at], first = ((const Many*)p.m[i])[at], second = ((const Many*)p.v[i])[at];
#pragma unroll
    for (int j = 0; j < V; j++) {
      const W g = wide(gradient.v[j]) * factor;
      const W m = wide(first.v[j]) * beta1 + g * rest1;
      const W v = wide(second.v[j]) * beta2 + g * g * rest2;
      const W parameter = wide(parameters.v[j]);
      const W direction = m / correction1 / (rootOf(v / correction2) + eps) + parameter * weightDecay;
      parameters.v[j] = narrow<T>(parameter - direction * learningRate);
      first.v[j] = narrow<T>(m);
      second.v[j] = narrow<T>(v);
    }
    ((Many*)p.p[i])[at] = parameters;
    ((Many*)p.m[i])[at] = first;
    ((Many*)p.v[i])[at] = second;
  }
}
KERNEL(adamw, Adamw, 256) {
  const int i = blockIdx.y;
  const W factor = wide(p.factor[0]);
  // Gradients that are no numbers leave everything as it is.
  if (!(factor - factor == 0)) return;
  constexpr int V = 16 / sizeof(T);
  const u64 places = (u64)p.p[i] | (u64)p.g[i] | (u64)p.m[i] | (u64)p.v[i];
  if (p.n[i] % V == 0 && places % 16 == 0) updateRun<V>(p, i, factor, p.n[i] / V);
  else updateRun<1>(p, i, factor, p.n[i]);
}

/** Sums of squares in float64, one a block: [tensors, blocks]. */
struct Squares {
  const T* x[64];
  u64 n[64];
  double* sums;
};
KERNEL(squares, Squares, 256) {
  __shared__ double shared[33];
  double sum = 0;
  for (u64 at = (u64)blockIdx.x * 256 + threadIdx.x; at < p.n[blockIdx.y]; at += (u64)gridDim.x * 256) {
    const double v = (double)wide(p.x[blockIdx.y][at]);
    sum = fma(v, v, sum);
  }
  sum = foldBlock<Sum>(sum, shared);
  if (threadIdx.x == 0) p.sums[(u64)blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

struct Root {
  const double* sums;
  float* norm;
  u64 count;
};
KERNEL(rootOfSum, Root, 256) {
  __shared__ double shared[33];
  double sum = 0;
  for (u64 i = threadIdx.x; i < p.count; i += 256) sum += p.sums[i];
  sum = foldBlock<Sum>(sum, shared);
  if (threadIdx.x == 0) p.norm[0] = (float)sqrt(sum);
}
