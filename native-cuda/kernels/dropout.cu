// x or 0 by a keyed mask, scaled: the mask is a function of key and place alone. Four elements a thread, one block of words.
// T; PACKED: whether x and y begin at four elements; random.cu is put before this.

typedef Number<T>::Wide W;

struct Dropout {
  const T* x;
  T* y;
  u64 n;
  double scale;
  Key key;
  u32 threshold;  // kept where the top 24 bits reach it
};
KERNEL(dropout, Dropout, 256) {
  const u64 block = (u64)blockIdx.x * 256 + threadIdx.x;
  if (block * 4 >= p.n) return;
  u32 words[4];
  philox(block, p.key, words);
  // The scale is a number of the type, as it is where it is an operand.
  const W scale = wide(narrow<T>(p.scale));
  const auto kept = [&](int k, T x) { return narrow<T>(words[k] >> 8 >= p.threshold ? wide(x) * scale : (W)0); };
  if (PACKED && block * 4 + 4 <= p.n) {
    Pack<T, 4> pack = ((const Pack<T, 4>*)p.x)[block];
#pragma unroll
    for (int k = 0; k < 4; k++) pack.v[k] = kept(k, pack.v[k]);
    ((Pack<T, 4>*)p.y)[block] = pack;
    return;
  }
  for (int k = 0; k < 4; k++) {
    const u64 i = block * 4 + k;
    if (i < p.n) p.y[i] = kept(k, p.x[i]);
  }
}
