// Stable sort of lines by their keys, four bits at a time, lowest first: one block a line, every thread a part of it. Each
// pass counts the digits of every part, sums the counts in the order (digit, part), and moves the elements there.
// KEY: u32 or u64.

struct Sort {
  KEY* keys;  // [2, lines, size]: where the passes read and write in turn
  u32* order; // [2, lines, size]: the positions the keys came from; the last pass leaves both in half passes % 2
  u64 lines, size;
  int passes;
};
KERNEL(sortLines, Sort, 256) {
  __shared__ u32 counts[16 * 256 + 1];
  const u64 half = p.lines * p.size, line = (u64)blockIdx.x * p.size;
  const u64 length = (p.size + 255) / 256;
  const u64 from = threadIdx.x * length, to = from + length < p.size ? from + length : p.size;
  for (u64 i = from; i < to; i++) p.order[line + i] = (u32)i;
  for (int pass = 0; pass < p.passes; pass++) {
    const u64 source = (pass & 1) * half + line, target = half - (pass & 1) * half + line;
    for (int digit = 0; digit < 16; digit++) counts[digit * 256 + threadIdx.x] = 0;
    __syncthreads();
    for (u64 i = from; i < to; i++) counts[(u32)(p.keys[source + i] >> (4 * pass) & 15) * 256 + threadIdx.x]++;
    __syncthreads();
    // Every thread sums 16 neighbours, thread 0 the sums, every thread its 16 again.
    __shared__ u32 sums[256];
    u32 sum = 0;
    for (int k = 0; k < 16; k++) sum += counts[threadIdx.x * 16 + k];
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
      u32 before = 0;
      for (int k = 0; k < 256; k++) {
        const u32 part = sums[k];
        sums[k] = before;
        before += part;
      }
    }
    __syncthreads();
    u32 before = sums[threadIdx.x];
    for (int k = 0; k < 16; k++) {
      const u32 part = counts[threadIdx.x * 16 + k];
      counts[threadIdx.x * 16 + k] = before;
      before += part;
    }
    __syncthreads();
    for (u64 i = from; i < to; i++) {
      const KEY key = p.keys[source + i];
      const u32 place = counts[(u32)(key >> (4 * pass) & 15) * 256 + threadIdx.x]++;
      p.keys[target + place] = key;
      p.order[target + place] = p.order[source + i];
    }
    __syncthreads();
  }
}
