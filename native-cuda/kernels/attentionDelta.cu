// What both passes of attention's backward need of every query: the sum of g · o, by LANES lanes (rowDot.cu). T.

KERNEL(attentionDelta, Attention, 256) {
  const u64 row = (u64)blockIdx.x * (256 / LANES) + threadIdx.x / LANES;
  const bool isInside = row < p.queries;
  const u64 head = isInside ? row / p.t : 0;
  const int i = isInside ? (int)(row % p.t) : 0;
  const W sum = rowDot(p.g.of(head, p.heads) + i * p.g.row, p.o.of(head, p.heads) + i * p.o.row, p.e);
  if (isInside && threadIdx.x % LANES == 0) p.delta[row] = sum;
}
