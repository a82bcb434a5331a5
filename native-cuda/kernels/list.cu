// What a list of attention means: runs of keys that blocks of queries see, and the same seen from the keys.

/** Neighbouring keys: query r of a block sees c of [first, end) with low + r <= c < high + r. */
struct Run {
  int first, end, low, high;
};
static __device__ __forceinline__ Run runAt(const int* runs, i64 slot) {
  const Pack<int, 4> words = *(const Pack<int, 4>*)(runs + 4 * slot);
  return Run{words.v[0], words.v[1], words.v[2], words.v[3]};
}

/** A run as the keys [64 n, 64 n + 64) see it: the block's first query, the keys [low byte, high byte) of theirs, and the band. */
struct Entry {
  int query, keys, low, high;
};
static __device__ __forceinline__ Entry entryAt(const int* entries, i64 i) {
  const Run words = runAt(entries, i);
  return Entry{words.first, words.end, words.low, words.high};
}
/** The keys of the 64 that query r of an entry's block sees: [from, to). */
static __device__ __forceinline__ int firstSeen(const Entry& entry, int first, int r) {
  const int from = first + (entry.keys & 255), low = entry.low + r;
  return from > low ? from : low;
}
static __device__ __forceinline__ int endSeen(const Entry& entry, int first, int r) {
  const int to = first + (entry.keys >> 8), high = entry.high + r;
  return to < high ? to : high;
}

/** Entries of 64 keys [start, start + count), cut into parts; the parts before it that are not the last of their keys, and its place among sums of parts. */
struct Column {
  int start, count, full, partial;
};
