// What printed bodies call (packages/backend-cuda/src/elementwise).

template <class W>
static __device__ __forceinline__ W signOf(W v) {
  return v > (W)0 ? (W)1 : v < (W)0 ? (W)-1 : v;
}
static __device__ __forceinline__ double floorMod(double a, double b) { return a - floor(a / b) * b; }
/** In double: a float quotient may be rounded over a whole number. */
static __device__ __forceinline__ float floorMod(float a, float b) { return (float)floorMod((double)a, (double)b); }
/** Integers: nothing is left of a division by 0, whose quotient is 0, and none of them traps. */
static __device__ __forceinline__ int floorMod(int a, int b) {
  if (b == 0 || b == -1) return 0;
  const int left = a % b;
  return left != 0 && (left ^ b) < 0 ? left + b : left;
}
static __device__ __forceinline__ int quotient(int a, int b) {
  return b == 0 ? 0 : b == -1 ? (int)(0u - (u32)a) : a / b;
}
/**
 * e^x within 0.65 units in the last place, where the library's own is off by a whole one: x = k ln 2 + r, and 1 + r is summed
 * with what rounding leaves of it. The polynomial is the series of (e^r - 1 - r) / r^2 for |r| <= ln 2 / 2.
 */
static __device__ __forceinline__ float accurateExp(float x) {
  if (!(x > -104.f)) return x != x ? x : 0;
  if (x > 89.f) return INFINITY;
  const float k = rintf(x * 1.44269504f);
  const float near = fmaf(k, -0.693145752f, x);  // exact: 15 bits of ln 2
  const float r = fmaf(k, -1.42860682e-6f, near), rest = fmaf(k, -1.42860682e-6f, near - r);
  float q = fmaf(r, 2.48015873e-5f, 1.98412698e-4f);
  q = fmaf(r, q, 1.38888889e-3f);
  q = fmaf(r, q, 8.33333333e-3f);
  q = fmaf(r, q, 4.16666667e-2f);
  q = fmaf(r, q, 1.66666667e-1f);
  q = fmaf(r, q, 0.5f);
  const float sum = 1 + r, lost = r - (sum - 1) + rest;
  const float y = sum + fmaf(r * r, q, lost);
  // In two steps: 2^k alone may be out of range where the result is not.
  const int half = (int)k >> 1, other = (int)k - half;
  return y * __uint_as_float((u32)(half + 127) << 23) * __uint_as_float((u32)(other + 127) << 23);
}
/** 2^v within 2 units in the last place, small results included. */
static __device__ __forceinline__ float powerOf2(float v) {
#ifdef REVNET_HOST
  return __builtin_exp2f(v);
#else
  float y;
  asm("ex2.approx.f32 %0, %1;" : "=f"(y) : "f"(v));
  return y;
#endif
}
/** 1 / v of 1 <= v <= 2: a first guess, and one step of Newton's, which leaves no more than rounding does. */
static __device__ __forceinline__ float reciprocalOf(float v) {
#ifdef REVNET_HOST
  return 1 / v;
#else
  float guess;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(guess) : "f"(v));
  return fmaf(guess, fmaf(-v, guess, 1.f), guess);
#endif
}
/**
 * 1 / (1 + e^-x) in half of the instructions that an exponential and a quotient take, since a GELU waits for them and not for memory:
 * e^-|x| is at most 1, and a power of 2 whose exponent's rounding is made good. Within 5 units in the last place (4.2 on an H100, of 2^24 arguments).
 */
static __device__ __forceinline__ float sigmoidOf(float x) {
  const float size = fabsf(x), a = size > 110.f ? 110.f : size;  // beyond, nothing is left; NaN stays
  const float exponent = a * -1.44269502f;
  const float rest = fmaf(a, -1.92596303e-8f, fmaf(a, -1.44269502f, -exponent));
  const float power = powerOf2(exponent);
  const float t = fmaf(power, rest * 0.693147182f, power);
  return (x < 0 ? t : 1) * reciprocalOf(1 + t);
}
static __device__ __forceinline__ double sigmoidOf(double x) {
  const double t = exp(-fabs(x));
  return (x < 0 ? t : 1) / (1 + t);
}
/** JavaScript's: no number where ±1 is raised to an infinite power or to no number. */
static __device__ __forceinline__ double powerOf(double a, double b) {
  return fabs(a) == 1 && !(fabs(b) < (double)INFINITY) ? (double)NAN : pow(a, b);
}
/** Nearest integer, ties to even, saturated to int32, NaN as 0: the quantisation of the fixed-point streams. */
static __device__ __forceinline__ int fixedPoint(float v) { return __float2int_rn(v); }
static __device__ __forceinline__ int fixedPoint(double v) {
  return v != v ? 0 : v >= 2147483647.0 ? 2147483647 : v <= -2147483648.0 ? -2147483647 - 1 : (int)rint(v);
}
