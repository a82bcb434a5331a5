// A list seen from the keys: for every 64 of them, a column, the runs that show them, blocks of queries ascending. A warp owns COLUMNS columns
// and goes through all runs of the list, one a lane, twice: to count, and to write.

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

/** Calls `take(column, whether there is one, entry)` for every run and each of the warp's columns: all lanes at once, runs ascending with the lanes. */
template <class Take>
static __device__ __forceinline__ void overEntries(const Listing& p, int column, const Take& take) {
  const i64 runs = (i64)p.blocks * p.slots;
  const int* list = p.runs + 4 * (i64)blockIdx.y * runs;
  const int from = column * 64, to = (column + COLUMNS) * 64;
  for (i64 start = 0; start < runs; start += 32) {
    const i64 mine = start + (threadIdx.x & 31);
    Run run = {0, 0, 0, 0};
    if (mine < runs) run = runAt(list, mine);
    if (__ballot_sync(0xffffffffu, run.end > from && run.first < to && run.end > run.first) == 0) continue;
    const int block = (int)(mine / p.slots);
#pragma unroll
    for (int n = 0; n < COLUMNS; n++) {
      const Entry entry = entryOf(p, run, block, (column + n) * 64);
      take(n, entry.keys != 0, entry);
    }
  }
}
static __device__ __forceinline__ int columnOfWarp() { return ((int)blockIdx.x * 8 + (int)(threadIdx.x >> 5)) * COLUMNS; }

KERNEL(listCount, Listing, 256) {
  const int columns = (p.s + 63) / 64, first = columnOfWarp();
  int counts[COLUMNS] = {};
  overEntries(p, first, [&](int n, bool isThere, const Entry&) { counts[n] += isThere; });
#pragma unroll
  for (int n = 0; n < COLUMNS; n++) {
    const int count = foldWarp<Sum>(counts[n]);
    if ((threadIdx.x & 31) == 0 && first + n < columns) p.columns[4 * ((i64)blockIdx.y * columns + first + n) + 1] = count;
  }
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

KERNEL(listWrite, Listing, 256) {
  const int columns = (p.s + 63) / 64, first = columnOfWarp();
  i64 at[COLUMNS];
#pragma unroll
  for (int n = 0; n < COLUMNS; n++) at[n] = first + n < columns ? p.columns[4 * ((i64)blockIdx.y * columns + first + n)] : 0;
  int* const entries = p.entries + 4 * (i64)blockIdx.y * p.mostEntries;
  const u32 before = (1u << (threadIdx.x & 31)) - 1;
  overEntries(p, first, [&](int n, bool isThere, const Entry& entry) {
    const u32 all = __ballot_sync(0xffffffffu, isThere);
    const i64 place = at[n] + __popc(all & before);
    if (isThere && place < p.mostEntries) *(Pack<int, 4>*)(entries + 4 * place) = Pack<int, 4>{entry.query, entry.keys, entry.low, entry.high};
    at[n] += __popc(all);
  });
}
