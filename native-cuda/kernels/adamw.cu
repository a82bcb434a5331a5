// AdamW over many tensors in one launch: the parameters of the kernel are a table of up to 64 of them, a row of blocks for each. T, and
// the type C of the copies that are written together with the parameters. 28 bytes an element in float32, 30 with a copy in bfloat16.

typedef Number<T>::Wide W;

static __device__ __forceinline__ float rootOf(float v) { return sqrtf(v); }
static __device__ __forceinline__ double rootOf(double v) { return sqrt(v); }

struct Tensors {
  T* p[64];
  const T* g[64];
  T* m[64];
  T* v[64];
};
struct CopiedTensors : Tensors {
  C* copy[64];
};
struct Rule {
  u64 n[64];
  const T* factor;
  /** Learning rate, 1 - beta1^t, 1 - beta2^t. */
  const T* schedule;
  double beta1, beta2, rest1, rest2, eps, weightDecay;
};
template <class Table>
struct Adamw {
  Table tensors;
  Rule rule;
};

/** Copies of tensors that have none. */
static __device__ __forceinline__ C* copyOf(const Tensors&, int) { return nullptr; }
static __device__ __forceinline__ C* copyOf(const CopiedTensors& t, int i) { return t.copy[i]; }
static __device__ __forceinline__ bool hasCopies(const Tensors&) { return false; }
static __device__ __forceinline__ bool hasCopies(const CopiedTensors&) { return true; }

/** V neighbouring elements of every tensor at a time. */
template <int V, class Table>
static __device__ __forceinline__ void updateRun(const Table& t, const Rule& p, int i, W factor, u64 packs) {
  const W beta1 = (W)p.beta1, beta2 = (W)p.beta2, rest1 = (W)p.rest1, rest2 = (W)p.rest2;
  const W learningRate = wide(p.schedule[0]), correction1 = wide(p.schedule[1]), correction2 = wide(p.schedule[2]);
  const W eps = (W)p.eps, weightDecay = (W)p.weightDecay;
  typedef Pack<T, V> Many;
  for (u64 at = (u64)blockIdx.x * 256 + threadIdx.x; at < packs; at += (u64)gridDim.x * 256) {
    const Many gradient = ((const Many*)t.g[i])[at];
    Many parameters = ((const Many*)t.p[i])[at], first = ((const Many*)t.m[i])[at], second = ((const Many*)t.v[i])[at];
    Pack<C, V> copies;
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
      copies.v[j] = narrow<C>(wide(parameters.v[j]));
    }
    ((Many*)t.p[i])[at] = parameters;
    ((Many*)t.m[i])[at] = first;
    ((Many*)t.v[i])[at] = second;
    if (hasCopies(t)) ((Pack<C, V>*)copyOf(t, i))[at] = copies;
  }
}

template <class Table>
static __device__ __forceinline__ void update(const Table& t, const Rule& p) {
  const int i = blockIdx.y;
  const W factor = wide(p.factor[0]);
  // Gradients that are no numbers leave everything as it is; a copy is the parameter's, whatever it held.
  if (!(factor - factor == 0)) {
    if (hasCopies(t))
      for (u64 at = (u64)blockIdx.x * 256 + threadIdx.x; at < p.n[i]; at += (u64)gridDim.x * 256)
        copyOf(t, i)[at] = narrow<C>(wide(t.p[i][at]));
    return;
  }
  constexpr int V = 16 / sizeof(T);
  const u64 places = (u64)t.p[i] | (u64)t.g[i] | (u64)t.m[i] | (u64)t.v[i] | (u64)copyOf(t, i);
  if (p.n[i] % V == 0 && places % 16 == 0) updateRun<V>(t, p, i, factor, p.n[i] / V);
  else updateRun<1>(t, p, i, factor, p.n[i]);
}
KERNEL(adamw, Adamw<Tensors>, 256) { update(p.tensors, p.rule); }
KERNEL(adamwCopying, Adamw<CopiedTensors>, 256) { update(p.tensors, p.rule); }
