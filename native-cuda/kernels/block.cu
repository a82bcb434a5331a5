// Sums and extrema over the threads of a warp or a block, always in the same order.

template <class Fold, class W>
static __device__ __forceinline__ W foldWarp(W v) {
#pragma unroll
  for (int step = 16; step > 0; step >>= 1) v = Fold::of(v, __shfl_xor_sync(0xffffffffu, v, step));
  return v;
}

/** Over all threads of a block of at most 1024; the result in every thread. `shared` holds 33 values. */
template <class Fold, class W>
static __device__ __forceinline__ W foldBlock(W v, W* shared) {
  v = foldWarp<Fold>(v);
  const int warps = blockDim.x >> 5;
  if (warps == 1) return v;
  __syncthreads();
  if ((threadIdx.x & 31) == 0) shared[threadIdx.x >> 5] = v;
  __syncthreads();
  if (threadIdx.x < 32) {
    W all = threadIdx.x < warps ? shared[threadIdx.x] : Fold::template start<W>();
    all = foldWarp<Fold>(all);
    if (threadIdx.x == 0) shared[32] = all;
  }
  __syncthreads();
  return shared[32];
}

struct Sum {
  template <class W>
  static __device__ __forceinline__ W start() {
    return (W)0;
  }
  template <class W>
  static __device__ __forceinline__ W of(W a, W b) {
    return a + b;
  }
};
template <class W>
struct Ends {
  static __device__ __forceinline__ W least() { return -(W)INFINITY; }
  static __device__ __forceinline__ W most() { return (W)INFINITY; }
};
template <>
struct Ends<int> {
  static __device__ __forceinline__ int least() { return -2147483647 - 1; }
  static __device__ __forceinline__ int most() { return 2147483647; }
};
struct Max {
  template <class W>
  static __device__ __forceinline__ W start() {
    return Ends<W>::least();
  }
  template <class W>
  static __device__ __forceinline__ W of(W a, W b) {
    return greater(a, b);
  }
};
struct Min {
  template <class W>
  static __device__ __forceinline__ W start() {
    return Ends<W>::most();
  }
  template <class W>
  static __device__ __forceinline__ W of(W a, W b) {
    return lesser(a, b);
  }
};
