// Hopper's own words, sm_90a: barriers in shared memory that count the bytes of copies, copies of boxes by a tensor map, and products of
// four warps (64 rows by N columns, 16 terms), which read shared memory through descriptors and go on while the threads do. On the host:
// standin/hopper.h. T: bf16 or f16. Source: PTX ISA 9.0, sections 9.7.13 (mbarrier), 9.7.9.25 (cp.async.bulk.tensor), 9.7.15 (wgmma).
//
// Tiles in shared memory are panels of rows of 64 elements (128 bytes) from an address that is a multiple of 1024, the 16-byte parts of a row
// turned round by the row's number (the 128-byte swizzle); a wider tile is several panels.

#if defined(REVNET_HOST) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define HAS_WARPGROUPS  // elsewhere kernels that need them are none
#endif

#ifdef HAS_WARPGROUPS
#ifndef REVNET_HOST
struct alignas(64) TensorMap {
  u64 words[16];
};
typedef u64 Barrier;

static __device__ __forceinline__ u32 sharedAddress(const void* at) {
  u32 address;
  asm("{ .reg .u64 a; cvta.to.shared.u64 a, %1; cvt.u32.u64 %0, a; }" : "=r"(address) : "l"(at));
  return address;
}

static __device__ __forceinline__ void barrierStart(Barrier* at, u32 count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(sharedAddress(at)), "r"(count) : "memory");
}
/** Barriers just started are seen by copies too. */
static __device__ __forceinline__ void barriersStarted() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
static __device__ __forceinline__ void barrierArrive(Barrier* at) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(sharedAddress(at)) : "memory");
}
/** Arrives, and makes the phase wait for so many bytes more. */
static __device__ __forceinline__ void barrierExpect(Barrier* at, u32 bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(sharedAddress(at)), "r"(bytes) : "memory");
}
/** Waits until the phase of this parity is over; that before the first is, of parity 1. */
static __device__ __forceinline__ void barrierWait(Barrier* at, u32 parity) {
  asm volatile(
      "{\n.reg .pred p;\nagain:\nmbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n@p bra done;\nbra again;\ndone:\n}"
      ::"r"(sharedAddress(at)), "r"(parity)
      : "memory");
}

/** Copies the box that begins there to shared memory, zeros where it reaches beyond the tensor; one thread. */
static __device__ __forceinline__ void copyBox(void* to, const TensorMap* map, Barrier* barrier, int column, int row, int head, int batch) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];"
      ::"r"(sharedAddress(to)), "l"(map), "r"(sharedAddress(barrier)), "r"(column), "r"(row), "r"(head), "r"(batch)
      : "memory");
}

/** What threads wrote to registers is there for the products that follow. */
static __device__ __forceinline__ void productsFence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
/** Closes a group of products. */
static __device__ __forceinline__ void productsClose() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/** Waits for all but the last `left` groups. */
template <int left>
static __device__ __forceinline__ void productsWait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(left) : "memory");
}
/** Keeps the compiler from moving what reads or writes registers across: it does not know that products go on. */
template <int n>
static __device__ __forceinline__ void settle(float (&r)[n]) {
#pragma unroll
  for (int i = 0; i < n; i++) asm volatile("" : "+f"(r[i])::"memory");
}
template <int n, int m>
static __device__ __forceinline__ void settle(u32 (&r)[n][m]) {
#pragma unroll
  for (int i = 0; i < n; i++)
#pragma unroll
    for (int k = 0; k < m; k++) asm volatile("" : "+r"(r[i][k])::"memory");
}

/** The registers of each thread of four warps from here on: more, or fewer, so that others may take them. */
template <int registers>
static __device__ __forceinline__ void takeRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
}
template <int registers>
static __device__ __forceinline__ void giveRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
}

#define SUMS_4(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define SUMS_16(d, i) SUMS_4(d, i), SUMS_4(d, i + 4), SUMS_4(d, i + 8), SUMS_4(d, i + 12)
#define SUMS_64(d) SUMS_16(d, 0), SUMS_16(d, 16)
#define SUMS_128(d) SUMS_64(d), SUMS_16(d, 32), SUMS_16(d, 48)
#define NAMES_64 \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define NAMES_128 \
  NAMES_64 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define PRODUCT(n, types) "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." types " {" NAMES_##n "}, "
#define ASKED(p0) "{.reg .pred p; setp.ne.b32 p, %" #p0 ", 0; "
#define PRODUCT_OF_SHARED(n, H, types, a0, b0, p0)                                                                \
  static __device__ __forceinline__ void productAlong(H, float (&d)[n / 2], u64 a, u64 b, bool keeps) {            \
    asm volatile(ASKED(p0) PRODUCT(n, types) "%" #a0 ", %" #b0 ", p, 1, 1, 0, 0;}"                                 \
                 : SUMS_##n(d)                                                                                    \
                 : "l"(a), "l"(b), "r"((int)keeps));                                                               \
  }
#define PRODUCT_OF_REGISTERS(n, H, types, a0, a1, a2, a3, b0, p0)                                                 \
  static __device__ __forceinline__ void productAcross(H, float (&d)[n / 2], const u32 (&a)[4], u64 b, bool keeps) { \
    asm volatile(ASKED(p0) PRODUCT(n, types) "{%" #a0 ",%" #a1 ",%" #a2 ",%" #a3 "}, %" #b0 ", p, 1, 1, 1;}"       \
                 : SUMS_##n(d)                                                                                    \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"((int)keeps));                           \
  }
#define PRODUCTS(H, types)                                                           \
  PRODUCT_OF_SHARED(64, H, types, 32, 33, 34)                                        \
  PRODUCT_OF_SHARED(128, H, types, 64, 65, 66)                                       \
  PRODUCT_OF_REGISTERS(64, H, types, 32, 33, 34, 35, 36, 37)                         \
  PRODUCT_OF_REGISTERS(128, H, types, 64, 65, 66, 67, 68, 69)
// d (+)= a · b: a and the rows of b lie along the terms, in shared memory; or a is in registers, and b's columns lie along them.
PRODUCTS(bf16, "bf16.bf16")
PRODUCTS(f16, "f16.f16")
#else
template <class H>
struct IsBrain {
  static constexpr bool value = false;
};
template <>
struct IsBrain<bf16> {
  static constexpr bool value = true;
};
template <class H, int n>
static inline void productAlong(H, float (&d)[n], u64 a, u64 b, bool keeps) {
  standInAsk(d, 2 * n, IsBrain<H>::value, nullptr, a, b, false, keeps);
}
template <class H, int n>
static inline void productAcross(H, float (&d)[n], const u32 (&a)[4], u64 b, bool keeps) {
  standInAsk(d, 2 * n, IsBrain<H>::value, a, 0, b, true, keeps);
}
#endif

/** Leads a product to a panel: eight rows are 1024 bytes; `panel`: bytes from 64 columns to the next 64, where columns lie along the terms. */
static __device__ __forceinline__ u64 panelAt(const void* at, u32 panel) {
  return (u64)(sharedAddress(at) >> 4 & 0x3fff) | (u64)(panel >> 4) << 16 | (u64)(1024 >> 4) << 32 | (u64)1 << 62;
}
static __device__ __forceinline__ u64 furtherIn(u64 matrix, u32 bytes) { return matrix + (bytes >> 4); }

/** d [64, N] = a · bᵀ, rows of a tile of ROWS_OF_A against those of a tile of ROWS_OF_B. */
template <int ROWS_OF_A, int ROWS_OF_B, int n>
static __device__ __forceinline__ void rowsAgainstRows(float (&d)[n], u64 a, u64 b) {
#pragma unroll
  for (int kk = 0; kk < D / 16; kk++)
    productAlong(T(), d, furtherIn(a, kk / 4 * ROWS_OF_A * 128 + kk % 4 * 32), furtherIn(b, kk / 4 * ROWS_OF_B * 128 + kk % 4 * 32), kk > 0);
}
/** d [64, N] += w · b, weights in registers, 16 of them a step, with the rows of b. */
template <int steps, int n>
static __device__ __forceinline__ void weightsTimesRows(float (&d)[n], const u32 (&w)[steps][4], u64 b, bool keeps) {
#pragma unroll
  for (int kk = 0; kk < steps; kk++) productAcross(T(), d, w[kk], furtherIn(b, kk * 16 * 128), keeps || kk > 0);
}
#endif
