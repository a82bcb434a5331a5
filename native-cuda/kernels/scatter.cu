// Sums of updates at indices, each in ascending order of position: no atomics, one thread an output element. T.
// What checks an index is in gather.cu, which is put before this.

typedef Number<T>::Wide W;

/** y[o, place, i] = sum over j with indices[j] = place of updates[o, j, i]; `order` holds the j sorted by index, `sorted` the indices in that order. */
struct Scatter {
  const T* updates;
  const u32* sorted;
  const u32* order;
  T* y;
  u64 n, places, count, inner;
};
static __device__ __forceinline__ u64 firstNotBelow(const u32* sorted, u64 count, u64 place) {
  u64 low = 0, high = count;
  while (low < high) {
    const u64 middle = (low + high) / 2;
    if (sorted[middle] < place) low = middle + 1;
    else high = middle;
  }
  return low;
}
KERNEL(scatterAdd, Scatter, 256) {
  const u64 at = (u64)blockIdx.x * 256 + threadIdx.x;
  if (at >= p.n) return;
  const u64 i = at % p.inner, place = at / p.inner % p.places, o = at / p.inner / p.places;
  W total = 0;
  for (u64 k = firstNotBelow(p.sorted, p.count, place); k < p.count && p.sorted[k] == place; k++)
    total += wide(p.updates[(o * p.count + p.order[k]) * p.inner + i]);
  p.y[at] = narrow<T>(total);
}

/** The sort keys of indices: themselves, those that name no place noted and put behind all places. */
struct IndexKeys {
  const int* indices;
  u32* keys;
  Fault* fault;
  u64 n, places;
};
KERNEL(indexKeys, IndexKeys, 256) {
  const u64 at = (u64)blockIdx.x * 256 + threadIdx.x;
  if (at >= p.n) return;
  const int index = p.indices[at];
  checkedPlace(index, p.places, p.fault, 2);
  p.keys[at] = index >= 0 && (u64)index < p.places ? (u32)index : (u32)p.places;
}

/** y[o, place, i] = sum over j with indices[o, j, i] = place of updates[o, j, i] */
struct ScatterAlong {
  const T* updates;
  const int* indices;
  T* y;
  Fault* fault;
  u64 n, places, count, inner;
};
KERNEL(scatterAddAlong, ScatterAlong, 256) {
  const u64 at = (u64)blockIdx.x * 256 + threadIdx.x;
  if (at >= p.n) return;
  const u64 i = at % p.inner, place = at / p.inner % p.places, o = at / p.inner / p.places;
  W total = 0;
  for (u64 j = 0; j < p.count; j++) {
    const u64 from = (o * p.count + j) * p.inner + i;
    const int index = p.indices[from];
    if (place == 0) checkedPlace(index, p.places, p.fault, 3);
    if (index >= 0 && (u64)index == place) total += wide(p.updates[from]);
  }
  p.y[at] = narrow<T>(total);
}
