// x + r and the norm of the sum, a row at a time: the sum is written and read once. The bits are those of the two ops one after
// the other. R: the increment; norm.cu is put before this.

struct AddNorm {
  Norm norm;
  const R* r;
  T* sum;  // may be x
};

/** Reads, adds, writes, and gives the sum as it is stored; past the last row it reads the first and writes nothing. */
struct Adding {
  const AddNorm* p;
  u64 at;
  bool writes;
  struct Loaded {
    Pack<T, 4> x;
    Pack<R, 4> r;
  };
  __device__ __forceinline__ Loaded load(u32 c) const {
    const u32 length = p->norm.length;
    return {loadFour(p->norm.x + at, c, length), loadFour(p->r + at, c, length)};
  }
  __device__ __forceinline__ void finish(u32 c, const Loaded& loaded, W* to) const {
#pragma unroll
    for (int j = 0; j < 4; j++) to[j] = wide(narrow<T>(wide(loaded.x.v[j]) + wide(loaded.r.v[j])));
    if (writes) writeFour(p->sum + at, c, p->norm.length, to);
  }
};
template <int threads>
static __device__ __forceinline__ void addNormRow(const AddNorm& p, W* shared) {
  const Scale<threads, true> scale(p.norm);
  const u64 row = RowThreads<W, threads>::row();
  const u32 length = p.norm.length;
  const Adding adding{&p, RowThreads<W, threads>::rowToRead(p.norm.rows) * length, row < p.norm.rows};
  Row<W, threads, true, Adding> values(adding, length);
  normRow<threads>(p.norm, row, scale, values, shared);
}
KERNEL_AHEAD(addNormWarp, AddNorm, 256) { addNormRow<32>(p, (W*)0); }
KERNEL_AHEAD(addNormBlock, AddNorm, 256) {
  __shared__ W shared[33];
  addNormRow<256>(p, shared);
}
