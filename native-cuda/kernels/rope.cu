// Rotary position embedding of rows [time, dim]: coordinates (i, i + half) turn by position · base^(-i / half). A thread finds
// PACK neighbouring angles and turns the pairs of up to ROWS rows that share them. Operands have any strides, which PACK divides;
// y may be x. T; ROWS, a multiple of 4; PACK.

typedef Number<T>::Wide W;

// The angle is found and brought into one turn in double: thousands of positions leave float32 few digits of it.
static __device__ __forceinline__ void turn(double angle, float& c, float& s) {
  const float rest = (float)(angle - rint(angle * 0.15915494309189535) * 6.283185307179586);
  c = cosf(rest);
  s = sinf(rest);
}
static __device__ __forceinline__ void turn(double angle, double& c, double& s) {
  c = cos(angle);
  s = sin(angle);
}

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
  int direction;
};
KERNEL_SHARING(rope, Rope, 256, sizeof(W) == 4 ? 3 : 1) {
  const u32 packs = p.half / PACK, blocks = (p.time * packs + 255) / 256;
  const u32 pack = blockIdx.x % blocks * 256 + threadIdx.x;
  if (pack >= p.time * packs) return;
  const u32 i = pack % packs * PACK, t = pack / packs;
  W c[PACK], s[PACK];
  const double position = (double)p.positions[t * p.place];
#pragma unroll
  for (int j = 0; j < PACK; j++) {
    turn(position * exp((double)(i + j) * p.step), c[j], s[j]);
    s[j] *= (W)p.direction;
  }
  typedef Pack<T, PACK> Many;
  const u32 first = blockIdx.x / blocks * ROWS;
  // All loads of some rows come before their stores, which a compiler must not move loads over.
#pragma unroll 1
  for (int group = 0; group < ROWS; group += 4) {
    Many a[4], b[4];
    T* to[4];
#pragma unroll
    for (int k = 0; k < 4; k++) {
      u32 rest = first + group + k;
      to[k] = 0;
      if (rest >= p.rows) continue;
      i64 read = t * p.from.time + i * p.from.dim, write = t * p.to.time + i * p.to.dim;
      for (int d = p.rank - 1; d >= 0; d--) {
        const u32 next = rest / p.sizes[d], at = rest - next * p.sizes[d];
        read += at * p.from.lead[d];
        write += at * p.to.lead[d];
        rest = next;
      }
      a[k] = *(const Many*)(p.x + read);
      b[k] = *(const Many*)(p.x + read + p.half * p.from.dim);
      to[k] = p.y + write;
    }
#pragma unroll
    for (int k = 0; k < 4; k++) {
      if (to[k] == 0) return;
      Many near, far;
#pragma unroll
      for (int j = 0; j < PACK; j++) {
        near.v[j] = narrow<T>(wide(a[k].v[j]) * c[j] - wide(b[k].v[j]) * s[j]);
        far.v[j] = narrow<T>(wide(b[k].v[j]) * c[j] + wide(a[k].v[j]) * s[j]);
      }
      *(Many*)to[k] = near;
      *(Many*)(to[k] + p.half * p.to.dim) = far;
    }
  }
}
