// Keys in the order of the values, both zeros alike and NaN last, ascending or descending; lines of [outer, size, inner]
// laid one after another. And the first values picked in their order. T; KEY: u32, or u64 for double.

typedef Number<T>::Wide W;

struct Keys {
  const T* x;
  KEY* keys;
  u64 n;
  u32 size, inner;
  int isDescending;
};

static __device__ __forceinline__ u32 keyOf(int v) { return (u32)v ^ 0x80000000u; }
static __device__ __forceinline__ u32 keyOf(float v) {
  const u32 bits = v == 0 ? 0 : __float_as_uint(v);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}
static __device__ __forceinline__ u64 keyOf(double v) {
  const u64 bits = v == 0 ? 0 : (u64)__double_as_longlong(v);
  return bits >> 63 ? ~bits : bits | 0x8000000000000000ull;
}

/** What comes first has the least. */
static __device__ __forceinline__ KEY orderOf(W v, bool isDescending) {
  return v != v ? ~(KEY)0 : isDescending ? ~(KEY)keyOf(v) : (KEY)keyOf(v);
}

KERNEL(sortKeys, Keys, 256) {
  const u64 at = (u64)blockIdx.x * 256 + threadIdx.x;
  if (at >= p.n) return;
  const u64 line = at / p.size, k = at % p.size;
  const W v = wide(p.x[(line / p.inner * p.size + k) * p.inner + line % p.inner]);
  p.keys[at] = orderOf(v, p.isDescending != 0);
}

struct Picked {
  const T* x;
  const u32* order;  // [lines, size]
  T* values;
  int* positions;
  u64 n;             // k of every line
  u32 size, inner, k;
};
KERNEL(sortPick, Picked, 256) {
  const u64 at = (u64)blockIdx.x * 256 + threadIdx.x;
  if (at >= p.n) return;
  const u64 line = at / p.k, place = at % p.k, outer = line / p.inner, inner = line % p.inner;
  const u32 from = p.order[line * p.size + place];
  const u64 to = (outer * p.k + place) * p.inner + inner;
  p.values[to] = p.x[(outer * p.size + from) * p.inner + inner];
  p.positions[to] = (int)from;
}
