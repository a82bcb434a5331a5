// A bias a key as tiles read it.

struct BiasWords {
  const float* bias;
  float* out;  // times log2 e
  i64 count;
};
KERNEL(sparseBiasWords, BiasWords, 256) {
  const i64 i = (i64)blockIdx.x * 256 + threadIdx.x;
  if (i < p.count) p.out[i] = p.bias[i] * 1.4426950408889634f;
}
