// A linear layer of few rows, as decoding has them: y [ROWS, n] = x [ROWS, k] w [n, k]ᵀ + bias, and GELU (its tanh form) of that rounded.
// Every weight is read once, by the warp of its column, sixteen bytes a lane; sums are float32, in an order that follows from k.
// Bytes: n k, whatever the rows. At 3 TB/s the 124M weights of GPT-2 in bf16 are 83 us a token. What a kernel of few rows waits for is memory's latency:
// so weights that nothing in the graph writes are asked for while the kernels in front still run. T; B, of the bias; ROWS; PACK; DEPTH: packs a lane
// asks for at once; GELU; AHEAD.

struct FewRows {
  const T* x;
  const T* w;
  const B* bias;  // or null
  T* y;
  T* before;  // GELU's argument
  int n, k;
};

KERNEL_AHEAD(fewRows, FewRows, 128) {
  typedef Words<T, PACK> Many;
  const int column = blockIdx.x * 4 + (threadIdx.x >> 5), lane = threadIdx.x & 31;
  const bool isInside = column < p.n;
  if (!AHEAD) awaitPrevious();
  // Past the last column the last one again: no branch around a load.
  const int from = isInside ? column : p.n - 1;
  const T* w = p.w + (u64)from * p.k;
  Many weights[DEPTH];
  const auto ask = [&](int first) {
#pragma unroll
    for (int n = 0; n < DEPTH; n++) {
      const int c = first + n * 32 * PACK;
      if (c < p.k) weights[n] = readAhead((const Many*)(w + c));
    }
  };
  const int first = lane * PACK;
  ask(first);
  const float bias = p.bias == 0 ? 0 : (float)wide(readAhead(p.bias + from));
  if (AHEAD) awaitPrevious();
  // A row alone is asked for in large parts before any of it is multiplied, and summed up by four: a product waits for no other's sum.
  enum { AT_ONCE = ROWS > 1 ? 1 : DEPTH < 6 ? DEPTH : 6, SUMS = ROWS == 1 ? 4 : 1 };
  float sums[ROWS][SUMS] = {};
  for (int at = first; at < p.k; at += 32 * PACK * DEPTH) {
    if (at != first) ask(at);
#pragma unroll
    for (int part = 0; part < DEPTH; part += AT_ONCE) {
      Many row[AT_ONCE];
#pragma unroll
      for (int n = 0; n < AT_ONCE; n++) {
        const int c = at + (part + n) * 32 * PACK;
        if (ROWS == 1 && part + n < DEPTH && c < p.k) row[n] = *(const Many*)(p.x + c);
      }
#pragma unroll
      for (int n = 0; n < AT_ONCE; n++) {
        const int c = at + (part + n) * 32 * PACK;
        if (part + n >= DEPTH || c >= p.k) continue;
        const Many& weight = weights[part + n < DEPTH ? part + n : 0];
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
          const Many values = ROWS == 1 ? row[n] : *(const Many*)(p.x + (u64)r * p.k + c);
#pragma unroll
          for (int e = 0; e < PACK; e++) sums[r][e % SUMS] = multiplyAdd(weight.at(e), values.at(e), sums[r][e % SUMS]);
        }
      }
    }
  }
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    float own = sums[r][0];
    if (SUMS == 4) own = (own + sums[r][1 % SUMS]) + (sums[r][2 % SUMS] + sums[r][3 % SUMS]);
    const float sum = foldWarp<Sum>(own) + bias;
    if (lane != 0 || !isInside) continue;
    const u64 at = (u64)r * p.n + column;
    if (GELU) {
      const T argument = narrow<T>(sum);
      p.before[at] = argument;
      p.y[at] = narrow<T>(geluOf(wide(argument)));
    } else {
      p.y[at] = narrow<T>(sum);
    }
  }
}
