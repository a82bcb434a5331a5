// The gradient by the weight of a convolution without strides, of 16-bit floats on tensor cores. A block has 64 rows of the weight and 32 of its
// channels with all taps, and goes along a run of tiles of 128 pixels; runs are added up afterwards. Terms go along pixels, ascending: row by
// row of a tile, and tiles as they lie. A warp has 16 rows and 16 channels. T; WIDE; KH, KW: nine taps at most.

enum { THREADS = 256, ROWS = 64, TAPS = KH * KW, GRADIENT_PITCH = PIXELS + 8 };

struct ConvHaloWeights {
  const T* g;
  const T* b;
  float* y;
  int rows, parts;  // times 32 channels
  int tiles, run;   // of pixels; of a block
  HaloShape halo;
};

KERNEL_SHARING(convHaloWeights, ConvHaloWeights, THREADS, 2) {
  DYNAMIC_SHARED(u16, shared);
  u16* const gradients = shared;  // [ROWS, GRADIENT_PITCH]
  const int lane = threadIdx.x & 31, warp = threadIdx.x / 32, row0 = warp / 2 * 16, channel0 = warp % 2 * 16;
  const int part = blockIdx.x % p.parts, firstRow = blockIdx.x / p.parts * ROWS;
  const int height = p.halo.height, width = p.halo.width;
  Halo halo(p.halo, shared + ROWS * GRADIENT_PITCH, 1);
  const SharedAt a = sharedAt(gradients + (row0 + (lane & 15)) * GRADIENT_PITCH + lane / 16 * 8);
  const SharedAt values = sharedAt(halo.values + channel0 + lane / 16 * 8);
  const bool isPacked = width % 8 == 0 && (u64)p.g % 16 == 0;
  float sums[TAPS][2][4] = {};
  const int last = (blockIdx.y + 1) * p.run < p.tiles ? (blockIdx.y + 1) * p.run : p.tiles;
  for (int tile = blockIdx.y * p.run; tile < last; tile++) {
    halo.turnTo(tile);
    // Eight neighbours of a row: of one line, since lines are whole eights wide.
    enum { EIGHTS = PIXELS / 8, MINE = ROWS * EIGHTS / THREADS };
    Eight v[MINE] = {};
#pragma unroll
    for (int n = 0; n < MINE; n++) {
      const int row = (n * THREADS + threadIdx.x) / EIGHTS, pixel = threadIdx.x % EIGHTS * 8;
      const int line = halo.line0 + pixel / WIDE, x = halo.x0 + pixel % WIDE;
      const bool isThere = (firstRow + row < p.rows) & (line < halo.lines()) & (x < width);
      const i64 plane = ((i64)(line / height) * gridDim.z + blockIdx.z) * p.rows + firstRow + row;
      const T* const from = p.g + (plane * height + line % height) * width + x;
      if (isPacked) {
        if (isThere) v[n] = *(const Eight*)from;
      } else {
#pragma unroll
        for (int e = 0; e < 8; e++) v[n].v[e] = isThere & (x + e < width) ? from[e].bits : 0;
      }
    }
#pragma unroll
    for (int n = 0; n < MINE; n++)
      *(Eight*)(gradients + (n * THREADS + threadIdx.x) / EIGHTS * GRADIENT_PITCH + threadIdx.x % EIGHTS * 8) = v[n];
    __syncthreads();
    halo.fill<THREADS>(p.b, 0, part);
    __syncthreads();
#pragma unroll 1
    for (int k = 0; k < PIXELS; k += 16) {
      u32 left[4];
      loadTiles<false>(left, further(a, k));
      const HaloPixel pixel(halo, k + (lane & 15));
#pragma unroll
      for (int tap = 0; tap < TAPS; tap++) {
        u32 x[4];
        loadTiles<true>(x, further(values, pixel.tap(halo, 0, tap / KW, tap % KW)));
        multiplyTiles(sums[tap][0], left, x);
        multiplyTiles(sums[tap][1], left, x + 2);
      }
    }
    __syncthreads();
  }
  const int g = lane / 4, t = lane & 3, channels = p.halo.channels;
  float* const y = p.y + ((i64)blockIdx.y * gridDim.z + blockIdx.z) * p.rows * channels * TAPS;
#pragma unroll
  for (int n = 0; n < 2; n++)
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const int row = firstRow + row0 + g + e / 2 * 8, channel = part * DEPTH + channel0 + 8 * n + 2 * t + e % 2;
      if (row >= p.rows || channel >= channels) continue;
#pragma unroll
      for (int tap = 0; tap < TAPS; tap++) y[((i64)row * channels + channel) * TAPS + tap] = sums[tap][n][e];
    }
}
