// fixedPointAdd and the norm of the new stream's value, a row at a time: the stream is written and read once. The bits are
// those of the two ops one after the other. T is float; norm.cu is put before this.

struct AddNorm {
  Norm norm;
  const int* stream;
  const float* f;
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
  __device__ __forceinline__ float operator()(u32 c) const {
    Counted now = {0, 0, 0, 0};
    step(p->stream[at + c], p->f[at + c], p->scale, p->bound, p->sign, now);
    if (writes) {
      p->out[at + c] = now.value;
      counted->saturated += now.saturated;
      counted->wrapped += now.wrapped;
      counted->nan += now.nan;
    }
    return (float)now.value * p->unit;
  }
};
template <int threads, bool isHeld>
static __device__ __forceinline__ void addNormRow(const AddNorm& p, float* shared) {
  const u64 row = RowThreads<float, threads>::row();
  Counted counted = {0, 0, 0, 0};
  const Adding adding{&p, rowToRead<threads>(p.norm.rows) * p.norm.length, row < p.norm.rows, &counted};
  const Row<float, threads, isHeld, Adding> values(adding, p.norm.length);
  normRow<threads>(p.norm, row, values, shared);
  addCounts(p.counts, counted);
}
KERNEL(addNormWarp, AddNorm, 256) { addNormRow<32, true>(p, (float*)0); }
KERNEL(addNormBlock, AddNorm, 256) {
  __shared__ float shared[33];
  addNormRow<256, true>(p, shared);
}
