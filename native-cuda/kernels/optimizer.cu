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
KERNEL(adamw, Adamw, 256) {
  const int i = blockIdx.y;
  const W factor = wide(p.factor[0]);
  // Gradients that are no numbers leave everything as it is.
  if (!(factor - factor == 0)) return;
  const W beta1 = (W)p.beta1, beta2 = (W)p.beta2, rest1 = (W)p.rest1, rest2 = (W)p.rest2;
  const W learningRate = wide(p.schedule[0]), correction1 = wide(p.schedule[1]), correction2 = wide(p.schedule[2]);
  const W eps = (W)p.eps, weightDecay = (W)p.weightDecay;
  for (u64 at = (u64)blockIdx.x * 256 + threadIdx.x; at < p.n[i]; at += (u64)gridDim.x * 256) {
    const W g = wide(p.g[i][at]) * factor;
    const W m = wide(p.m[i][at]) * beta1 + g * rest1;
    const W v = wide(p.v[i][at]) * beta2 + g * g * rest2;
    const W parameter = wide(p.p[i][at]);
    const W direction = m / correction1 / (rootOf(v / correction2) + eps) + parameter * weightDecay;
    p.p[i][at] = narrow<T>(parameter - direction * learningRate);
    p.m[i][at] = narrow<T>(m);
    p.v[i][at] = narrow<T>(v);
  }
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
