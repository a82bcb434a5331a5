// The norm of a fixed-point stream's value, which is in no memory. T is float; norm.cu is put before this.

struct StreamNorm {
  Norm norm;
  const int* stream;
  float unit;
};
template <int threads, bool isHeld>
static __device__ __forceinline__ void streamNormRow(const StreamNorm& p, float* shared) {
  const Scale<threads, isHeld> scale(p.norm);
  const u32 length = p.norm.length;
  const FromStream from{p.stream + RowThreads<W, threads>::rowToRead(p.norm.rows) * length, length, p.unit};
  Row<float, threads, isHeld, FromStream> values(from, length);
  normRow<threads>(p.norm, RowThreads<float, threads>::row(), scale, values, shared);
}
NORM_KERNELS(streamNorm, StreamNorm)
