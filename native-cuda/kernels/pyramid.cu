// Pyramids of means over rows of heads, a level a launch, and their transpose. Whatever the strides of axes but the last; sums in W, in the order of
// the rows. T; PACK: elements moved at once, which all strides divide.

typedef Pack<T, PACK> Many;

/** A level from the one before: x [b, heads, rows, width], of which row r is of tokens [r · ratio, (r + 1) · ratio) as far as there are. */
struct Pooling {
  Operand<const T> x;
  Operand<T> copy, y;  // copy: where x itself goes, or null
  u64 heads;           // of all batches
  int perBatch, rows, groups, radix, ratio, tokens, packs;
};

KERNEL(pyramidLevel, Pooling, 256) {
  const u64 place = (u64)blockIdx.x * 256 + threadIdx.x, row = place / p.packs;
  const u32 all = ((u32)p.rows + p.radix - 1) / p.radix;  // the last may be no group of the level
  const u64 head = row / all;
  if (head >= p.heads) return;
  const int group = (int)(row % all), c = (int)(place % p.packs) * PACK, first = group * p.radix;
  const T* const x = p.x.of(head, p.perBatch) + c;
  const i64 of = (i64)group * p.radix * p.ratio;
  const i64 left = p.tokens - of, whole = (i64)p.radix * p.ratio;
  const bool isWhole = left >= whole;
  const W part = (W)1 / (W)(isWhole ? p.radix : left);
  W sums[PACK] = {};
  for (int k0 = 0; k0 < p.radix && first + k0 < p.rows; k0 += 4) {
    Many rows[4];
#pragma unroll
    for (int k = 0; k < 4; k++)
      if (k0 + k < p.radix && first + k0 + k < p.rows) rows[k] = *(const Many*)(x + (i64)(first + k0 + k) * p.x.row);
#pragma unroll
    for (int k = 0; k < 4; k++) {
      const int r = first + k0 + k;
      if (k0 + k >= p.radix || r >= p.rows) continue;
      if (p.copy.at) *(Many*)(p.copy.of(head, p.perBatch) + (i64)r * p.copy.row + c) = rows[k];
      const i64 there = p.tokens - (i64)r * p.ratio;
      const W weight = isWhole ? (W)1 : (W)(there < p.ratio ? there : p.ratio);
#pragma unroll
      for (int i = 0; i < PACK; i++) sums[i] = multiplyAdd(weight, wide(rows[k].v[i]), sums[i]);
    }
  }
  if (group >= p.groups) return;
  Many mean;
#pragma unroll
  for (int i = 0; i < PACK; i++) mean.v[i] = narrow<T>(sums[i] * part);
  *(Many*)(p.y.of(head, p.perBatch) + (i64)group * p.y.row + c) = mean;
}

struct Sharing {
  Operand<const T> g;
  Operand<T> x;
  u64 heads;
  int perBatch, tokens, packs, levels;  // above the tokens
  int radices[32], rows[32], offsets[32];
};

/** A token's gradient: its own row's, and of every row that stands for it that row's over its tokens. */
KERNEL(pyramidShares, Sharing, 256) {
  const u64 place = (u64)blockIdx.x * 256 + threadIdx.x, row = place / p.packs, head = row / p.tokens;
  if (head >= p.heads) return;
  const int token = (int)(row % p.tokens), c = (int)(place % p.packs) * PACK;
  const T* const g = p.g.of(head, p.perBatch) + c;
  const Many own = *(const Many*)(g + (i64)token * p.g.row);
  W sums[PACK];
#pragma unroll
  for (int i = 0; i < PACK; i++) sums[i] = wide(own.v[i]);
  i64 ratio = 1;
  int of = token;
  for (int level = 0; level < p.levels; level++) {
    of /= p.radices[level];
    ratio *= p.radices[level];
    if (of >= p.rows[level]) break;  // nor does a coarser row stand for it
    const i64 left = p.tokens - of * ratio;
    const W part = (W)1 / (W)(left < ratio ? left : ratio);
    const Many share = *(const Many*)(g + (i64)(p.offsets[level] + of) * p.g.row);
#pragma unroll
    for (int i = 0; i < PACK; i++) sums[i] = multiplyAdd(part, wide(share.v[i]), sums[i]);
  }
  Many to;
#pragma unroll
  for (int i = 0; i < PACK; i++) to.v[i] = narrow<T>(sums[i]);
  *(Many*)(p.x.of(head, p.perBatch) + (i64)token * p.x.row + c) = to;
}
