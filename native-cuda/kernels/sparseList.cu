// A list seen from the keys: for every 64 of them the runs that show them, blocks of queries ascending. A thread owns 64 keys and goes through
// all runs of the list, twice: to count, and to write.

struct Listing {
  const int* runs;  // [lists, blocks, slots] of Run
  int* columns;     // [lists, ceil(s / 64)] of Column
  int* entries;     // [lists, mostEntries] of Entry
  int* parts;       // [lists, mostParts]
  int* totals;      // [lists]
  i64 mostEntries;
  int mostParts, partEntries, s, blockSize, slots, blocks;
};

/** What of a run concerns the 64 keys from `first` on; none where keys is 0. */
static __device__ __forceinline__ Entry entryOf(const Listing& p, const Run& run, int block, int first) {
  const int last = p.blockSize - 1, high = run.high + last;
  int from = run.first > run.low ? run.first : run.low, to = run.end < high ? run.end : high;
  from = from > first ? from - first : 0;
  to = (to < p.s ? to : p.s) - first;
  if (to > 64) to = 64;
  // The edges of the run itself: the band is looked at query by query.
  return Entry{block * p.blockSize, from < to ? from | to << 8 : 0, run.low, run.high};
}

/** Calls `take` with every entry of a thread's keys, in order; all threads of a block meet inside. */
template <class Take>
static __device__ __forceinline__ void overEntries(const Listing& p, Run* shared, int first, const Take& take) {
  const i64 runs = (i64)p.blocks * p.slots;
  const int* list = p.runs + 4 * (i64)blockIdx.y * runs;
  for (i64 start = 0; start < runs; start += 128) {
    __syncthreads();
    const i64 mine = start + threadIdx.x;
    shared[threadIdx.x] = mine < runs ? runAt(list, mine) : Run{0, 0, 0, 0};
    __syncthreads();
    const int count = runs - start < 128 ? (int)(runs - start) : 128;
    for (int n = 0; n < count; n++) {
      const Run run = shared[n];
      if (run.end <= first || run.first >= first + 64) continue;
      const Entry entry = entryOf(p, run, (int)((start + n) / p.slots), first);
      if (entry.keys != 0) take(entry);
    }
  }
}

KERNEL(listCount, Listing, 128) {
  __shared__ __align__(16) Run shared[128];
  const int columns = (p.s + 63) / 64, number = blockIdx.x * 128 + threadIdx.x;
  int count = 0;
  overEntries(p, shared, number * 64, [&](const Entry&) { count++; });
  if (number < columns) p.columns[4 * ((i64)blockIdx.y * columns + number) + 1] = count;
}

/** Sums before every 64 keys of a list, by one block: a thread adds up a stretch of them. */
KERNEL(listPlace, Listing, 256) {
  __shared__ int sums[3][256];
  const int columns = (p.s + 63) / 64, each = (columns + 255) / 256, from = threadIdx.x * each;
  const int to = from + each < columns ? from + each : columns;
  int* const list = p.columns + 4 * (i64)blockIdx.x * columns;
  int before[3] = {0, 0, 0};
  const auto add = [&](int count) {
    const int parts = (count + p.partEntries - 1) / p.partEntries;
    before[0] += count;
    before[1] += parts > 1 ? parts - 1 : 0;
    before[2] += parts > 1 ? parts : 0;
  };
  for (int n = from; n < to; n++) add(list[4 * n + 1]);
  for (int i = 0; i < 3; i++) sums[i][threadIdx.x] = before[i];
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int i = 0; i < 3; i++) {
      int sum = 0;
      for (int n = 0; n < 256; n++) {
        const int own = sums[i][n];
        sums[i][n] = sum;
        sum += own;
      }
      // mostKeys of the op's attributes may promise too little: what has no room is passed over.
      if (i == 1) p.totals[blockIdx.x] = sum < p.mostParts ? sum : p.mostParts;
    }
  }
  __syncthreads();
  for (int i = 0; i < 3; i++) before[i] = sums[i][threadIdx.x];
  for (int n = from; n < to; n++) {
    const int count = list[4 * n + 1], full = before[1];
    const i64 room = p.mostEntries - before[0];
    list[4 * n] = before[0];
    if (count > room) list[4 * n + 1] = room > 0 ? (int)room : 0;
    list[4 * n + 2] = full;
    list[4 * n + 3] = before[2];
    add(count);
    for (int part = full; part < before[1] && part < p.mostParts; part++) p.parts[(i64)blockIdx.x * p.mostParts + part] = n;
  }
}

KERNEL(listWrite, Listing, 128) {
  __shared__ __align__(16) Run shared[128];
  const int columns = (p.s + 63) / 64, number = blockIdx.x * 128 + threadIdx.x;
  i64 at = number < columns ? p.columns[4 * ((i64)blockIdx.y * columns + number)] : 0;
  int* const entries = p.entries + 4 * (i64)blockIdx.y * p.mostEntries;
  overEntries(p, shared, number * 64, [&](const Entry& entry) {
    if (number >= columns || at >= p.mostEntries) return;
    *(Pack<int, 4>*)(entries + 4 * at++) = Pack<int, 4>{entry.query, entry.keys, entry.low, entry.high};
  });
}
