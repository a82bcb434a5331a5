// Running sums along an axis of [outer, size, inner], one block a line: every thread sums its part, the parts are summed
// in order, and every thread goes through its part again. T; Y.

typedef Number<T>::Wide W;

struct Cumsum {
  const T* x;
  Y* y;
  u32 size, inner;
};
KERNEL(cumsum, Cumsum, 256) {
  __shared__ W parts[256];
  const u64 line = blockIdx.x;
  const u64 first = line / p.inner * p.size * p.inner + line % p.inner;
  const u32 length = (p.size + 255) / 256;
  const u32 from = threadIdx.x * length, to = from + length < p.size ? from + length : p.size;
  W total = 0;
  for (u32 i = from; i < to; i++) total += wide(p.x[first + (u64)i * p.inner]);
  parts[threadIdx.x] = total;
  __syncthreads();
  if (threadIdx.x == 0) {
    W before = 0;
    for (int k = 0; k < 256; k++) {
      const W part = parts[k];
      parts[k] = before;
      before += part;
    }
  }
  __syncthreads();
  total = parts[threadIdx.x];
  for (u32 i = from; i < to; i++) {
    total += wide(p.x[first + (u64)i * p.inner]);
    p.y[first + (u64)i * p.inner] = narrow<Y>(total);
  }
}
