// A row on its way to shared memory while a warp works on the one before. Every lane copies the fours of elements that it reads itself
// (rows.cu), so that nobody waits for anybody.

/** Begins to copy four neighbouring elements of a row; those of rows that are not read in packs are there at once. */
template <class E>
static __device__ __forceinline__ void copyFour(E* to, const E* from, u32 c, u32 length) {
#ifndef REVNET_HOST
  if (ROW_PACKED) {
    u32 at;
    asm("{ .reg .u64 a; cvta.to.shared.u64 a, %1; cvt.u32.u64 %0, a; }" : "=r"(at) : "l"(to + c));
    if (sizeof(E) == 2) {
      asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(at), "l"(from + c) : "memory");
    } else {
#pragma unroll
      for (int half = 0; half < 4 * (int)sizeof(E); half += 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(at + half), "l"((const char*)(from + c) + half) : "memory");
    }
    return;
  }
#endif
#pragma unroll
  for (int j = 0; j < 4; j++)
    if (c + j < length) to[c + j] = from[c + j];
}
/** Waits for all that was copied. */
static __device__ __forceinline__ void awaitCopies() {
#ifndef REVNET_HOST
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}
/** Begins to copy a warp's row. */
template <class E>
static __device__ __forceinline__ void copyRow(E* to, const E* from, u32 length) {
#pragma unroll
  for (int k = 0; k < ROW_PARTS; k++) {
    const u32 c = 4 * (k * 32 + (threadIdx.x & 31));
    if (hasFour(c, length)) copyFour(to, from, c, length);
  }
}
/** Bytes of a row in shared memory. */
template <class E>
static __device__ __forceinline__ u32 rowBytes(u32 length) {
  return (length * (u32)sizeof(E) + 15) / 16 * 16;
}
