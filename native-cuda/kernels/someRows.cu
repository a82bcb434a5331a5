// A linear layer of some rows on tensor cores, as decoding many sequences has them: y [rows, n] = x [rows, k] w [n, k]ᵀ + bias, and GELU (its tanh
// form) of that rounded. A block has sixteen columns: its warps share k, and their sums are added in their order. What is multiplied lies in
// registers as it comes from memory, sixteen bytes a lane: of every 32 neighbours along k a lane has eight, of both operands the same eight, so
// that the tensor core's order of k is another than memory's, and each product meets its own. Weights that nothing in the graph writes
// are asked for while the kernels in front still run; of x the next 32 are asked for before these are multiplied.
// Bytes: n k, and rows k a block, from the second cache. T: bf16 or f16; B, of the bias; ROW_TILES of eight rows; STEPS of 32 along k a
// warp takes at once; WARPS; GELU; AHEAD.

struct SomeRows {
  const T* x;
  const T* w;
  const B* bias;  // or null
  T* y;
  T* before;  // GELU's argument
  int rows, n, k;
};

KERNEL_AHEAD(someRows, SomeRows, 32 * WARPS) {
  enum { COLUMNS = 16, ROWS = 8 * ROW_TILES, PITCH = COLUMNS + 1, THREADS = 32 * WARPS };
  typedef Pack<u32, 4> Eight;
  DYNAMIC_SHARED(float, partial);  // [WARPS, ROWS, PITCH]
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, t = lane & 3;
  const int column = blockIdx.x * COLUMNS;
  if (!AHEAD) awaitPrevious();
  // Past the end the last column or row again: no branch around a load, and nothing is stored of them.
  const T* w[2];
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const int c = column + g + 8 * h;
    w[h] = p.w + (u64)(c < p.n ? c : p.n - 1) * p.k + t * 8;
  }
  const T* x[ROW_TILES];
#pragma unroll
  for (int r = 0; r < ROW_TILES; r++) {
    const int row = 8 * r + g;
    x[r] = p.x + (u64)(row < p.rows ? row : p.rows - 1) * p.k + t * 8;
  }
  const int mine = threadIdx.x % COLUMNS, myColumn = column + mine < p.n ? column + mine : p.n - 1;
  Eight weights[STEPS][2];
  const auto askWeights = [&](int first) {
#pragma unroll
    for (int s = 0; s < STEPS; s++)
#pragma unroll
      for (int h = 0; h < 2; h++) weights[s][h] = first + 32 * s < p.k ? readAhead((const Eight*)(w[h] + first + 32 * s)) : Eight{};
  };
  const int start = warp * STEPS * 32;
  askWeights(start);
  const float bias = p.bias == 0 ? 0 : (float)wide(readAhead(p.bias + myColumn));
  if (AHEAD) awaitPrevious();
  float sums[ROW_TILES][4] = {};
  for (int first = start; first < p.k; first += THREADS * STEPS) {
    if (first != start) askWeights(first);
    Eight rows[2][ROW_TILES];
    const auto askRows = [&](int slot, int at) {
#pragma unroll
      for (int r = 0; r < ROW_TILES; r++) rows[slot][r] = at < p.k ? *(const Eight*)(x[r] + at) : Eight{};
    };
    askRows(0, first);
#pragma unroll
    for (int s = 0; s < STEPS; s++) {
      if (s + 1 < STEPS) askRows((s + 1) & 1, first + 32 * (s + 1));
      const u32 near[4] = {weights[s][0].v[0], weights[s][1].v[0], weights[s][0].v[1], weights[s][1].v[1]};
      const u32 far[4] = {weights[s][0].v[2], weights[s][1].v[2], weights[s][0].v[3], weights[s][1].v[3]};
#pragma unroll
      for (int r = 0; r < ROW_TILES; r++) {
        multiplyTiles(sums[r], near, rows[s & 1][r].v);
        multiplyTiles(sums[r], far, rows[s & 1][r].v + 2);
      }
    }
  }
#pragma unroll
  for (int r = 0; r < ROW_TILES; r++)
#pragma unroll
    for (int e = 0; e < 4; e++) partial[(warp * ROWS + 8 * r + 2 * t + (e & 1)) * PITCH + g + 8 * (e >> 1)] = sums[r][e];
  __syncthreads();
  for (int row = threadIdx.x / COLUMNS; row < p.rows; row += THREADS / COLUMNS) {
    float sum = 0;
#pragma unroll
    for (int other = 0; other < WARPS; other++) sum += partial[(other * ROWS + row) * PITCH + mine];
    sum += bias;
    if (column + mine >= p.n) continue;
    const u64 at = (u64)row * p.n + column + mine;
    if (GELU) {
      const T argument = narrow<T>(sum);
      p.before[at] = argument;
      p.y[at] = narrow<T>(geluOf(wide(argument)));
    } else {
      p.y[at] = narrow<T>(sum);
    }
  }
}
