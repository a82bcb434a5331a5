// Sums down the columns of a row-major [rows, length]. T; Y: what is stored; S: what is summed in; PACKED: whether rows begin at 16
// bytes, which changes no order.

/** y[c] for few rows: a block 32 columns, 32 threads a column, whose sums are added in order. A second row of blocks takes the next matrix. */
struct Columns {
  const T* x;
  Y* y;
  Y* second;
  u32 rows, length;
};
KERNEL(sumColumns, Columns, 1024) {
  __shared__ S sums[32][33];
  const u32 c = blockIdx.x * 32 + (threadIdx.x & 31), part = threadIdx.x >> 5;
  const T* x = p.x + (u64)blockIdx.y * p.rows * p.length;
  S sum = 0;
  if (c < p.length) {
#pragma unroll 4
    for (u32 row = part; row < p.rows; row += 32) sum += (S)wide(x[(u64)row * p.length + c]);
  }
  sums[part][threadIdx.x & 31] = sum;
  __syncthreads();
  if (part != 0 || c >= p.length) return;
  for (int k = 1; k < 32; k++) sum += sums[k][threadIdx.x & 31];
  (blockIdx.y == 0 ? p.y : p.second)[c] = narrow<Y>(sum);
}

/** Adds up what each of eight threads a column has of V columns from c on, in order. */
template <int V>
static __device__ __forceinline__ void foldRun(const S (&sums)[V], u32 length, S* to) {
  __shared__ S shared[8][32][V + 1];
  const u32 lane = threadIdx.x & 31, part = threadIdx.x >> 5;
#pragma unroll
  for (int j = 0; j < V; j++) shared[part][lane][j] = sums[j];
  __syncthreads();
  for (u32 i = threadIdx.x; i < 32 * V; i += 256) {
    const u32 at = blockIdx.x * 32 * V + i;
    if (at >= length) continue;
    S sum = 0;
    for (int k = 0; k < 8; k++) sum += shared[k][i / V][i % V];
    to[at] = sum;
  }
}

/** The sums of runs of many rows, [parts, length] in S: a thread 16 bytes of columns, eight threads a column. */
struct ColumnParts {
  const T* x;
  S* sums;
  u64 rows, partRows;
  u32 length;
};
KERNEL(columnParts, ColumnParts, 256) {
  constexpr int V = 16 / sizeof(T);
  const u32 lane = threadIdx.x & 31, part = threadIdx.x >> 5, c = (blockIdx.x * 32 + lane) * V;
  const u64 from = blockIdx.y * p.partRows, to = from + p.partRows < p.rows ? from + p.partRows : p.rows;
  S sums[V] = {};
  if (c < p.length) {
#pragma unroll 4
    for (u64 row = from + part; row < to; row += 8) {
      const T* x = p.x + row * p.length + c;
      Pack<T, V> pack;
      if (PACKED) pack = *(const Pack<T, V>*)x;
      else
#pragma unroll
        for (int j = 0; j < V; j++) pack.v[j] = x[j];
#pragma unroll
      for (int j = 0; j < V; j++) sums[j] += (S)wide(pack.v[j]);
    }
  }
  foldRun(sums, p.length, p.sums + blockIdx.y * p.length);
}
