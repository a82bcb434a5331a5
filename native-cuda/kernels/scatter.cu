// Sums of updates at indices, each in ascending order of position: no atomics, one thread an output element, or PACK of them. T.
// What checks an index is in gather.cu, which is put before this.

typedef Number<T>::Wide W;

/** starts[place]: how many of the sorted indices are below it. */
struct PlaceStarts {
  const u32* sorted;
  u64* starts;  // [places + 1]
  u64 places, count;
};
KERNEL(placeStarts, PlaceStarts, 256) {
  const u64 place = (u64)blockIdx.x * 256 + threadIdx.x;
  if (place > p.places) return;
  u64 low = 0, high = p.count;
  while (low < high) {
    const u64 middle = (low + high) / 2;
    if (p.sorted[middle] < place) low = middle + 1;
    else high = middle;
  }
  p.starts[place] = low;
}

/**
 * y[o, place, i] = sum over j with indices[j] = place of updates[o, j, i]; `order` holds the j sorted by index. A thread PACK neighbouring i.
 * With TO the sum is added to what y held, of float: places without updates are read and, but for a -0, not written.
 */
struct Scatter {
  const T* updates;
  const u64* starts;
  const u32* order;
  T* y;
  u64 packs, places, count, inner;
};
KERNEL(scatterAdd, Scatter, 256) {
  const u64 at = (u64)blockIdx.x * 256 + threadIdx.x;
  if (at >= p.packs) return;
  typedef Pack<T, PACK> Many;
  const u64 across = p.inner / PACK;
  const u64 i = at % across * PACK, place = at / across % p.places, o = at / across / p.places;
  W totals[PACK] = {};
  const u64 first = p.starts[place], end = p.starts[place + 1];
  for (u64 k = first; k < end; k++) {
    const Many update = *(const Many*)(p.updates + (o * p.count + p.order[k]) * p.inner + i);
#pragma unroll
    for (int j = 0; j < PACK; j++) totals[j] += wide(update.v[j]);
  }
  Many y;
#if TO
  const Many before = *(const Many*)(p.y + at * PACK);
  bool changes = first < end;
#pragma unroll
  for (int j = 0; j < PACK; j++) {
    y.v[j] = before.v[j] + totals[j];
    changes |= __float_as_uint(before.v[j]) == 0x80000000u;
  }
  if (!changes) return;
#else
#pragma unroll
  for (int j = 0; j < PACK; j++) y.v[j] = narrow<T>(totals[j]);
#endif
  *(Many*)(p.y + at * PACK) = y;
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
