// GELU in its tanh form, for epilogues that round it to 16 bits.

static __device__ __forceinline__ float geluOf(float v) {
  // As a sigmoid: 1 + tanh would lose the tail.
  return v / (1.0f + expf(-1.5957691216057308f * (v + 0.044715f * v * v * v)));
}
