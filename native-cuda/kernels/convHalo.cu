// Convolutions without strides of 16-bit floats on tensor cores: what the taps of a block's pixels reach is read into shared memory once, 32
// channels of it at a time, and every tap multiplies it from there. A block has ROWS channels and 128 pixels. Terms go along (32 channels, i, j,
// channel), ascending. `convByTap` puts weights as lanes hold them: [group, 32 channels, tap, 16 rows, 16 channels, lane, 8], zeros where there
// are none, so that a warp reads its own, a tap ahead, and waits for others once in 32 channels. T; WIDE; ROWS: 32 or 64.

enum { THREADS = 128, MINE = ROWS / 32 };
typedef Pack<u32, 4> Left;

struct ConvByTap {
  const T* w;
  T* byTap;
  u64 elements;
  int rows, channels, taps;  // of a group
  int rowTiles, parts;       // times 16 rows, of whole blocks; times 32 channels
  int weightGroup, weightRow, weightChannel;
};

KERNEL(convByTap, ConvByTap, 256) {
  const u64 at = (u64)blockIdx.x * 256 + threadIdx.x;
  if (at >= p.elements) return;
  const int e = at % 8, lane = at / 8 % 32, step = at / 256 % (DEPTH / 16);
  u64 rest = at / (16 * DEPTH);
  const int rowTile = rest % p.rowTiles, tap = (rest /= p.rowTiles) % p.taps, part = (rest /= p.taps) % p.parts, group = rest / p.parts;
  const int row = rowTile * 16 + lane / 4 + e / 2 % 2 * 8, channel = part * DEPTH + step * 16 + lane % 4 * 2 + e / 4 * 8 + e % 2;
  const bool isThere = (row < p.rows) & (channel < p.channels);
  p.byTap[at] = isThere ? p.w[(i64)group * p.weightGroup + row * p.weightRow + channel * p.weightChannel + tap] : T{};
}

struct ConvHalo {
  const T* byTap;
  const T* b;
  T* y;
  int rows, rowTiles, parts, kh, kw;
  u32 tilesDown;  // of rows
  HaloShape halo;
};

KERNEL_SHARING(convHalo, ConvHalo, THREADS, 3) {
  DYNAMIC_SHARED(u16, shared);
  const int lane = threadIdx.x & 31, warp = threadIdx.x / 32, row0 = warp / 2 * (ROWS / 2), column0 = warp % 2 * 64;
  const Halo halo(p.halo, shared, blockIdx.x / p.tilesDown);
  const int mine = column0 + (lane & 7) + lane / 16 * 8;
  const HaloPixel pixels[4] = {{halo, mine}, {halo, mine + 16}, {halo, mine + 32}, {halo, mine + 48}};

  const int firstRow = blockIdx.x % p.tilesDown * ROWS, taps = p.kh * p.kw;
  const Left* const byTap = (const Left*)p.byTap + lane;
  Left w[MINE][DEPTH / 16], nextW[MINE][DEPTH / 16];
  const auto askWeights = [&](int step) {
    const i64 at = ((i64)blockIdx.z * p.parts * taps + step) * p.rowTiles + (firstRow + row0) / 16;
#pragma unroll
    for (int m = 0; m < MINE; m++)
#pragma unroll
      for (int k = 0; k < DEPTH / 16; k++) nextW[m][k] = byTap[((at + m) * (DEPTH / 16) + k) * 32];
  };
  const int perTap = (halo.items() + THREADS * taps - 1) / (THREADS * taps);
  askWeights(0);
  __syncthreads();
  halo.begin(p.b);
  __syncthreads();
  const SharedAt values = sharedAt(halo.values + lane / 8 % 2 * 8);
  float sums[MINE][8][4] = {};
  int step = 0;
  for (int part = 0; part < p.parts; part++) {
    const bool hasNext = part + 1 < p.parts;
    int next = threadIdx.x;
    for (int i = 0; i < p.kh; i++)
      for (int j = 0; j < p.kw; j++, step++) {
#pragma unroll
        for (int m = 0; m < MINE; m++)
#pragma unroll
          for (int k = 0; k < DEPTH / 16; k++) w[m][k] = nextW[m][k];
        if (step + 1 < p.parts * taps) askWeights(step + 1);
        Eight ahead = {};
        if (hasNext) ahead = halo.ask(p.b, next, part + 1);
        SharedAt from[4];
#pragma unroll
        for (int q = 0; q < 4; q++) from[q] = further(values, pixels[q].tap(halo, part % 2, i, j));
#pragma unroll
        for (int k = 0; k < DEPTH / 16; k++)
#pragma unroll
          for (int q = 0; q < 4; q++) {
            u32 x[4];
            loadTiles<false>(x, further(from[q], 16 * k));
#pragma unroll
            for (int m = 0; m < MINE; m++) {
              multiplyTiles(sums[m][2 * q], w[m][k].v, x);
              multiplyTiles(sums[m][2 * q + 1], w[m][k].v, x + 2);
            }
          }
        if (hasNext) {
          halo.put(next, (part + 1) % 2, ahead);
          next += THREADS;
          for (int n = 1; n < perTap; n++, next += THREADS) halo.put(next, (part + 1) % 2, halo.ask(p.b, next, part + 1));
        }
      }
    __syncthreads();
  }

  const int g = lane / 4, t = lane & 3, height = p.halo.height, width = p.halo.width;
  const i64 plane = (i64)height * width;
  const bool isPacked = width % 2 == 0 && (u64)p.y % 4 == 0;
#pragma unroll
  for (int n = 0; n < 8; n++) {
    const int pixel = column0 + 8 * n + 2 * t, line = halo.line0 + pixel / WIDE, x = halo.x0 + pixel % WIDE;
    if (line >= halo.lines() || x >= width) continue;
    T* const to = p.y + (((i64)(line / height) * gridDim.z + blockIdx.z) * p.rows * height + line % height) * width + x;
#pragma unroll
    for (int m = 0; m < MINE; m++)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int row = firstRow + row0 + 16 * m + g + 8 * half;
        if (row >= p.rows) continue;
        T* const at = to + row * plane;
        const float* v = sums[m][n] + 2 * half;
        if (isPacked) {
          *(u32*)at = pairOf(v[0], v[1]);
        } else {
          at[0] = narrow<T>(v[0]);
          if (x + 1 < width) at[1] = narrow<T>(v[1]);
        }
      }
  }
}
