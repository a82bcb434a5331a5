// shift and delta of every query, which the slopes of sparse.cu are made with, by LANES lanes (rowDot.cu). T.

KERNEL(sparsePrepare, Sparse, 256) {
  const u64 row = (u64)blockIdx.x * (256 / LANES) + threadIdx.x / LANES;
  const bool isInside = row < (u64)p.allHeads * p.t;
  const u64 head = isInside ? row / p.t : 0;
  const int i = isInside ? (int)(row % p.t) : 0;
  const W sum = rowDot(p.g.of(head, p.heads) + i * p.g.row, p.o.of(head, p.heads) + i * p.o.row, p.e);
  if (!isInside || threadIdx.x % LANES != 0) return;
  const W lse = p.lse[row];
  p.delta[row] = sum - p.ofLse[row];
  p.shift[row] = lse == -(W)INFINITY ? (W)INFINITY : lse;
}
