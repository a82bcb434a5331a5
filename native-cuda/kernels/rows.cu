// A row of numbers held by the threads that share it: 32 (one warp) or 256 (one block) threads, `held` values each. Longer
// rows are read again from memory. Every thread holds the elements thread, thread + threads, …, so sums have one order.

template <class W, int threads>
struct RowThreads {
  static __device__ __forceinline__ int lane() { return threads == 32 ? threadIdx.x & 31 : threadIdx.x; }
  static __device__ __forceinline__ u64 row() { return threads == 32 ? (u64)blockIdx.x * 8 + (threadIdx.x >> 5) : blockIdx.x; }

  /** Over all threads of the row; `shared` holds 33 values where a block shares a row. */
  template <class Fold>
  static __device__ __forceinline__ W fold(W v, W* shared) {
    if (threads == 32) return foldWarp<Fold>(v);
    return foldBlock<Fold>(v, shared);
  }
};

/** The elements of a row, read once where `isHeld`. Source: a function of the column. */
template <class W, int threads, bool isHeld, class Source>
struct Row {
  static constexpr int MOST = 32;
  W values[isHeld ? MOST : 1];
  const Source source;
  const u32 length;

  __device__ __forceinline__ Row(Source from, u32 length) : source(from), length(length) {
    if (!isHeld) return;
#pragma unroll
    for (int k = 0; k < MOST; k++) {
      const u32 c = RowThreads<W, threads>::lane() + k * threads;
      values[isHeld ? k : 0] = c < length ? source(c) : (W)0;
    }
  }

  /** visit(column, value) for the thread's elements. */
  template <class Visit>
  __device__ __forceinline__ void each(Visit visit) const {
    if (isHeld) {
#pragma unroll
      for (int k = 0; k < MOST; k++) {
        const u32 c = RowThreads<W, threads>::lane() + k * threads;
        if (c < length) visit(c, values[isHeld ? k : 0]);
      }
    } else {
      for (u32 c = RowThreads<W, threads>::lane(); c < length; c += threads) visit(c, source(c));
    }
  }
};

/** Three kernels of a row function: `name##Warp`, `name##Block`, `name##Long`. The function: template <threads, isHeld> (p, shared). */
#define ROW_KERNELS(name, Parameters, W)                                                      \
  KERNEL(name##Warp, Parameters, 256) { name##Row<32, true>(p, (W*)0); }                      \
  KERNEL(name##Block, Parameters, 256) {                                                      \
    __shared__ W shared[33];                                                                  \
    name##Row<256, true>(p, shared);                                                          \
  }                                                                                           \
  KERNEL(name##Long, Parameters, 256) {                                                       \
    __shared__ W shared[33];                                                                  \
    name##Row<256, false>(p, shared);                                                         \
  }
