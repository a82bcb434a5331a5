// Convolutions as products of tiles, whose operands are gathered from tensors as these lie: nothing is unfolded in memory. A row is
// a channel. In `convData` a column is a pixel of what is written, and terms go along (channel, i, j), the weight's places: of y
// by x, or of the input's gradient by the output's. In `convWeights` a column is a place of the weight and terms go along pixels, a run of
// them a block; runs are added up afterwards. Terms are added in ascending order; what the padding adds is zero times a weight.
// Of a gradient by the input, pixels whose places are alike under the stride are written by one launch, with the taps that reach them. T; Y.

/** Where a place (channel, i, j) of the weight is found. */
struct Tap {
  int weight, plane;  // elements behind the weight's first, and behind a pixel's
  int y, x;           // from a pixel's own place
};
/** So far outside that no pixel comes back in, nor twice as far overflows. */
enum { OUTSIDE = -(1 << 29) };

struct Conv {
  const T* a;  // the weight; the output's gradient in convWeights
  const T* b;  // what is gathered from: one pixel for every tap
  Y* y;
  int rows;      // of a group
  int channels;  // of a group of b
  int bHeight, bWidth;
  int images, height, width;  // of the pixels that are written; of those of a in convWeights
  int kh, kw;                 // taps
  int weightGroup, weightRow, weightChannel, weightY, weightX;  // steps in the weight
  int scaleY, scaleX, shiftY, shiftX;                           // a pixel's own place in b
  int tapY, tapX;                                               // and from tap to tap
  int yPlane, yRow, yPixel;                                     // steps in y
  u32 tiles;                                                    // of rows
  u32 run;                                                      // pixels of a block of convWeights: whole steps
};

static __device__ __forceinline__ Tap tapOf(const Conv& p, int at, int terms) {
  const int j = at % p.kw, i = at / p.kw % p.kh, c = at / p.kw / p.kh, y = i * p.tapY, x = j * p.tapX;
  if (at >= terms) return Tap{0, 0, OUTSIDE, OUTSIDE};
  return Tap{c * p.weightChannel + i * p.weightY + j * p.weightX, (c * p.bHeight + y) * p.bWidth + x, y, x};
}

/** A pixel, from which taps are gathered. */
struct Pixel {
  const T* from;
  int y, x;
  __device__ __forceinline__ Pixel(const Conv& p, u32 at, bool isThere) {
    const u32 image = at / (p.height * p.width), rest = at % (p.height * p.width);
    y = (int)(rest / p.width) * p.scaleY + p.shiftY;
    x = (int)(rest % p.width) * p.scaleX + p.shiftX;
    from = p.b + (((i64)image * gridDim.z + blockIdx.z) * p.channels * p.bHeight + y) * p.bWidth + x;
    if (!isThere) y = OUTSIDE;
  }
  __device__ __forceinline__ T at(const Conv& p, const Tap& tap) const {
    const bool isThere = ((u32)(y + tap.y) < (u32)p.bHeight) & ((u32)(x + tap.x) < (u32)p.bWidth);
    return isThere ? from[tap.plane] : T{};
  }
};

KERNEL_SHARING(convData, Conv, THREADS, BLOCKS) {
  enum { LEFT = ROWS * STEP / THREADS };
  __shared__ __align__(16) Tiles tiles[2];
  __shared__ Tap taps[2][STEP];
  const int row0 = blockIdx.x % p.tiles * ROWS, terms = p.channels * p.kh * p.kw;
  const u32 column0 = blockIdx.x / p.tiles * COLUMNS, area = (u32)p.height * p.width, pixels = p.images * area;
  const T* a = p.a + (i64)blockIdx.z * p.weightGroup;
  const Pixel pixel(p, column0 + threadIdx.x, column0 + threadIdx.x < pixels);
  const int k = threadIdx.x % STEP, row = threadIdx.x / STEP;
  T left[LEFT], right[STEP];
  const auto ask = [&](int slot) {
    const Tap mine = taps[slot][k];
#pragma unroll
    for (int e = 0; e < LEFT; e++) {
      const int r = row0 + row + e * (THREADS / STEP);
      const bool isThere = (r < p.rows) & (mine.y != OUTSIDE);
      left[e] = isThere ? a[r * p.weightRow + mine.weight] : T{};
    }
#pragma unroll
    for (int e = 0; e < STEP; e++) right[e] = pixel.at(p, taps[slot][e]);
  };
  const auto put = [&](int slot) {
#pragma unroll
    for (int e = 0; e < LEFT; e++) putLeft(tiles[slot], row + e * (THREADS / STEP), k, left[e]);
#pragma unroll
    for (int e = 0; e < STEP; e++) putRight<false>(tiles[slot], e, threadIdx.x, right[e]);
  };
  const auto findTaps = [&](int slot, int first) {
    if (threadIdx.x < STEP) taps[slot][threadIdx.x] = tapOf(p, first + threadIdx.x, terms);
  };
  findTaps(0, 0);
  __syncthreads();
  ask(0);
  put(0);
  findTaps(1, STEP);
  __syncthreads();
  Sums sums;
  for (int first = 0, slot = 0; first < terms; first += STEP, slot ^= 1) {
    const bool hasNext = first + STEP < terms;
    if (hasNext) ask(slot ^ 1);
    sums.template add<false>(tiles[slot]);
    if (hasNext) put(slot ^ 1);
    findTaps(slot, first + 2 * STEP);
    __syncthreads();
  }
  // A run of neighbours lies in one image where whole runs fill it.
  const bool isPacked = p.yPixel == 1 && p.yRow == p.width && area % NEIGHBOURS == 0 && (u64)p.y % (NEIGHBOURS * sizeof(Y)) == 0;
  const auto placeOf = [&](u32 at) {
    const u32 image = at / area, rest = at % area;
    return ((i64)image * gridDim.z + blockIdx.z) * p.rows * p.yPlane + (i64)(rest / p.width) * p.yRow + rest % p.width * p.yPixel;
  };
  const auto store = [&](i64 place, int r, int c, const float* v) {
    if (row0 + r >= p.rows || column0 + c >= pixels) return;
    const i64 row = (i64)(row0 + r) * p.yPlane;
    if (isPacked) {
      Pack<Y, NEIGHBOURS> run;
#pragma unroll
      for (int n = 0; n < NEIGHBOURS; n++) run.v[n] = narrow<Y>(v[n]);
      *(Pack<Y, NEIGHBOURS>*)(p.y + place + row) = run;
    } else {
      for (int n = 0; n < NEIGHBOURS && column0 + c + n < pixels; n++) p.y[placeOf(column0 + c + n) + row] = narrow<Y>(v[n]);
    }
  };
  sums.each([&](int c) { return placeOf(column0 + c); }, store);
}

KERNEL_SHARING(convWeights, Conv, THREADS, BLOCKS) {
  enum { LEFT = ROWS * STEP / THREADS, RIGHT = COLUMNS * STEP / THREADS };
  __shared__ __align__(16) Tiles tiles[2];
  __shared__ Tap taps[COLUMNS];
  const int row0 = blockIdx.x % p.tiles * ROWS, column0 = blockIdx.x / p.tiles * COLUMNS, columns = p.channels * p.kh * p.kw;
  const u32 area = (u32)p.height * p.width, pixels = p.images * area, start = blockIdx.y * p.run;
  const u32 end = start + p.run < pixels ? start + p.run : pixels;
  const int k = threadIdx.x % STEP, mine = threadIdx.x / STEP;
  T left[LEFT], right[RIGHT];
  const auto ask = [&](u32 first) {
    const bool isThere = first + k < end;
    const u32 at = isThere ? first + k : 0;
    const Pixel pixel(p, at, isThere);
    const T* a = p.a + (((i64)(at / area) * gridDim.z + blockIdx.z) * p.rows + row0) * area + at % area;
#pragma unroll
    for (int e = 0; e < LEFT; e++) {
      const int r = mine + e * (THREADS / STEP);
      const bool isWanted = isThere & (row0 + r < p.rows);
      left[e] = isWanted ? a[r * area] : T{};
    }
#pragma unroll
    for (int e = 0; e < RIGHT; e++) right[e] = pixel.at(p, taps[mine + e * (THREADS / STEP)]);
  };
  const auto put = [&](int slot) {
#pragma unroll
    for (int e = 0; e < LEFT; e++) putLeft(tiles[slot], mine + e * (THREADS / STEP), k, left[e]);
#pragma unroll
    for (int e = 0; e < RIGHT; e++) putRight<true>(tiles[slot], k, mine + e * (THREADS / STEP), right[e]);
  };
  for (int c = threadIdx.x; c < COLUMNS; c += THREADS) taps[c] = tapOf(p, column0 + c, columns);
  __syncthreads();
  ask(start);
  put(0);
  __syncthreads();
  Sums sums;
  int slot = 0;
  for (u32 first = start; first < end; first += STEP, slot ^= 1) {
    const bool hasNext = first + STEP < end;
    if (hasNext) ask(first + STEP);
    sums.template add<true>(tiles[slot]);
    if (hasNext) put(slot ^ 1);
    __syncthreads();
  }
  Y* y = p.y + ((i64)blockIdx.y * gridDim.z + blockIdx.z) * p.rows * columns;
  const auto store = [&](int c, int r, int, const float* v) {
#pragma unroll
    for (int n = 0; n < NEIGHBOURS; n++)
      if (row0 + r < p.rows && c + n < columns) y[(i64)(row0 + r) * columns + c + n] = narrow<Y>(v[n]);
  };
  sums.each([&](int c) { return column0 + c; }, store);
}
