// Written by packages/backend-cuda/test/printed.test.ts: `npm test -- printed.test.ts -u`; do not edit.
// Each of these is compiled behind kernels/prelude.cu and kernels/map.cu.

// One loop, four elements at once.
static __device__ __forceinline__ float compute(float a0, float a1) { const float x0 = wide(a0); const float x1 = wide(a1); return narrow<float>((x0 + x1)); }
struct Map {
  float* x0;
  const float* x1;
  const float* x2;
  i64 strides[3][1];
  u64 packs;
  u32 sizes[1];
};
KERNEL(map_add, Map, 256) {
  u32 rest = (u32)blockIdx.x * 256 + threadIdx.x;
  if (rest >= p.packs) return;
  i64 at0 = 0; i64 at1 = 0; i64 at2 = 0;
  at0 += (i64)(rest) * p.strides[0][0]; at1 += (i64)(rest) * p.strides[1][0]; at2 += (i64)(rest) * p.strides[2][0];
  const Pack<float, 4> v1 = *(const Pack<float, 4>*)(p.x1 + at1);
  const Pack<float, 4> v2 = *(const Pack<float, 4>*)(p.x2 + at2);
  Pack<float, 4> y;
#pragma unroll
  for (int j = 0; j < 4; j++) y.v[j] = compute(v1.v[j], v2.v[j]);
  *(Pack<float, 4>*)(p.x0 + at0) = y;
}

// A row added to every row of a matrix: two loops; 16 bytes of each operand are 4 elements.
static __device__ __forceinline__ float compute(float a0, float a1) { const float x0 = wide(a0); const float x1 = wide(a1); return narrow<float>((x0 + x1)); }
struct Map {
  float* x0;
  const float* x1;
  const float* x2;
  i64 strides[3][2];
  u64 packs;
  u32 sizes[2];
};
KERNEL(map_add, Map, 256) {
  u32 rest = (u32)blockIdx.x * 256 + threadIdx.x;
  if (rest >= p.packs) return;
  i64 at0 = 0; i64 at1 = 0; i64 at2 = 0;
  { const u32 next = rest / p.sizes[1]; const u32 i = rest - next * p.sizes[1]; at0 += (i64)(i) * p.strides[0][1]; at1 += (i64)(i) * p.strides[1][1]; at2 += (i64)(i) * p.strides[2][1]; rest = next; }
  at0 += (i64)(rest) * p.strides[0][0]; at1 += (i64)(rest) * p.strides[1][0]; at2 += (i64)(rest) * p.strides[2][0];
  const Pack<float, 4> v1 = *(const Pack<float, 4>*)(p.x1 + at1);
  const Pack<float, 4> v2 = *(const Pack<float, 4>*)(p.x2 + at2);
  Pack<float, 4> y;
#pragma unroll
  for (int j = 0; j < 4; j++) y.v[j] = compute(v1.v[j], v2.v[j]);
  *(Pack<float, 4>*)(p.x0 + at0) = y;
}

// A column added to every column: one element of it for all of a pack.
static __device__ __forceinline__ float compute(float a0, float a1) { const float x0 = wide(a0); const float x1 = wide(a1); return narrow<float>((x0 + x1)); }
struct Map {
  float* x0;
  const float* x1;
  const float* x2;
  i64 strides[3][2];
  u64 packs;
  u32 sizes[2];
};
KERNEL(map_add, Map, 256) {
  u32 rest = (u32)blockIdx.x * 256 + threadIdx.x;
  if (rest >= p.packs) return;
  i64 at0 = 0; i64 at1 = 0; i64 at2 = 0;
  { const u32 next = rest / p.sizes[1]; const u32 i = rest - next * p.sizes[1]; at0 += (i64)(i) * p.strides[0][1]; at1 += (i64)(i) * p.strides[1][1]; at2 += (i64)(i) * p.strides[2][1]; rest = next; }
  at0 += (i64)(rest) * p.strides[0][0]; at1 += (i64)(rest) * p.strides[1][0]; at2 += (i64)(rest) * p.strides[2][0];
  const Pack<float, 4> v1 = *(const Pack<float, 4>*)(p.x1 + at1);
  const float v2 = p.x2[at2];
  Pack<float, 4> y;
#pragma unroll
  for (int j = 0; j < 4; j++) y.v[j] = compute(v1.v[j], v2);
  *(Pack<float, 4>*)(p.x0 + at0) = y;
}

// Any strides, 2^31 elements and more: one element at a time, counted in 64 bits.
static __device__ __forceinline__ float compute(float a0, float a1) { const float x0 = wide(a0); const float x1 = wide(a1); return narrow<float>((x0 + x1)); }
struct Map {
  float* x0;
  const float* x1;
  const float* x2;
  i64 strides[3][3];
  u64 packs;
  u32 sizes[3];
};
KERNEL(map_add, Map, 256) {
  u64 rest = (u64)blockIdx.x * 256 + threadIdx.x;
  if (rest >= p.packs) return;
  i64 at0 = 0; i64 at1 = 0; i64 at2 = 0;
  { const u64 next = rest / p.sizes[2]; const u64 i = rest - next * p.sizes[2]; at0 += (i64)(i) * p.strides[0][2]; at1 += (i64)(i) * p.strides[1][2]; at2 += (i64)(i) * p.strides[2][2]; rest = next; }
  { const u64 next = rest / p.sizes[1]; const u64 i = rest - next * p.sizes[1]; at0 += (i64)(i) * p.strides[0][1]; at1 += (i64)(i) * p.strides[1][1]; at2 += (i64)(i) * p.strides[2][1]; rest = next; }
  at0 += (i64)(rest) * p.strides[0][0]; at1 += (i64)(rest) * p.strides[1][0]; at2 += (i64)(rest) * p.strides[2][0];
  const float v1 = p.x1[at1];
  const float v2 = p.x2[at2];
  p.x0[at0] = compute(v1, v2);
}

// bfloat16, eight at once.
static __device__ __forceinline__ bf16 compute(bf16 a0) { const float x0 = wide(a0); return narrow<bf16>(accurateExp(x0)); }
struct Map {
  bf16* x0;
  const bf16* x1;
  i64 strides[2][1];
  u64 packs;
  u32 sizes[1];
};
KERNEL(map_exp, Map, 256) {
  u32 rest = (u32)blockIdx.x * 256 + threadIdx.x;
  if (rest >= p.packs) return;
  i64 at0 = 0; i64 at1 = 0;
  at0 += (i64)(rest) * p.strides[0][0]; at1 += (i64)(rest) * p.strides[1][0];
  const Pack<bf16, 8> v1 = *(const Pack<bf16, 8>*)(p.x1 + at1);
  Pack<bf16, 8> y;
#pragma unroll
  for (int j = 0; j < 8; j++) y.v[j] = compute(v1.v[j]);
  *(Pack<bf16, 8>*)(p.x0 + at0) = y;
}
