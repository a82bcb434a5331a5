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

/** Adds up what each of ROWS threads a column has of V columns from c on, in order. */
template <int ROWS, int V, class A>
static __device__ __forceinline__ void foldRun(const A (&sums)[V], u32 length, S* to) {
  __shared__ A shared[ROWS][32][V + 1];
  const u32 lane = threadIdx.x & 31, part = threadIdx.x >> 5;
#pragma unroll
  for (int j = 0; j < V; j++) shared[part][lane][j] = sums[j];
  __syncthreads();
  for (u32 i = threadIdx.x; i < 32 * V; i += 32 * ROWS) {
    const u32 at = blockIdx.x * 32 * V + i;
    if (at >= length) continue;
    S sum = 0;
#pragma unroll
    for (int k = 0; k < ROWS; k++) sum += (S)shared[k][i / V][i % V];
    to[at] = sum;
  }
}

/** What a thread adds its own rows in: their 16-bit floats have 8 or 11 digits, of which float32 holds the sum of a hundred to the last but a few. */
template <class E>
struct Own {
  typedef S Sum;
};
template <>
struct Own<bf16> {
  typedef float Sum;
};
template <>
struct Own<f16> {
  typedef float Sum;
};

/** The sums of runs of many rows, [parts, length] in S: a thread 16 bytes of columns, sixteen threads a column. */
struct ColumnParts {
  const T* x;
  S* sums;
  u64 rows, partRows;
  u32 length;
};
template <int V>
static __device__ __forceinline__ Pack<T, V> packAt(const T* x) {
  if (PACKED) return *(const Pack<T, V>*)x;
  Pack<T, V> pack;
#pragma unroll
  for (int j = 0; j < V; j++) pack.v[j] = x[j];
  return pack;
}
// Three blocks share a multiprocessor, each thread with four loads on their way: 96 KiB, where some 40 keep memory busy.
KERNEL_SHARING(columnParts, ColumnParts, 512, 3) {
  constexpr int V = 16 / sizeof(T), STEP = 16, AHEAD = 4;
  const u32 lane = threadIdx.x & 31, part = threadIdx.x >> 5, c = (blockIdx.x * 32 + lane) * V;
  const u64 from = blockIdx.y * p.partRows, to = from + p.partRows < p.rows ? from + p.partRows : p.rows;
  typename Own<T>::Sum sums[V] = {};
  if (c < p.length) {
    u64 row = from + part;
    for (; row + STEP * (AHEAD - 1) < to; row += STEP * AHEAD) {
      Pack<T, V> packs[AHEAD];
#pragma unroll
      for (int k = 0; k < AHEAD; k++) packs[k] = packAt<V>(p.x + (row + STEP * k) * p.length + c);
#pragma unroll
      for (int k = 0; k < AHEAD; k++)
#pragma unroll
        for (int j = 0; j < V; j++) sums[j] += wide(packs[k].v[j]);
    }
#pragma unroll 4
    for (; row < to; row += STEP) {
      const Pack<T, V> pack = packAt<V>(p.x + row * p.length + c);
#pragma unroll
      for (int j = 0; j < V; j++) sums[j] += wide(pack.v[j]);
    }
  }
  foldRun<STEP>(sums, p.length, p.sums + blockIdx.y * p.length);
}
