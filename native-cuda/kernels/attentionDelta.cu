// What both passes of attention's backward need of every query: the sum of g · o. LANES a row, packs of 16 bytes where rows allow. T; LANES: a power of 2.

KERNEL(attentionDelta, Attention, 256) {
  constexpr int V = 16 / sizeof(T);
  typedef Pack<T, V> Elements;
  const u64 row = (u64)blockIdx.x * (256 / LANES) + threadIdx.x / LANES;
  const bool isInside = row < p.queries;
  const u64 head = isInside ? row / p.t : 0;
  const int i = isInside ? (int)(row % p.t) : 0;
  const T* g = p.g.of(head, p.heads) + i * p.g.row;
  const T* o = p.o.of(head, p.heads) + i * p.o.row;
  W sum = 0;
  if ((u64)g % 16 == 0 && (u64)o % 16 == 0 && p.e % V == 0) {
    for (int c = threadIdx.x % LANES * V; c < p.e; c += LANES * V) {
      const Elements a = *(const Elements*)(g + c), b = *(const Elements*)(o + c);
#pragma unroll
      for (int k = 0; k < V; k++) sum = multiplyAdd(wide(a.v[k]), wide(b.v[k]), sum);
    }
  } else {
    for (int c = threadIdx.x % LANES; c < p.e; c += LANES) sum = multiplyAdd(wide(g[c]), wide(o[c]), sum);
  }
#pragma unroll
  for (int step = LANES / 2; step > 0; step >>= 1) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  if (isInside && threadIdx.x % LANES == 0) p.delta[row] = sum;
}
