// Rotary position embedding of rows [time, dim]: coordinates (i, i + half) turn by position · base^(-i / half). T.

typedef Number<T>::Wide W;

// The angle is found and brought into one turn in double: thousands of positions leave float32 few digits of it.
static __device__ __forceinline__ void turn(double angle, float& c, float& s) {
  const float rest = (float)(angle - rint(angle * 0.15915494309189535) * 6.283185307179586);
  c = cosf(rest);
  s = sinf(rest);
}
static __device__ __forceinline__ void turn(double angle, double& c, double& s) {
  c = cos(angle);
  s = sin(angle);
}

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
  W c, s;
  turn((double)p.positions[row % p.time] * exp((double)i * p.step), c, s);
  s *= (W)p.direction;
  const u64 first = row * 2 * p.half + i;
  const W a = wide(p.x[first]), b = wide(p.x[first + p.half]);
  p.y[first] = narrow<T>(a * c - b * s);
  p.y[first + p.half] = narrow<T>(b * c + a * s);
}
