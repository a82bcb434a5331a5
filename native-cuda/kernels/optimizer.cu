// The norm of all gradients: the parameters of the kernel are a table of up to 64 tensors, a row of blocks for each. T.

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
