// Cosine and sine of rotary positions.

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
