// A warp's matrix products on tensor cores: m16n8k16 of 16-bit floats with float32 sums, and the loads that lay operands out
// for them. On the host the same, element by element. T: bf16 or f16.
//
// Lane l holds, with g = l / 4 and t = l % 4: of A [16, 16] the pairs (g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8); of
// B [16, 8] the pairs (2t, g), (2t + 8, g) down a column; of C [16, 8] the elements (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).

#ifdef REVNET_HOST
static inline float half16(u32 pair, int which) {
  T v;
  v.bits = (u16)(pair >> (16 * which));
  return wide(v);
}
struct Operands {
  const u32* a;
  const u32* b;
};
static inline void multiplyTiles(float* c, const u32* a, const u32* b) {
  const Operands mine = {a, b};
  const void* lanes[32];
  standIn->meet(&mine, lanes);
  const int g = (threadIdx.x & 31) / 4, t = threadIdx.x & 3;
  for (int row = 0; row < 2; row++)
    for (int column = 0; column < 2; column++)
      for (int k = 0; k < 16; k++) {
        const u32* from = ((const Operands*)lanes[g * 4 + k % 8 / 2])->a;
        const u32* to = ((const Operands*)lanes[(2 * t + column) * 4 + k % 8 / 2])->b;
        c[2 * row + column] += half16(from[row + k / 8 * 2], k & 1) * half16(to[k / 8], k & 1);
      }
  __syncwarp();
}
typedef const u16* SharedAt;
static inline SharedAt sharedAt(const u16* at) { return at; }
static inline SharedAt further(SharedAt at, int elements) { return at + elements; }
template <bool isTransposed>
static inline void loadTiles(u32* r, SharedAt row) {
  const void* lanes[32];
  standIn->meet(row, lanes);
  const int g = (threadIdx.x & 31) / 4, t = threadIdx.x & 3;
  for (int m = 0; m < 4; m++)
    for (int which = 0; which < 2; which++) {
      const u16 v = isTransposed ? ((const u16*)lanes[8 * m + 2 * t + which])[g] : ((const u16*)lanes[8 * m + g])[2 * t + which];
      r[m] = which == 0 ? v : r[m] | (u32)v << 16;
    }
  __syncwarp();
}
static inline u32 pairOf(float first, float second) { return (u32)narrow<T>(first).bits | (u32)narrow<T>(second).bits << 16; }
template <int bytes>
static inline void copyAhead(void* to, const void* from, bool isWanted) {
  if (isWanted) __builtin_memcpy(to, from, bytes);
  else __builtin_memset(to, 0, bytes);
}
static inline void copyPack(SharedAt to, const T* from, bool isWanted) { copyAhead<16>((void*)to, from, isWanted); }
static inline void closeCopies() {}
static inline void awaitCopies() {}
#else
template <class H>
static __device__ __forceinline__ void multiplyAs(float* c, const u32* a, const u32* b);
template <>
__device__ __forceinline__ void multiplyAs<bf16>(float* c, const u32* a, const u32* b) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
template <>
__device__ __forceinline__ void multiplyAs<f16>(float* c, const u32* a, const u32* b) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/** c += a · b */
static __device__ __forceinline__ void multiplyTiles(float* c, const u32* a, const u32* b) { multiplyAs<T>(c, a, b); }
/** An address in shared memory, found once: the loads then add what they know when they are compiled. */
typedef u32 SharedAt;
static __device__ __forceinline__ SharedAt sharedAt(const u16* at) {
  u32 address;
  asm("{ .reg .u64 a; cvta.to.shared.u64 a, %1; cvt.u32.u64 %0, a; }" : "=r"(address) : "l"(at));
  return address;
}
static __device__ __forceinline__ SharedAt further(SharedAt at, int elements) { return at + 2 * elements; }
/** Four 8 x 8 tiles, the rows of tile m at the addresses of lanes 8m to 8m + 7; a pair along a row, or down a column. */
template <bool isTransposed>
static __device__ __forceinline__ void loadTiles(u32* r, SharedAt at) {
  if (isTransposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}
/** Two numbers rounded into a pair, the first in the low half. */
template <class H>
static __device__ __forceinline__ u32 pairAs(float first, float second);
template <>
__device__ __forceinline__ u32 pairAs<bf16>(float first, float second) {
  u32 pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
  return pair;
}
template <>
__device__ __forceinline__ u32 pairAs<f16>(float first, float second) {
  u32 pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
  return pair;
}
static __device__ __forceinline__ u32 pairOf(float first, float second) { return pairAs<T>(first, second); }

/** Copies to shared memory that go on while the warp computes; zeros where nothing is wanted. */
template <int bytes>
static __device__ __forceinline__ void copyAhead(void* to, const void* from, bool isWanted) {
  u32 at;
  asm("{ .reg .u64 a; cvta.to.shared.u64 a, %1; cvt.u32.u64 %0, a; }" : "=r"(at) : "l"(to));
  if (bytes == 16) asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(isWanted ? 16 : 0) : "memory");
  else asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(at), "l"(from), "r"(isWanted ? 4 : 0) : "memory");
}
/** The same of 16 bytes, to an address found before. */
static __device__ __forceinline__ void copyPack(SharedAt to, const T* from, bool isWanted) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(isWanted ? 16 : 0) : "memory");
}
static __device__ __forceinline__ void closeCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
static __device__ __forceinline__ void awaitCopies() { asm volatile("cp.async.wait_group 0;" ::: "memory"); }
#endif

