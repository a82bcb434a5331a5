// What printed bodies call (packages/backend-cuda/src/elementwise).

template <class W>
static __device__ __forceinline__ W signOf(W v) {
  return v > (W)0 ? (W)1 : v < (W)0 ? (W)-1 : v;
}
static __device__ __forceinline__ double floorMod(double a, double b) { return a - floor(a / b) * b; }
/** In double: a float quotient may be rounded over a whole number. */
static __device__ __forceinline__ float floorMod(float a, float b) { return (float)floorMod((double)a, (double)b); }
/** JavaScript's: no number where ±1 is raised to an infinite power or to no number. */
static __device__ __forceinline__ double powerOf(double a, double b) {
  return fabs(a) == 1 && !(fabs(b) < (double)INFINITY) ? (double)NAN : pow(a, b);
}
/** Nearest integer, ties to even, saturated to int32, NaN as 0: the quantisation of the fixed-point streams. */
static __device__ __forceinline__ int fixedPoint(float v) { return __float2int_rn(v); }
static __device__ __forceinline__ int fixedPoint(double v) {
  return v != v ? 0 : v >= 2147483647.0 ? 2147483647 : v <= -2147483648.0 ? -2147483647 - 1 : (int)rint(v);
}
