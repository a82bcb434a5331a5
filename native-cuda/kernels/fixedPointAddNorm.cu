// fixedPointAdd and the norm of the new stream's value, a row at a time: the stream is written and read once. The bits are
// those of the two ops one after the other. T is float; F: the increment; norm.cu is put before this.

struct AddNorm {
  Norm norm;
  const int* stream;
  const F* f;
  int* out;  // may be the stream
  int* counts;
  float scale, bound, unit;
  int sign;
};

/** Reads, adds, writes, and gives the new value; past the last row it reads the first and writes nothing. */
struct Adding {
  const AddNorm* p;
  u64 at;
  bool writes;
  Counted* counted;
  struct Loaded {
    Pack<int, 4> x;
    Pack<F, 4> f;
  };
  __device__ __forceinline__ Loaded load(u32 c) const {
    const u32 length = p->norm.length;
    return {loadFour(p->stream + at, c, length), loadFour(p->f + at, c, length)};
  }
  __device__ __forceinline__ void finish(u32 c, const Loaded& loaded, float* to) const {
    const u32 length = p->norm.length;
    Counted now = {0, 0, 0, 0};
    int sum[4];
#pragma unroll
    for (int j = 0; j < 4; j++) {
      to[j] = 0;
      if (!hasOne(c + j, length)) continue;
      step(loaded.x.v[j], wide(loaded.f.v[j]), p->scale, p->bound, p->sign, now);
      sum[j] = now.value;
      to[j] = (float)now.value * p->unit;
    }
    if (!writes) return;
    writeFour(p->out + at, c, length, sum);
    counted->saturated += now.saturated;
    counted->wrapped += now.wrapped;
    counted->nan += now.nan;
  }
};
template <int threads>
static __device__ __forceinline__ void addNormRow(const AddNorm& p, float* shared) {
  const Scale<threads, true> scale(p.norm);
  const u64 row = RowThreads<float, threads>::row();
  const u32 length = p.norm.length;
  Counted counted = {0, 0, 0, 0};
  const Adding adding{&p, RowThreads<W, threads>::rowToRead(p.norm.rows) * length, row < p.norm.rows, &counted};
  Row<float, threads, true, Adding> values(adding, length);
  normRow<threads>(p.norm, row, scale, values, shared);
  addCounts(p.counts, counted);
}
KERNEL_AHEAD(addNormWarp, AddNorm, 256) { addNormRow<32>(p, (float*)0); }
KERNEL_AHEAD(addNormBlock, AddNorm, 256) {
  __shared__ float shared[33];
  addNormRow<256>(p, shared);
}
