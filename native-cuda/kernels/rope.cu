// Rotary position embedding of rows [time, dim]: coordinates (i, i + half) turn by position · base^(-i / half). A block finds the angles of
// its times once and turns the pairs of some rows of the leading axes, whose neighbours lie together where heads do. Operands have any strides, which
// PACK divides; y may be x. T; PACK: pairs of a thread.

typedef Number<T>::Wide W;

/** Strides of what lies around [time, dim], of time and of dim. */
struct RopeOperand {
  i64 lead[4];
  i64 time, dim;
};
struct Rope {
  const T* x;
  const int* positions;
  T* y;
  RopeOperand from, to;
  double step;  // -log(base) / half
  i64 place;  // from one position to the next
  u32 sizes[4];
  int rank;
  u32 rows;  // of the leading axes
  u32 time, half;
  u32 times, blockRows;  // of a block
  int direction;
};
KERNEL(rope, Rope, 256) {
  DYNAMIC_SHARED(W, angles);  // cosines [times, half], then sines
  const u32 timeBlocks = (p.time + p.times - 1) / p.times;
  const u32 firstTime = blockIdx.x % timeBlocks * p.times, firstRow = blockIdx.x / timeBlocks * p.blockRows;
  const u32 times = firstTime + p.times < p.time ? p.times : p.time - firstTime;
  W* const cosines = angles;
  W* const sines = angles + p.times * p.half;
  for (u32 a = threadIdx.x; a < times * p.half; a += 256) {
    const double position = (double)p.positions[(i64)(firstTime + a / p.half) * p.place];
    turn(position * exp((double)(a % p.half) * p.step), cosines[a], sines[a]);
    sines[a] *= (W)p.direction;
  }
  __syncthreads();
  typedef Pack<T, PACK> Many;
  const u32 packs = p.half / PACK;
  for (u32 item = threadIdx.x; item < p.blockRows * packs; item += 256) {
    const u32 i = item % packs * PACK;
    u32 rest = firstRow + item / packs;
    if (rest >= p.rows) return;
    i64 read = (i64)firstTime * p.from.time + i * p.from.dim, write = (i64)firstTime * p.to.time + i * p.to.dim;
    for (int d = p.rank - 1; d >= 0; d--) {
      const u32 next = rest / p.sizes[d], at = rest - next * p.sizes[d];
      read += at * p.from.lead[d];
      write += at * p.to.lead[d];
      rest = next;
    }
    // All loads of some times come before their stores, which a compiler must not move loads over.
    constexpr u32 GROUP = 4;
#pragma unroll 1
    for (u32 t = 0; t < times; t += GROUP) {
      Many a[GROUP], b[GROUP];
#pragma unroll
      for (u32 k = 0; k < GROUP; k++) {
        // Past the end the first again: no branch around a load.
        const T* from = p.x + read + (i64)(t + k < times ? t + k : t) * p.from.time;
        a[k] = *(const Many*)from;
        b[k] = *(const Many*)(from + p.half * p.from.dim);
      }
#pragma unroll
      for (u32 k = 0; k < GROUP; k++) {
        if (t + k >= times) break;
        Many near, far;
#pragma unroll
        for (int j = 0; j < PACK; j++) {
          const W c = cosines[(t + k) * p.half + i + j], s = sines[(t + k) * p.half + i + j];
          near.v[j] = narrow<T>(wide(a[k].v[j]) * c - wide(b[k].v[j]) * s);
          far.v[j] = narrow<T>(wide(b[k].v[j]) * c + wide(a[k].v[j]) * s);
        }
        T* to = p.y + write + (i64)(t + k) * p.to.time;
        *(Many*)to = near;
        *(Many*)(to + p.half * p.to.dim) = far;
      }
    }
  }
}
