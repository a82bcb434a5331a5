// A linear layer of few rows, as decoding has them: y [ROWS, n] = x [ROWS, k] w [n, k]ᵀ + bias, and GELU (its tanh form) of that rounded.
// Every weight is read once, by the warp of its column, sixteen bytes a lane; sums are float32, in an order that follows from k.
// Bytes: n k, whatever the rows. At 3 TB/s the 124M weights of GPT-2 in bf16 are 83 us a token. T; B, of the bias; ROWS; PACK; DEPTH: packs a lane asks for at
// once; GELU.

struct FewRows {
  const T* x;
  const T* w;
  const B* bias;  // or null
  T* y;
  T* before;  // GELU's argument
  int n, k;
};

static __device__ __forceinline__ float geluOf(float v) {
  // As a sigmoid: 1 + tanh would lose the tail.
  return v / (1.0f + expf(-1.5957691216057308f * (v + 0.044715f * v * v * v)));
}

KERNEL(fewRows, FewRows, 128) {
  typedef Pack<T, PACK> Many;
  const int column = blockIdx.x * 4 + (threadIdx.x >> 5), lane = threadIdx.x & 31;
  if (column >= p.n) return;
  const T* w = p.w + (u64)column * p.k;
  float sums[ROWS] = {};
  for (int from = lane * PACK; from < p.k; from += 32 * PACK * DEPTH) {
    // All of a warp's weights are asked for at once: what this waits for is memory's latency.
    Many weights[DEPTH];
#pragma unroll
    for (int n = 0; n < DEPTH; n++) {
      const int c = from + n * 32 * PACK;
      if (c < p.k) weights[n] = *(const Many*)(w + c);
    }
#pragma unroll
    for (int n = 0; n < DEPTH; n++) {
      const int c = from + n * 32 * PACK;
      if (c >= p.k) continue;
#pragma unroll
      for (int r = 0; r < ROWS; r++) {
        const Many values = *(const Many*)(p.x + (u64)r * p.k + c);
#pragma unroll
        for (int e = 0; e < PACK; e++) sums[r] = multiplyAdd(wide(weights[n].v[e]), wide(values.v[e]), sums[r]);
      }
    }
  }
  const float bias = p.bias == 0 ? 0 : (float)wide(p.bias[column]);
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    const float sum = foldWarp<Sum>(sums[r]) + bias;
    if (lane != 0) continue;
    const u64 at = (u64)r * p.n + column;
    if (GELU) {
      const T argument = narrow<T>(sum);
      p.before[at] = argument;
      p.y[at] = narrow<T>(geluOf(wide(argument)));
    } else {
      p.y[at] = narrow<T>(sum);
    }
  }
}
