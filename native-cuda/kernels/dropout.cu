// x or 0 by a keyed mask, scaled: the mask is a function of key and place alone. Four elements a thread, one block of words.
// T; random.cu is put before this.

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
  for (int k = 0; k < 4; k++) {
    const u64 i = block * 4 + k;
    if (i < p.n) p.y[i] = narrow<T>(words[k] >> 8 >= p.threshold ? wide(p.x[i]) * scale : (W)0);
  }
}
