// y[i] = value, in words of the element's size. T: u8, u16, u32 or u64.

struct Fill {
  T* y;
  u64 value;
  u64 n;
};
KERNEL(fill, Fill, 256) {
  const u64 i = (u64)blockIdx.x * 256 + threadIdx.x;
  if (i < p.n) p.y[i] = (T)p.value;
}
