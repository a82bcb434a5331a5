// One problem of attention, as every kernel under a mask is given it: q [b, h, t, d], k [b, hk, s, d], v [b, hk, s, e], and what a query sees.
// No [t, s] workspace and no atomics: a sum has one owner. T. Source: Dao et al. 2022 (arXiv:2205.14135), algorithms 1 and 4.

struct Attention {
  Operand<const T> q, k, v, o, g;
  Operand<T> out, dq, dk, dv;
  W* lse;    // [b, h, t], of forward
  W* delta;  // [b, h, t]: the sums of g · o
  u64 queries, keys;  // b · h · t and b · hk · s
  int heads, keyHeads, t, s, d, e, isCausal, window;  // window 0: none
  double scale;
};

/** The keys that query i sees: from, up to and without to. */
static __device__ __forceinline__ int firstKey(const Attention& p, int i) {
  const int from = i + p.s - p.t + 1 - p.window;
  return p.isCausal && p.window > 0 && from > 0 ? from : 0;
}
static __device__ __forceinline__ int endOfKeys(const Attention& p, int i) { return p.isCausal ? i + p.s - p.t + 1 : p.s; }

static __device__ __forceinline__ u64 keyHeadOf(const Attention& p, u64 head) { return keyHeadOf(head, p.heads, p.keyHeads); }
