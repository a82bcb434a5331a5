// The product of two rows by LANES neighbouring lanes, in packs of 16 bytes where rows allow. T; LANES: a power of 2.

/** a · b, in all of the lanes. */
static __device__ __forceinline__ W rowDot(const T* a, const T* b, int width) {
  constexpr int V = 16 / sizeof(T);
  typedef Pack<T, V> Elements;
  W sum = 0;
  if ((u64)a % 16 == 0 && (u64)b % 16 == 0 && width % V == 0) {
    for (int c = threadIdx.x % LANES * V; c < width; c += LANES * V) {
      const Elements x = *(const Elements*)(a + c), y = *(const Elements*)(b + c);
#pragma unroll
      for (int k = 0; k < V; k++) sum = multiplyAdd(wide(x.v[k]), wide(y.v[k]), sum);
    }
  } else {
    for (int c = threadIdx.x % LANES; c < width; c += LANES) sum = multiplyAdd(wide(a[c]), wide(b[c]), sum);
  }
#pragma unroll
  for (int step = LANES / 2; step > 0; step >>= 1) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  return sum;
}
