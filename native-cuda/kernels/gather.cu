// Elements and slices by index, and their transposes. An index that names no place is noted in `fault` (host memory: the
// first thread to meet one writes it) and reads as place 0; the host throws when it next waits for the device.
// WORD: an unsigned type of the element's size for what only moves.

struct Fault {
  u32 isSet;
  int index, places, op;
};
static __device__ __forceinline__ u64 checkedPlace(int index, u64 places, volatile Fault* fault, int op) {
  if (index >= 0 && (u64)index < places) return (u64)index;
  if (fault->isSet == 0) {
    fault->index = index;
    fault->places = (int)places;
    fault->op = op;
    fault->isSet = 1;
  }
  return 0;
}

/** y[o, j, i] = x[o, indices[j], i] */
struct Take {
  const WORD* x;
  const int* indices;
  WORD* y;
  Fault* fault;
  u64 n, places, count, inner;
};
KERNEL(take, Take, 256) {
  const u64 at = (u64)blockIdx.x * 256 + threadIdx.x;
  if (at >= p.n) return;
  const u64 i = at % p.inner, j = at / p.inner % p.count, o = at / p.inner / p.count;
  p.y[at] = p.x[(o * p.places + checkedPlace(p.indices[j], p.places, p.fault, 0)) * p.inner + i];
}

/** y[o, j, i] = x[o, indices[o, j, i], i] */
KERNEL(takeAlong, Take, 256) {
  const u64 at = (u64)blockIdx.x * 256 + threadIdx.x;
  if (at >= p.n) return;
  const u64 i = at % p.inner, o = at / p.inner / p.count;
  p.y[at] = p.x[(o * p.places + checkedPlace(p.indices[at], p.places, p.fault, 1)) * p.inner + i];
}
