// What the taps of a block's 128 pixels reach of 32 channels, in shared memory: places side by side, each with its channels, so that tensor cores'
// loads find a pixel's tap wherever it lies. Pixels are TALL x WIDE of one image or, where input and output are as tall, of the images' rows one
// after the other. Without strides. T: bf16 or f16; WIDE: 8 or 16.

enum { PIXELS = 128, TALL = PIXELS / WIDE, DEPTH = 32, PITCH = DEPTH + 8 };
typedef Pack<u16, 8> Eight;

struct HaloShape {
  int channels;                        // of a group of b, which is read
  int bHeight, bWidth;
  int images, height, width;           // of the pixels
  int shiftY, shiftX, tapY, tapX;      // a pixel's own place in b; from tap to tap
  int haloHeight, haloWidth;           // what taps reach
  int haloY, haloX;                    // and where it begins beside the block's first pixel
  int tilesAcross;                     // of pixels, along a line
};

struct Halo {
  const HaloShape& p;
  i64* whereOf;  // where places lie in a channel of b, below 0 for nowhere; the last is nowhere
  u16* values;   // two buffers [places, PITCH]
  int places, line0, x0;

  /** Of the `tile`th of 128 pixels; threads are to meet before anything is asked for. */
  __device__ __forceinline__ Halo(const HaloShape& shape, u16* shared, int tile)
      : p(shape), values(shared), places(shape.haloHeight * shape.haloWidth + 1) {
    whereOf = (i64*)(shared + 2 * places * PITCH);
    line0 = tile / p.tilesAcross * TALL;
    x0 = tile % p.tilesAcross * WIDE;
    // The line of b, among those of all images, that the first place lies on.
    const int bLine0 = line0 / p.height * p.bHeight + line0 % p.height + p.haloY, bLines = p.images * p.bHeight;
    for (int at = threadIdx.x; at < places; at += blockDim.x) {
      const int bLine = bLine0 + at / p.haloWidth, x = x0 + p.haloX + at % p.haloWidth;
      const bool isThere = (at < places - 1) & ((u32)bLine < (u32)bLines) & ((u32)x < (u32)p.bWidth);
      const i64 image = (i64)(bLine / p.bHeight) * gridDim.z + blockIdx.z;
      whereOf[at] = isThere ? (image * p.channels * p.bHeight + bLine % p.bHeight) * p.bWidth + x : -1;
    }
  }
  __device__ __forceinline__ int lines() const { return p.images * p.height; }
  /** Items of a buffer: eight channels of a place each. */
  __device__ __forceinline__ int items() const { return 4 * places; }
  __device__ __forceinline__ Eight ask(const T* b, int item, int part) const {
    Eight v = {};
    const i64 where = item < items() ? whereOf[item / 4] : -1, plane = (i64)p.bHeight * p.bWidth;
    const int channel = part * DEPTH + item % 4 * 8;
    const T* const from = b + where + channel * plane;
#pragma unroll
    for (int e = 0; e < 8; e++) v.v[e] = (where >= 0) & (channel + e < p.channels) ? from[e * plane].bits : 0;
    return v;
  }
  __device__ __forceinline__ void put(int item, int buffer, const Eight& v) const {
    if (item < items()) *(Eight*)(values + (buffer * places + item / 4) * PITCH + item % 4 * 8) = v;
  }
  /** The first buffer, by all threads: several items are asked for before the first is put. */
  __device__ __forceinline__ void begin(const T* b) const {
    enum { AT_ONCE = 3 };
    for (int item = threadIdx.x; item < items(); item += AT_ONCE * blockDim.x) {
      Eight v[AT_ONCE];
#pragma unroll
      for (int n = 0; n < AT_ONCE; n++) v[n] = ask(b, item + n * blockDim.x, 0);
#pragma unroll
      for (int n = 0; n < AT_ONCE; n++) put(item + n * blockDim.x, 0, v[n]);
    }
  }
};

/** A pixel of a block, whose taps a lane asks for. */
struct HaloPixel {
  int place, line, column;
  __device__ __forceinline__ HaloPixel(const Halo& halo, int pixel) {
    const int down = pixel / WIDE, across = pixel % WIDE;
    place = down * halo.p.haloWidth + across;
    // Far outside, where there is none.
    line = halo.line0 + down < halo.lines() ? (halo.line0 + down) % halo.p.height : -(1 << 29);
    column = halo.x0 + across;
  }
  /** Elements from the first place to what a tap reaches: zeros outside of b. */
  __device__ __forceinline__ int tap(const Halo& halo, int buffer, int i, int j) const {
    const HaloShape& p = halo.p;
    const int dy = i * p.tapY + p.shiftY, dx = j * p.tapX + p.shiftX;
    const bool isThere = ((u32)(line + dy) < (u32)p.bHeight) & ((u32)(column + dx) < (u32)p.bWidth);
    return (isThere ? buffer * halo.places + (dy - p.haloY) * p.haloWidth + dx - p.haloX + place : halo.places - 1) * PITCH;
  }
};
