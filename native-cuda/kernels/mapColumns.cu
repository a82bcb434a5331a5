// A printed body of two operands over a row-major [rows, length], written over the second, and in the same pass the sums of what it gives down
// the columns: runs of rows as columns.cu has them, which folds them. T; S: what is summed in; PACKED: whether a thread takes 16 bytes of columns, or one column.

struct MapColumns {
  const T* x;
  T* y;     // the second operand, and what is given
  S* sums;  // [parts, length]
  u64 rows, partRows;
  u32 length;
};
// All loads of some rows come before their stores, which a compiler must not move loads over.
KERNEL(mapColumns, MapColumns, 256) {
  constexpr int ROWS = 2, V = PACKED ? 16 / sizeof(T) : 1;
  typedef Pack<T, V> Many;
  const u32 lane = threadIdx.x & 31, part = threadIdx.x >> 5, c = (blockIdx.x * 32 + lane) * V;
  const u64 from = blockIdx.y * p.partRows, to = from + p.partRows < p.rows ? from + p.partRows : p.rows;
  S sums[V] = {};
  if (c < p.length) {
#pragma unroll 1
    for (u64 row = from + part; row < to; row += 8 * ROWS) {
      Many x[ROWS], y[ROWS];
#pragma unroll
      for (int k = 0; k < ROWS; k++) {
        // Past the end the last row again: no branch around a load.
        const u64 at = (row + 8 * k < to ? row + 8 * k : row) * p.length + c;
        x[k] = *(const Many*)(p.x + at);
        y[k] = *(const Many*)(p.y + at);
      }
#pragma unroll
      for (int k = 0; k < ROWS; k++) {
        if (row + 8 * k >= to) break;
#pragma unroll
        for (int j = 0; j < V; j++) {
          y[k].v[j] = compute(x[k].v[j], y[k].v[j]);
          sums[j] += (S)wide(y[k].v[j]);
        }
        *(Many*)(p.y + (row + 8 * k) * p.length + c) = y[k];
      }
    }
  }
  foldRun<8>(sums, p.length, p.sums + blockIdx.y * p.length);
}
