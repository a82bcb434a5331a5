// Stable sort of lines by their keys, four bits at a time, lowest first. A part of a line is what one thread counts and moves, in its order: the
// counts of every digit's parts are summed in the order (digit, part), which says where each goes. Of short lines a block takes one, with all
// passes; of one long line every pass is three kernels over as many blocks as it fills. KEY: u32 or u64.

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

/** A pass over one line, as kernels of their own. */
struct SortPass {
  KEY* keys;
  u32* order;
  u32* counts;  // [16, parts], then where each goes
  u64 size;
  u32 length, parts;  // of a part, and how many there are: whole blocks
  int pass;
};
/** How many of every digit each part has. */
KERNEL(countDigits, SortPass, 256) {
  __shared__ u32 counts[16][256];
  const u32 part = blockIdx.x * 256 + threadIdx.x;
  const u64 source = (p.pass & 1) * p.size, from = (u64)part * p.length;
  const u64 to = from + p.length < p.size ? from + p.length : p.size;
  for (int digit = 0; digit < 16; digit++) counts[digit][threadIdx.x] = 0;
  for (u64 i = from; i < to; i++) {
    if (p.pass == 0) p.order[i] = (u32)i;
    counts[(u32)(p.keys[source + i] >> (4 * p.pass) & 15)][threadIdx.x]++;
  }
  for (int digit = 0; digit < 16; digit++) p.counts[digit * p.parts + part] = counts[digit][threadIdx.x];
}
/** Counts to the sums of those before them: one block, 4096 at a time. */
KERNEL(sumCounts, SortPass, 1024) {
  __shared__ u32 sums[1024];
  u32 before = 0;
  for (u32 tile = 0; tile < 16 * p.parts; tile += 4096) {
    typedef Pack<u32, 4> Four;
    Four* const at = (Four*)(p.counts + tile) + threadIdx.x;
    const Four own = *at;
    u32 sum = own.v[0] + own.v[1] + own.v[2] + own.v[3];
    sums[threadIdx.x] = sum;
    __syncthreads();
    for (u32 step = 1; step < 1024; step *= 2) {
      const u32 other = threadIdx.x >= step ? sums[threadIdx.x - step] : 0;
      __syncthreads();
      sum += other;
      sums[threadIdx.x] = sum;
      __syncthreads();
    }
    const u32 all = sums[1023];
    u32 place = before + sum - (own.v[0] + own.v[1] + own.v[2] + own.v[3]);
    Four places;
    for (int k = 0; k < 4; k++) {
      places.v[k] = place;
      place += own.v[k];
    }
    *at = places;
    before += all;
    __syncthreads();
  }
}
KERNEL(moveByDigit, SortPass, 256) {
  __shared__ u32 places[16][256];
  const u32 part = blockIdx.x * 256 + threadIdx.x;
  const u64 source = (p.pass & 1) * p.size, target = p.size - source, from = (u64)part * p.length;
  const u64 to = from + p.length < p.size ? from + p.length : p.size;
  for (int digit = 0; digit < 16; digit++) places[digit][threadIdx.x] = p.counts[digit * p.parts + part];
  for (u64 i = from; i < to; i++) {
    const KEY key = p.keys[source + i];
    const u32 place = places[(u32)(key >> (4 * p.pass) & 15)][threadIdx.x]++;
    p.keys[target + place] = key;
    p.order[target + place] = p.order[source + i];
  }
}
