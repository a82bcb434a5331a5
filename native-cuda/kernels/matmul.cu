// y[s, i, j] = sum over k of a[s, i, k] · b[s, k, j], operands of any strides: tiles of 64 x 64 in shared memory, 4 x 4 of
// them a thread, sums in ascending order of k. What serves where cuBLASLt is absent or has no such type. T; Y.

typedef Number<T>::Wide W;

struct Matmul {
  const T* a;
  const T* b;
  Y* y;
  i64 aRow, aColumn, bRow, bColumn;
  i64 aBatch[8], bBatch[8];
  u32 batchSizes[8];
  u32 m, n, k;
  int batchRank;
};
KERNEL(matmul, Matmul, 256) {
  __shared__ W as[16][65], bs[16][65];
  const T* a = p.a + placeOf(blockIdx.z, p.batchRank, p.batchSizes, p.aBatch);
  const T* b = p.b + placeOf(blockIdx.z, p.batchRank, p.batchSizes, p.bBatch);
  const u32 row0 = blockIdx.x * 64, column0 = blockIdx.y * 64;
  const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  // Neighbouring threads read what lies together in memory.
  const bool aByRow = p.aRow == 1, bByColumn = p.bColumn == 1;
  W sums[4][4] = {};
  for (u32 k0 = 0; k0 < p.k; k0 += 16) {
    for (int e = threadIdx.x; e < 16 * 64; e += 256) {
      const u32 i = aByRow ? e % 64 : e / 16, ka = aByRow ? e / 64 : e % 16;
      as[ka][i] = row0 + i < p.m && k0 + ka < p.k ? wide(a[(row0 + i) * p.aRow + (k0 + ka) * p.aColumn]) : (W)0;
      const u32 j = bByColumn ? e % 64 : e / 16, kb = bByColumn ? e / 64 : e % 16;
      bs[kb][j] = column0 + j < p.n && k0 + kb < p.k ? wide(b[(k0 + kb) * p.bRow + (column0 + j) * p.bColumn]) : (W)0;
    }
    __syncthreads();
    for (int k = 0; k < 16 && k0 + k < p.k; k++) {
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) sums[i][j] = multiplyAdd(as[k][ty + 16 * i], bs[k][tx + 16 * j], sums[i][j]);
    }
    __syncthreads();
  }
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 4; j++) {
      const u32 row = row0 + ty + 16 * i, column = column0 + tx + 16 * j;
      if (row < p.m && column < p.n) p.y[((u64)blockIdx.z * p.m + row) * p.n + column] = narrow<Y>(sums[i][j]);
    }
}
