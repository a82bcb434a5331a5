// Rotary position embedding of rows [time, dim]: coordinates (i, i + half) turn by position · base^(-i / half). T.

typedef Number<T>::Wide W;

static __device__ __forceinline__ float expOf(float v) { return expf(v); }
static __device__ __forceinline__ double expOf(double v) { return exp(v); }
static __device__ __forceinline__ float cosOf(float v) { return cosf(v); }
static __device__ __forceinline__ double cosOf(double v) { return cos(v); }
static __device__ __forceinline__ float sinOf(float v) { return sinf(v); }
static __device__ __forceinline__ double sinOf(double v) { return sin(v); }

struct Rope {
  const T* x;
  const int* positions;
  T* y;
  u64 pairs;
  double step;  // -log(base) / half
  u32 time, half;
  int direction;
};
KERNEL(rope, Rope, 256) {
  const u64 at = (u64)blockIdx.x * 256 + threadIdx.x;
  if (at >= p.pairs) return;
  const u32 i = at % p.half;
  const u64 row = at / p.half;
  const W angle = (W)p.positions[row % p.time] * expOf((W)i * (W)p.step);
  const W c = cosOf(angle), s = sinOf(angle) * (W)p.direction;
  const u64 first = row * 2 * p.half + i;
  const W a = wide(p.x[first]), b = wide(p.x[first + p.half]);
  p.y[first] = narrow<T>(a * c - b * s);
  p.y[first + p.half] = narrow<T>(b * c + a * s);
}
