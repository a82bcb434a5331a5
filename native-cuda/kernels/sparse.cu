// What kernels of attention driven by a list are given, and what the list means: q [b, h, t, d], k [b, hk, s, d], v [b, hk, s, e]. No [t, s] workspace
// and no atomics: a sum has one owner, which goes along the list, or along the list seen from the keys (sparseList.cu). T.
// Source: Dao et al. 2022 (arXiv:2205.14135), algorithms 1 and 4, over the blocks of section 3.3.

struct Sparse {
  Operand<const T> q, k, v, o, g;
  Operand<T> out, dq, dk, dv;
  const int* runs;  // [1 | b, 1 | hk, blocks, slots, 4], 0 the step of an axis that is one for all
  i64 runsBatch, runsHead;
  const W* bias;  // of query i and key c at i · biasQuery + c
  i64 biasBatch, biasHead, biasQuery;
  const float* keyBias;  // where biasQuery is 0, for tiles: the same times log2 e
  W* lse;                // [b, h, t], of forward
  const W* ofLse;        // its gradient
  W* shift;              // [b, h, t]: the log-sum-exp, inf where nothing is seen
  W* delta;              // [b, h, t]: the sums of g · o, less ofLse
  W* db;                 // [b, h, dbSize]
  i64 dbSize;
  const int* columns;  // [lists, ceil(s / 64)] of Column
  const int* entries;  // [lists, mostEntries] of Entry
  const int* parts;    // [lists, mostParts]: the 64 keys that a full part is of
  const int* totals;   // [lists]: full parts
  float* partials;     // [b · hk, mostPartials, 2, 64, D], or [b · h, mostPartials, 64] of a bias
  i64 mostEntries;
  int mostParts, mostPartials, partEntries;
  int listHeads, listBatches;
  int allHeads, allKeyHeads;  // of all batches
  int heads, keyHeads, t, s, d, e, blockSize, slots, blocks;
  double scale;
};

static __device__ __forceinline__ int groupOf(const Sparse& p) { return p.heads / p.keyHeads; }
/** Which list serves a key head of all batches. */
static __device__ __forceinline__ u64 listOf(const Sparse& p, u64 keyHead) {
  return (p.listBatches == 1 ? 0 : keyHead / p.keyHeads) * p.listHeads + (p.listHeads == 1 ? 0 : keyHead % p.keyHeads);
}
/** The runs of a block of queries. */
static __device__ __forceinline__ const int* runsOf(const Sparse& p, u64 keyHead, int block) {
  return p.runs + (i64)(keyHead / p.keyHeads) * p.runsBatch + (i64)(keyHead % p.keyHeads) * p.runsHead + (i64)block * p.slots * 4;
}
static __device__ __forceinline__ i64 columnsOf(const Sparse& p) { return (p.s + 63) / 64; }
static __device__ __forceinline__ Column columnAt(const Sparse& p, u64 list, int number) {
  const Run words = runAt(p.columns, list * columnsOf(p) + number);
  return Column{words.first, words.end, words.low, words.high};
}
static __device__ __forceinline__ const W* biasOf(const Sparse& p, u64 head) {
  return p.bias == nullptr ? nullptr : p.bias + (i64)(head / p.heads) * p.biasBatch + (i64)(head % p.heads) * p.biasHead;
}
static __device__ __forceinline__ W biasAt(const Sparse& p, u64 head, int i, int c) { return biasOf(p, head)[i * p.biasQuery + c]; }
static __device__ __forceinline__ const float* keyBiasOf(const Sparse& p, u64 head) {
  return p.keyBias + (i64)(head / p.heads) * p.biasBatch + (i64)(head % p.heads) * p.biasHead;
}
static __device__ __forceinline__ int within(int v, int from, int to) { return v < from ? from : v > to ? to : v; }
/** The keys of a run that query r sees. */
static __device__ __forceinline__ int firstOf(const Run& run, int r) {
  const int low = run.low + r;
  return run.first > low ? (run.first > 0 ? run.first : 0) : (low > 0 ? low : 0);
}
static __device__ __forceinline__ int endOf(const Run& run, int r, int s) {
  const int end = run.end < s ? run.end : s, high = run.high + r;
  return end < high ? end : high;
}
