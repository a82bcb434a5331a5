// A row of numbers held by the threads that share it: 32 (one warp) or 256 (one block) threads. Longer rows are read again from
// memory. Every thread holds the same elements of every row, so sums have one order. ROW_PARTS: how many times four elements a
// thread holds; ROW_PACKED.

template <class W, int threads>
struct RowThreads {
  static __device__ __forceinline__ int lane() { return threads == 32 ? threadIdx.x & 31 : threadIdx.x; }
  static __device__ __forceinline__ u64 row() { return threads == 32 ? (u64)blockIdx.x * 8 + (threadIdx.x >> 5) : blockIdx.x; }
  /** Where a row past the end is asked for, the first is read and nothing written: its threads take part in barriers. */
  static __device__ __forceinline__ u64 rowToRead(u64 rows) { return row() < rows ? row() : 0; }

  /** Over all threads of the row; `shared` holds 33 values where a block shares a row. */
  template <class Fold>
  static __device__ __forceinline__ W fold(W v, W* shared) {
    if (threads == 32) return foldWarp<Fold>(v);
    return foldBlock<Fold>(v, shared);
  }
};

// ROW_PACKED: whether rows of all operands begin at four elements and end there. It is known when the kernel is compiled, since a
// branch around every load would make the next one wait for it.

// ROW_FULL: whether all threads hold whole parts of a row, so that nothing has to be asked.

/** Whether four elements of a held row begin inside of it. */
static __device__ __forceinline__ bool hasFour(u32 c, u32 length) { return ROW_FULL || c < length; }
/** Whether one of four that do lies inside of it. */
static __device__ __forceinline__ bool hasOne(u32 c, u32 length) { return ROW_PACKED || c < length; }

/** Four neighbouring elements of a row as they are stored, those past its end as 0. */
template <class E>
static __device__ __forceinline__ Pack<E, 4> loadFour(const E* x, u32 c, u32 length) {
  if (ROW_PACKED) return *(const Pack<E, 4>*)(x + c);
  Pack<E, 4> pack;
#pragma unroll
  for (int j = 0; j < 4; j++) pack.v[j] = c + j < length ? x[c + j] : E{};
  return pack;
}
template <class E, class W>
static __device__ __forceinline__ void widenFour(const Pack<E, 4>& pack, W* to) {
#pragma unroll
  for (int j = 0; j < 4; j++) to[j] = wide(pack.v[j]);
}
template <class E, class W>
static __device__ __forceinline__ void readFour(const E* x, u32 c, u32 length, W* to) {
  widenFour(loadFour(x, c, length), to);
}
template <class E, class W>
static __device__ __forceinline__ void writeFour(E* y, u32 c, u32 length, const W* from) {
  if (ROW_PACKED) {
    Pack<E, 4> pack;
#pragma unroll
    for (int j = 0; j < 4; j++) pack.v[j] = narrow<E>(from[j]);
    *(Pack<E, 4>*)(y + c) = pack;
  } else {
#pragma unroll
    for (int j = 0; j < 4; j++)
      if (c + j < length) y[c + j] = narrow<E>(from[j]);
  }
}

// A source gives a row's numbers four at a time, in two steps: what it loads, and what it makes of that. All loads of a row come
// before the first store, which a compiler must not move them over.

template <class E>
struct FromMemory {
  typedef Pack<E, 4> Loaded;
  const E* x;
  u32 length;
  __device__ __forceinline__ FromMemory(const E* rows, u64 row, u32 length) : x(rows + row * length), length(length) {}
  __device__ __forceinline__ Loaded load(u32 c) const { return loadFour(x, c, length); }
  template <class W>
  __device__ __forceinline__ void finish(u32, const Loaded& loaded, W* to) const {
    widenFour(loaded, to);
  }
};

/** The value of a fixed-point stream: unit times a whole number. */
struct FromStream {
  typedef Pack<int, 4> Loaded;
  const int* x;
  u32 length;
  float unit;
  __device__ __forceinline__ Loaded load(u32 c) const { return loadFour(x, c, length); }
  __device__ __forceinline__ void finish(u32, const Loaded& loaded, float* to) const {
#pragma unroll
    for (int j = 0; j < 4; j++) to[j] = (float)loaded.v[j] * unit;
  }
};

/**
 * The elements of a row, read once where `isHeld`. A thread holds four neighbours, and four more behind those of all threads: the
 * order of a sum follows from the length alone.
 */
template <class W, int threads, bool isHeld, class Source>
struct Row {
  static constexpr int PARTS = ROW_PARTS;
  W values[isHeld ? 4 * PARTS : 4];
  const Source source;
  const u32 length;

  __device__ __forceinline__ Row(Source from, u32 length) : source(from), length(length) {
    if (!isHeld) return;
    typename Source::Loaded loaded[isHeld ? PARTS : 1];
#pragma unroll
    for (int k = 0; k < PARTS; k++)
      if (hasFour(columnOf(k), length)) loaded[isHeld ? k : 0] = source.load(columnOf(k));
#pragma unroll
    for (int k = 0; k < PARTS; k++) {
      W* part = values + (isHeld ? 4 * k : 0);
      if (hasFour(columnOf(k), length)) source.finish(columnOf(k), loaded[isHeld ? k : 0], part);
      else part[0] = part[1] = part[2] = part[3] = 0;
    }
  }
  static __device__ __forceinline__ u32 columnOf(int k) { return 4 * (k * threads + RowThreads<W, threads>::lane()); }

  /** visit(part, column, four values) for the thread's elements; what lies past the end of the row is 0. Held values may be changed. */
  template <class Visit>
  __device__ __forceinline__ void eachFour(Visit visit) {
    if (isHeld) {
#pragma unroll
      for (int k = 0; k < PARTS; k++) {
        const u32 c = columnOf(k);
        if (hasFour(c, length)) visit(k, c, values + (isHeld ? 4 * k : 0));
      }
    } else {
      for (u32 c = columnOf(0); c < length; c += 4 * threads) {
        W part[4];
        source.finish(c, source.load(c), part);
        visit(0, c, part);
      }
    }
  }
  /** Changes four values by four, then stores each: change and store as `eachFour` visits. */
  template <class Change, class Store>
  __device__ __forceinline__ void changeAndStore(Change change, Store store) {
    if (isHeld) {
      eachFour(change);
      eachFour(store);
    } else {
      eachFour([&](int part, u32 c, W* v) {
        change(part, c, v);
        store(part, c, v);
      });
    }
  }
  /** visit(column, value). */
  template <class Visit>
  __device__ __forceinline__ void each(Visit visit) {
    eachFour([&](int, u32 c, const W* four) {
#pragma unroll
      for (int j = 0; j < 4; j++)
        if (hasOne(c + j, length)) visit(c + j, four[j]);
    });
  }
};

/** A row as it is stored: 16-bit floats take half the registers until they are asked for. */
template <class E, class W, int threads, bool isHeld>
struct Stored {
  Pack<E, 4> packs[isHeld ? ROW_PARTS : 1];
  const FromMemory<E> source;
  __device__ __forceinline__ Stored(FromMemory<E> from) : source(from) {
    if (!isHeld) return;
#pragma unroll
    for (int k = 0; k < ROW_PARTS; k++) {
      const u32 c = 4 * (k * threads + RowThreads<W, threads>::lane());
      if (hasFour(c, from.length)) packs[isHeld ? k : 0] = from.load(c);
    }
  }
  /** The four values that a row's `eachFour` visits with a part and a column. */
  __device__ __forceinline__ void four(int part, u32 c, W* to) const {
    widenFour(isHeld ? packs[isHeld ? part : 0] : source.load(c), to);
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
