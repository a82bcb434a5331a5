// What kernels of attention share: operands of heads, whatever their strides, and the numbers they are computed with. T.

typedef Number<T>::Wide W;

static __device__ __forceinline__ float expOf(float v) { return expf(v); }
static __device__ __forceinline__ double expOf(double v) { return exp(v); }
static __device__ __forceinline__ float logOf(float v) { return logf(v); }
static __device__ __forceinline__ double logOf(double v) { return log(v); }

/** An operand [b, heads, rows, columns] whose columns lie together; null where a kernel is not given it. */
template <class Element>
struct Operand {
  Element* at;
  i64 batch, head, row;  // strides
  /** The first element of head number `index` of all batches. */
  __device__ __forceinline__ Element* of(u64 index, int heads) const {
    return at + (i64)(index / (u32)heads) * batch + (i64)(index % (u32)heads) * head;
  }
};

/** Head number `index` of all batches belongs to the key head of its group. */
static __device__ __forceinline__ u64 keyHeadOf(u64 index, int heads, int keyHeads) {
  const u64 b = index / heads, h = index % heads;
  return b * keyHeads + h / (heads / keyHeads);
}

static __device__ __forceinline__ W dot(const T* a, const T* b, int n) {
  W sum = 0;
  for (int c = 0; c < n; c++) sum = multiplyAdd(wide(a[c]), wide(b[c]), sum);
  return sum;
}
