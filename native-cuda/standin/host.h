// Put before every kernel that the stand-in compiles for the host: CUDA's words in C++, and the link to the threads that
// threads.cc makes. Everything a kernel may use is here; what is missing does not compile, here or under CI.
#pragma once
#define REVNET_HOST 1

struct Dim3 {
  unsigned x, y, z;
};
/** What a running kernel shares with the stand-in. One block runs at a time, its threads taking turns. */
struct StandIn {
  Dim3 thread, block, threads, blocks;
  void* dynamicShared;
  void (*barrier)();
  /** The value that lane `from` of this warp gave to the same call. */
  unsigned long long (*exchange)(unsigned long long value, unsigned from);
  /** What every lane of this warp gave to the same call; readable until the next one. */
  void (*meet)(const void* mine, const void** all);
  unsigned long sharedBytes;
  /** Goes on when `isReady(on, with)`. */
  void (*wait)(bool (*isReady)(const void* on, unsigned with), const void* on, unsigned with);
  /** What goes on beside the threads: done at once, or when no thread can go on without it (REVNET_STANDIN_ORDER). */
  void (*later)(void (*run)(void* what), void* what);
  /** The thread waits for all work before its kernel (chain.cu); and what it reads of memory before it does. */
  void (*awaited)();
  void (*ahead)(const void* from, unsigned long bytes);
};
static StandIn* standIn;
extern "C" void standInBind(StandIn* to) { standIn = to; }
#ifdef STANDIN_COOPERATIVE
extern "C" const int standInCooperative = 1;
#else
extern "C" const int standInCooperative = 0;
#endif

#define __device__
#define __forceinline__ inline
#define __restrict__
#define __shared__ static
#define __align__(n) __attribute__((aligned(n)))
#define threadIdx (standIn->thread)
#define blockIdx (standIn->block)
#define blockDim (standIn->threads)
#define gridDim (standIn->blocks)
#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")

// A kernel takes one struct: on the host a function of its address, whatever is in it.
#define STANDIN_KERNEL(name, Parameters)                                   \
  static void name##Body(const Parameters& p);                             \
  extern "C" void name(const void* p) { name##Body(*(const Parameters*)p); } \
  extern "C" const unsigned name##Bytes = sizeof(Parameters);                \
  static void name##Body(const Parameters& p)
#define KERNEL(name, Parameters, threads) STANDIN_KERNEL(name, Parameters)
#define KERNEL_SHARING(name, Parameters, threads, blocks) STANDIN_KERNEL(name, Parameters)
#define DYNAMIC_SHARED(T, name) T* const name = (T*)standIn->dynamicShared

static inline void __syncthreads() { standIn->barrier(); }
static inline void __syncwarp() { standIn->exchange(0, 0); }
template <class T>
static inline T standInShuffle(T value, unsigned from) {
  unsigned long long bits = 0;
  __builtin_memcpy(&bits, &value, sizeof value);
  bits = standIn->exchange(bits, from);
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}
template <class T>
static inline T __shfl_xor_sync(unsigned, T value, int mask) {
  return standInShuffle(value, (threadIdx.x & 31) ^ mask);
}
template <class T>
static inline T __shfl_sync(unsigned, T value, int from) {
  return standInShuffle(value, from & 31);
}
template <class T>
static inline T __shfl_up_sync(unsigned, T value, int by) {
  const int lane = threadIdx.x & 31;
  return standInShuffle(value, lane < by ? lane : lane - by);
}
static inline unsigned __ballot_sync(unsigned, int mine) {
  const void* lanes[32];
  standIn->meet(&mine, lanes);
  unsigned all = 0;
  for (int i = 0; i < 32; i++) all |= (unsigned)(*(const int*)lanes[i] != 0) << i;
  __syncwarp();
  return all;
}
static inline int __all_sync(unsigned lanes, int mine) { return __ballot_sync(lanes, mine) == 0xffffffffu; }
static inline int __popc(unsigned v) { return __builtin_popcount(v); }
static inline int atomicAdd(int* at, int value) { const int old = *at; *at += value; return old; }
static inline unsigned atomicCAS(unsigned* at, unsigned is, unsigned to) { const unsigned old = *at; if (old == is) *at = to; return old; }

static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
static inline float __uint_as_float(unsigned u) { float f; __builtin_memcpy(&f, &u, 4); return f; }
static inline unsigned __float_as_uint(float f) { unsigned u; __builtin_memcpy(&u, &f, 4); return u; }
static inline long long __double_as_longlong(double d) { long long u; __builtin_memcpy(&u, &d, 8); return u; }
static inline int __float2int_rn(float f) {
  return f != f ? 0 : f >= 2147483648.f ? 2147483647 : f < -2147483648.f ? (-2147483647 - 1) : (int)__builtin_rintf(f);
}

#define STANDIN_UNARY(name) \
  static inline float name##f(float x) { return __builtin_##name##f(x); } \
  static inline double name(double x) { return __builtin_##name(x); }
STANDIN_UNARY(exp) STANDIN_UNARY(expm1) STANDIN_UNARY(log) STANDIN_UNARY(log1p) STANDIN_UNARY(sqrt) STANDIN_UNARY(sin)
STANDIN_UNARY(cos) STANDIN_UNARY(tanh) STANDIN_UNARY(erf) STANDIN_UNARY(floor) STANDIN_UNARY(ceil) STANDIN_UNARY(trunc)
STANDIN_UNARY(rint) STANDIN_UNARY(fabs)
static inline double pow(double a, double b) { return __builtin_pow(a, b); }
static inline double atan2(double a, double b) { return __builtin_atan2(a, b); }
static inline float fmaf(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
static inline double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
static inline float fmaxf(float a, float b) { return __builtin_fmaxf(a, b); }
static inline float powf(float a, float b) { return __builtin_powf(a, b); }

#include "hopper.h"
