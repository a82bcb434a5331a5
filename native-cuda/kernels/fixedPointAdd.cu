// fixedPointAdd on whole buffers, four elements a thread: 8 bytes moved an element and those of the increment, of type F. What one
// element does is in fixedPoint.cu.

struct FixedPointAdd {
  const int* x;
  const F* f;
  int* y;  // may be x
  int* counts;
  u64 n;
  float scale, bound;
  int sign;
  int isAligned;  // to four elements: a view may begin anywhere
};
KERNEL(fixedPointAdd, FixedPointAdd, 256) {
  const u64 at = ((u64)blockIdx.x * 256 + threadIdx.x) * 4;
  Counted counted = {0, 0, 0, 0};
  if (p.isAligned && at + 4 <= p.n) {
    const Pack<int, 4> x = *(const Pack<int, 4>*)(p.x + at);
    const Pack<F, 4> f = *(const Pack<F, 4>*)(p.f + at);
    Pack<int, 4> y;
#pragma unroll
    for (int j = 0; j < 4; j++) {
      step(x.v[j], wide(f.v[j]), p.scale, p.bound, p.sign, counted);
      y.v[j] = counted.value;
    }
    *(Pack<int, 4>*)(p.y + at) = y;
  } else {
    for (u64 i = at; i < at + 4 && i < p.n; i++) {
      step(p.x[i], wide(p.f[i]), p.scale, p.bound, p.sign, counted);
      p.y[i] = counted.value;
    }
  }
  if (gridDim.x == 1) storeCounts(p.counts, counted);
  else addCounts(p.counts, counted);
}
