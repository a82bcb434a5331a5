// Put before every kernel: the element types, and what numbers they are computed with. No file here includes another, so
// that nvcc, NVRTC and the stand-in (standin/host.h) compile the same text.

typedef signed char i8;
typedef unsigned char u8;
typedef short i16;
typedef unsigned short u16;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;

#ifndef REVNET_HOST
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)
// A kernel takes one struct of parameters, packed by the host as C lays it out (parameters.ts).
#define KERNEL(name, Parameters, threads) \
  extern "C" __global__ void __launch_bounds__(threads) name(const __grid_constant__ Parameters p)
// The same with so few registers that this many blocks share a multiprocessor.
#define KERNEL_SHARING(name, Parameters, threads, blocks) \
  extern "C" __global__ void __launch_bounds__(threads, blocks) name(const __grid_constant__ Parameters p)
#define DYNAMIC_SHARED(T, name)                                   \
  extern __shared__ __align__(16) unsigned char dynamicShared[]; \
  T* const name = (T*)dynamicShared
#endif

struct bf16 {
  u16 bits;
};
struct f16 {
  u16 bits;
};
struct truth {
  u8 value;
};

static __device__ __forceinline__ float wide(float v) { return v; }
static __device__ __forceinline__ double wide(double v) { return v; }
static __device__ __forceinline__ int wide(int v) { return v; }
static __device__ __forceinline__ int wide(i16 v) { return v; }
static __device__ __forceinline__ int wide(i8 v) { return v; }
static __device__ __forceinline__ int wide(u8 v) { return v; }
static __device__ __forceinline__ int wide(truth v) { return v.value; }
static __device__ __forceinline__ float wide(bf16 v) { return __uint_as_float((u32)v.bits << 16); }
static __device__ __forceinline__ float wide(f16 v) {
#ifdef REVNET_HOST
  _Float16 half;
  __builtin_memcpy(&half, &v, 2);
  return (float)half;
#else
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(v.bits));
  return wide;
#endif
}

/** The number type an element type is computed with: float32 for the short floats, int for the integers. */
template <class T>
struct Number {
  typedef int Wide;
};
template <>
struct Number<float> {
  typedef float Wide;
};
template <>
struct Number<double> {
  typedef double Wide;
};
template <>
struct Number<bf16> {
  typedef float Wide;
};
template <>
struct Number<f16> {
  typedef float Wide;
};

/** What stores a number: floats round to nearest even, integers wrap. */
template <class T>
struct Narrow {
  template <class W>
  static __device__ __forceinline__ T from(W v) {
    return (T)v;
  }
};
template <>
struct Narrow<truth> {
  template <class W>
  static __device__ __forceinline__ truth from(W v) {
    return truth{(u8)(v != 0)};
  }
};
template <>
struct Narrow<bf16> {
  template <class W>
  static __device__ __forceinline__ bf16 from(W wide) {
    const float v = (float)wide;
#ifdef REVNET_HOST
    const u32 b = __float_as_uint(v);
    if ((b & 0x7fffffffu) > 0x7f800000u) return bf16{(u16)0x7fff};
    return bf16{(u16)((b + 0x7fffu + ((b >> 16) & 1u)) >> 16)};
#else
    u16 bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(v));
    return bf16{bits};
#endif
  }
};
template <>
struct Narrow<f16> {
  template <class W>
  static __device__ __forceinline__ f16 from(W wide) {
    const float v = (float)wide;
    f16 out;
#ifdef REVNET_HOST
    const _Float16 half = (_Float16)v;
    __builtin_memcpy(&out, &half, 2);
#else
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(out.bits) : "f"(v));
#endif
    return out;
  }
};
template <class T, class W>
static __device__ __forceinline__ T narrow(W v) {
  return Narrow<T>::from(v);
}

/** Between kinds of numbers: floats become integers toward zero, saturating, NaN as 0; integers saturate. */
template <class W>
static __device__ __forceinline__ int saturate(W v, int low, int high) {
  if (v != v) return 0;
  return v >= (W)high ? high : v <= (W)low ? low : (int)v;
}
template <class T>
struct Cast {
  template <class W>
  static __device__ __forceinline__ T from(W v) {
    return narrow<T>(v);
  }
};
template <>
struct Cast<int> {
  template <class W>
  static __device__ __forceinline__ int from(W v) {
    return saturate(v, -2147483647 - 1, 2147483647);
  }
};
template <>
struct Cast<i16> {
  template <class W>
  static __device__ __forceinline__ i16 from(W v) {
    return (i16)saturate(v, -32768, 32767);
  }
};
template <>
struct Cast<i8> {
  template <class W>
  static __device__ __forceinline__ i8 from(W v) {
    return (i8)saturate(v, -128, 127);
  }
};
template <>
struct Cast<u8> {
  template <class W>
  static __device__ __forceinline__ u8 from(W v) {
    return (u8)saturate(v, 0, 255);
  }
};

// JavaScript's minimum and maximum: NaN if either is, and -0 below 0.
template <class W>
static __device__ __forceinline__ W lesser(W a, W b) {
  return a != a ? a : b != b ? b : a < b ? a : b < a ? b : (a == (W)0 && 1 / (double)a < 0) ? a : b;
}
template <class W>
static __device__ __forceinline__ W greater(W a, W b) {
  return a != a ? a : b != b ? b : a > b ? a : b > a ? b : (a == (W)0 && 1 / (double)a < 0) ? b : a;
}
static __device__ __forceinline__ int lesser(int a, int b) { return a < b ? a : b; }
static __device__ __forceinline__ int greater(int a, int b) { return a > b ? a : b; }

/** a · b + c, rounded once where it is rounded. */
static __device__ __forceinline__ float multiplyAdd(float a, float b, float c) { return fmaf(a, b, c); }
static __device__ __forceinline__ double multiplyAdd(double a, double b, double c) { return fma(a, b, c); }
static __device__ __forceinline__ int multiplyAdd(int a, int b, int c) { return (int)((u32)a * (u32)b + (u32)c); }

/** 2^v within 2 units in the last place: for what is rounded to 16 bits. */
static __device__ __forceinline__ float exp2Of(float v) {
#ifdef REVNET_HOST
  return __builtin_exp2f(v);
#else
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(v));
  return y;
#endif
}

/** V elements read or written at once. */
template <class T, int V>
struct alignas(sizeof(T) * V) Pack {
  T v[V];
};

/** The place of element i among the loops of a strided operand, the innermost last. */
static __device__ __forceinline__ i64 placeOf(u64 i, int rank, const u32* sizes, const i64* strides) {
  i64 at = 0;
  for (int d = rank - 1; d > 0; d--) {
    const u64 rest = i / sizes[d];
    at += (i64)(i - rest * sizes[d]) * strides[d];
    i = rest;
  }
  return rank == 0 ? 0 : at + (i64)i * strides[0];
}
