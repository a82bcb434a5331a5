// A bias a key as tiles read it. T.

/** A bias a key in float32, times log2 e. */
struct BiasWords {
  const T* bias;
  float* out;
  i64 count;
};
KERNEL(sparseBiasWords, BiasWords, 256) {
  const i64 i = (i64)blockIdx.x * 256 + threadIdx.x;
  if (i < p.count) p.out[i] = wide(p.bias[i]) * 1.4426950408889634f;
}
