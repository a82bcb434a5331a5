// y[c] = the sum over rows of x[row, c] for few rows: a block 32 columns, 8 threads a column, whose sums are added in order.
// T; Y.

typedef Number<T>::Wide W;

struct Columns {
  const T* x;
  Y* y;
  u32 rows, length;
};
KERNEL(sumColumns, Columns, 256) {
  __shared__ W sums[8][33];
  const u32 c = blockIdx.x * 32 + (threadIdx.x & 31), part = threadIdx.x >> 5;
  W sum = 0;
  if (c < p.length)
    for (u32 row = part; row < p.rows; row += 8) sum += wide(p.x[(u64)row * p.length + c]);
  sums[part][threadIdx.x & 31] = sum;
  __syncthreads();
  if (part != 0 || c >= p.length) return;
  for (int k = 1; k < 8; k++) sum += sums[k][threadIdx.x & 31];
  p.y[c] = narrow<Y>(sum);
}
