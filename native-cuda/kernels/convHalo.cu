// Convolutions without strides of 16-bit floats on tensor cores: what the taps of a block's pixels reach, 32 channels of it at a time, is read
// into shared memory once, and every tap multiplies it from there. A block has ROWS channels and 128 pixels, TALL x WIDE of one image or, where
// input and output are as tall, of the images' rows one after the other. Terms go along (32 channels, i, j, channel), ascending.
// `convByTap` puts weights as lanes hold them: [group, 32 channels, tap, 16 rows, 16 channels, lane, 8], zeros where there are none, so that a warp
// reads its own, a tap ahead, and waits for others once in 32 channels. T; ROWS: 32 or 64; WIDE: 8 or 16.

enum { COLUMNS = 128, TALL = COLUMNS / WIDE, THREADS = 128, DEPTH = 32, PITCH = DEPTH + 8, MINE = ROWS / 32 };
typedef Pack<u16, 8> Eight;
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
  int rows, channels, rowTiles, parts;
  int bHeight, bWidth;
  int images, height, width;
  int kh, kw, shiftY, shiftX, tapY, tapX;
  int haloHeight, haloWidth, haloY, haloX;  // what taps reach, and where it begins beside the block's first pixel
  u32 tilesDown, tilesAcross;               // of rows; of pixels along a line
};

KERNEL_SHARING(convHalo, ConvHalo, THREADS, 3) {
  DYNAMIC_SHARED(u16, halo);  // [2, places, PITCH], the last place zeros; then where places lie in a channel of b, below 0 for nowhere
  const int lane = threadIdx.x & 31, warp = threadIdx.x / 32, row0 = warp / 2 * (ROWS / 2), column0 = warp % 2 * 64;
  const int places = p.haloHeight * p.haloWidth + 1;
  i64* const whereOf = (i64*)(halo + 2 * places * PITCH);
  const int firstRow = blockIdx.x % p.tilesDown * ROWS;
  const u32 tile = blockIdx.x / p.tilesDown;
  const int line0 = tile / p.tilesAcross * TALL, x0 = tile % p.tilesAcross * WIDE, lines = p.images * p.height;
  // The line of b, among those of all images, that the block's first pixel lies on.
  const int bLine0 = line0 / p.height * p.bHeight + line0 % p.height + p.haloY, bLines = p.images * p.bHeight;
  const i64 plane = (i64)p.bHeight * p.bWidth;

  // A lane's pixels: sixteen in a load.
  int place[4], line[4], column[4];
#pragma unroll
  for (int j = 0; j < 4; j++) {
    const int pixel = column0 + 16 * j + (lane & 7) + lane / 16 * 8, down = pixel / WIDE, across = pixel % WIDE;
    place[j] = down * p.haloWidth + across;
    // Far outside, where there is none.
    line[j] = line0 + down < lines ? (line0 + down) % p.height : -(1 << 29);
    column[j] = x0 + across;
  }

  const Left* const byTap = (const Left*)p.byTap + lane;
  const int rowTile = (firstRow + row0) / 16;
  Left w[MINE][DEPTH / 16], nextW[MINE][DEPTH / 16];
  const auto askWeights = [&](int step) {
    const i64 at = ((i64)blockIdx.z * p.parts * p.kh * p.kw + step) * p.rowTiles + rowTile;
#pragma unroll
    for (int m = 0; m < MINE; m++)
#pragma unroll
      for (int k = 0; k < DEPTH / 16; k++) nextW[m][k] = byTap[((at + m) * (DEPTH / 16) + k) * 32];
  };
  for (int at = threadIdx.x; at < places; at += THREADS) {
    const int bLine = bLine0 + at / p.haloWidth, x = x0 + p.haloX + at % p.haloWidth;
    const bool isThere = (at < places - 1) & ((u32)bLine < (u32)bLines) & ((u32)x < (u32)p.bWidth);
    const i64 image = (i64)(bLine / p.bHeight) * gridDim.z + blockIdx.z;
    whereOf[at] = isThere ? image * p.channels * plane + bLine % p.bHeight * p.bWidth + x : -1;
  }
  // Eight channels of a place: item 4 place + which eight.
  const auto ask = [&](int item, int part) {
    Eight v = {};
    const i64 where = item / 4 < places ? whereOf[item / 4] : -1;
    const int channel = part * DEPTH + item % 4 * 8;
    const T* const from = p.b + where + channel * plane;
#pragma unroll
    for (int e = 0; e < 8; e++) v.v[e] = (where >= 0) & (channel + e < p.channels) ? from[e * plane].bits : 0;
    return v;
  };
  const auto put = [&](int item, int part, const Eight& v) {
    if (item / 4 < places) *(Eight*)(halo + (part % 2 * places + item / 4) * PITCH + item % 4 * 8) = v;
  };

  float sums[MINE][8][4] = {};
  const int taps = p.kh * p.kw, items = (4 * places + THREADS - 1) / THREADS, perTap = (items + taps - 1) / taps;
  askWeights(0);
  __syncthreads();
#pragma unroll 2
  for (int n = 0; n < items; n++) put(n * THREADS + threadIdx.x, 0, ask(n * THREADS + threadIdx.x, 0));
  __syncthreads();
  const SharedAt pixels = sharedAt(halo + lane / 8 % 2 * 8);
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
        if (hasNext) ahead = ask(next, part + 1);
        const int dy = i * p.tapY + p.shiftY, dx = j * p.tapX + p.shiftX;
        const int tapPlace = part % 2 * places + (dy - p.haloY) * p.haloWidth + dx - p.haloX;
        SharedAt from[4];
#pragma unroll
        for (int q = 0; q < 4; q++) {
          const bool isThere = ((u32)(line[q] + dy) < (u32)p.bHeight) & ((u32)(column[q] + dx) < (u32)p.bWidth);
          from[q] = further(pixels, (isThere ? tapPlace + place[q] : places - 1) * PITCH);
        }
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
          put(next, part + 1, ahead);
          next += THREADS;
          for (int n = 1; n < perTap; n++, next += THREADS) put(next, part + 1, ask(next, part + 1));
        }
      }
    __syncthreads();
  }

  const int g = lane / 4, t = lane & 3;
  const i64 yPlane = (i64)p.height * p.width;
  const bool isPacked = p.width % 2 == 0 && (u64)p.y % 4 == 0;
#pragma unroll
  for (int n = 0; n < 8; n++) {
    const int pixel = column0 + 8 * n + 2 * t, l = line0 + pixel / WIDE, x = x0 + pixel % WIDE;
    if (l >= lines || x >= p.width) continue;
    T* const to = p.y + ((i64)(l / p.height) * gridDim.z + blockIdx.z) * p.rows * yPlane + (i64)(l % p.height) * p.width + x;
#pragma unroll
    for (int m = 0; m < MINE; m++)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int row = firstRow + row0 + 16 * m + g + 8 * half;
        if (row >= p.rows) continue;
        T* const at = to + row * yPlane;
        const float* v = sums[m][n] + 2 * half;
        if (isPacked) {
          *(u32*)at = pairOf(v[0], v[1]);
        } else {
          at[0] = narrow<T>(v[0]);
          if (x + 1 < p.width) at[1] = narrow<T>(v[1]);
        }
      }
  }
}
