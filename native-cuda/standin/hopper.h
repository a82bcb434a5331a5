// Hopper's own words on the host (kernels/hopper.cu has them in PTX): barriers that count bytes, copies of boxes by tensor maps, and
// products of four warps that read shared memory through descriptors and go on while the threads do. What a wrong descriptor reads is
// wrong here too; and what the hardware does not promise does not happen: a copy's bytes and a product's sums come as late as they may
// (a copy's as early, where REVNET_STANDIN_ORDER=reverse), and what changes under a product that is under way ends the process.
#pragma once

extern "C" int fprintf(void*, const char*, ...);
extern "C" void* stderr;
static inline void standInRefuse(const char* why) {
  fprintf(stderr, "stand-in: %s (block %u %u %u, thread %u)\n", why, blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x);
  __builtin_abort();
}

// -- addresses in shared memory: 18 bits, whose low ten are those of the host's

static inline unsigned char* standInOrigin() { return (unsigned char*)((unsigned long)standIn->dynamicShared & ~1023ul); }
static inline unsigned sharedAddress(const void* at) {
  const long from = (const unsigned char*)at - standInOrigin();
  if (from < 0 || from >= (long)standIn->sharedBytes + 1024) standInRefuse("an address is outside of dynamic shared memory");
  return (unsigned)from;
}
/** The byte that the 128-byte swizzle puts at an address: bits 4 to 6 are turned round by bits 7 to 9. */
static inline unsigned char* standInSwizzled(unsigned address) {
  address ^= address >> 3 & 0x70;
  if (address >= standIn->sharedBytes + 1024) standInRefuse("a descriptor reads behind shared memory");
  return standInOrigin() + address;
}

// -- barriers

typedef unsigned long long Barrier;
struct StandInBarrier {
  int bytes;
  unsigned short pending, countAndPhase;
};
static inline void standInAdvance(StandInBarrier* b) {
  if (b->pending != 0 || b->bytes != 0) return;
  b->pending = b->countAndPhase >> 1;
  b->countAndPhase ^= 1;
}
static inline void barrierStart(Barrier* at, unsigned count) {
  const StandInBarrier fresh = {0, (unsigned short)count, (unsigned short)(count << 1)};
  __builtin_memcpy(at, &fresh, 8);
}
static inline void barriersStarted() {}
static inline void barrierArrive(Barrier* at) {
  StandInBarrier* b = (StandInBarrier*)at;
  if (b->pending == 0) standInRefuse("more threads arrived at a barrier than it counts");
  b->pending--;
  standInAdvance(b);
}
static inline void barrierExpect(Barrier* at, unsigned bytes) {
  ((StandInBarrier*)at)->bytes += (int)bytes;
  barrierArrive(at);
}
static inline bool standInIsPast(const void* at, unsigned parity) { return (((const StandInBarrier*)at)->countAndPhase & 1u) != parity; }
static inline void barrierWait(Barrier* at, unsigned parity) { standIn->wait(standInIsPast, at, parity); }

// -- copies of boxes: a map as the stand-in's cuTensorMapEncodeTiled (driver.cc) fills it

struct alignas(64) TensorMap {
  const unsigned char* at;
  unsigned sizes[4];
  long long steps[3];  // bytes
  unsigned box[4];
  unsigned elementBytes, swizzle, filler[14];
};
static_assert(sizeof(TensorMap) == 128, "as NVIDIA's");
struct StandInCopy {
  const TensorMap* map;
  unsigned to;
  Barrier* barrier;
  int from[4];
};
static inline void standInCopyBox(void* what) {
  StandInCopy copy = *(StandInCopy*)what;
  __builtin_free(what);
  const TensorMap& map = *copy.map;
  unsigned at = copy.to;
  unsigned i[4];
  for (i[3] = 0; i[3] < map.box[3]; i[3]++)
    for (i[2] = 0; i[2] < map.box[2]; i[2]++)
      for (i[1] = 0; i[1] < map.box[1]; i[1]++)
        for (i[0] = 0; i[0] < map.box[0]; i[0]++, at += 2) {
          long long from = 0;
          bool isInside = true;
          for (int k = 0; k < 4; k++) {
            const long long place = (long long)copy.from[k] + i[k];
            isInside = isInside && place >= 0 && place < map.sizes[k];
            from += place * (k == 0 ? 2 : map.steps[k - 1]);
          }
          unsigned short v = 0;
          if (isInside) __builtin_memcpy(&v, map.at + from, 2);
          __builtin_memcpy(standInSwizzled(at), &v, 2);
        }
  StandInBarrier* b = (StandInBarrier*)copy.barrier;
  b->bytes -= (int)(at - copy.to);
  standInAdvance(b);
}
static inline void copyBox(void* to, const TensorMap* map, Barrier* barrier, int column, int row, int head, int batch) {
  StandInCopy* copy = (StandInCopy*)__builtin_malloc(sizeof(StandInCopy));
  *copy = {map, sharedAddress(to), barrier, {column, row, head, batch}};
  if (map->elementBytes != 2 || map->swizzle != 3 || map->box[0] != 64) standInRefuse("a box is not of swizzled rows of 128 bytes");
  if (copy->to % 1024 != 0) standInRefuse("a swizzled box begins between 1024 bytes");
  standIn->later(standInCopyBox, copy);
}

// -- products of four warps

/** A descriptor's fields, and the byte of an element that it leads to. */
struct StandInMatrix {
  unsigned start, leading, stride;
  explicit StandInMatrix(unsigned long long d)
      : start((unsigned)(d & 0x3fff) << 4), leading((unsigned)(d >> 16 & 0x3fff) << 4), stride((unsigned)(d >> 32 & 0x3fff) << 4) {
    if (d >> 62 != 1) standInRefuse("a descriptor is not of the 128-byte swizzle");
    if ((d >> 49 & 7) != 0) standInRefuse("a descriptor's base offset is not 0");
  }
  /** Rows lie along k: 64 elements of a row together, eight rows an atom. */
  unsigned short alongK(unsigned row, unsigned k) const { return at(start + row / 8 * stride + row % 8 * 128 + k * 2); }
  /** Columns lie along k: 64 rows together, eight k an atom. */
  unsigned short acrossK(unsigned row, unsigned k) const {
    return at(start + row / 64 * leading + row % 64 * 2 + k / 8 * stride + k % 8 * 128);
  }
  static unsigned short at(unsigned address) {
    unsigned short v;
    __builtin_memcpy(&v, standInSwizzled(address & 0x3ffff), 2);
    return v;
  }
};
template <bool isBrain>
static inline float standInFloat(unsigned short bits) {
  if (isBrain) return __uint_as_float((unsigned)bits << 16);
  _Float16 half;
  __builtin_memcpy(&half, &bits, 2);
  return (float)half;
}

/** A product that a thread has asked for and not waited for. */
struct StandInProduct {
  float* sums;
  float before[128];     // what the sums were, where no other product on them is under way
  const unsigned* a[4];  // of the four lanes that hold this lane's rows; null: in shared memory
  unsigned long long left, right;
  unsigned long long seen;  // a hash of all it reads
  int n, group;
  bool isBrain, isAcross, keeps, isFirst;
};
static constexpr int STANDIN_PRODUCTS = 96;
static StandInProduct* standInProducts[1024];
static int standInProductCount[1024];
static int standInGroup[1024];
static bool standInFenced[1024];
static constexpr unsigned STANDIN_POISON = 0xffbadbadu;

static inline void standInPoison(StandInProduct& p) {
  for (int i = 0; i < p.n / 2; i++) {
    p.before[i] = p.sums[i];
    p.sums[i] = __uint_as_float(STANDIN_POISON);
  }
  p.isFirst = true;
}
/** The operands of this thread's part of a product: rows g and g + 8 of its warp's sixteen, columns 2t and 2t + 1 of every eight. */
struct StandInPart {
  unsigned short a[2][16], b[64][16];
  StandInPart(const StandInProduct& p) {
    const unsigned warp = threadIdx.x / 32 % 4, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    for (unsigned k = 0; k < 16; k++)
      for (unsigned h = 0; h < 2; h++) {
        if (p.a[0] == nullptr) a[h][k] = StandInMatrix(p.left).alongK(warp * 16 + g + 8 * h, k);
        else a[h][k] = (unsigned short)(p.a[k % 8 / 2][h + k / 8 * 2] >> (16 * (k & 1)));
      }
    const StandInMatrix right(p.right);
    for (int c = 0; c < p.n / 4; c++)
      for (unsigned k = 0; k < 16; k++) {
        const unsigned column = (unsigned)c / 2 * 8 + 2 * t + ((unsigned)c & 1);
        b[c][k] = p.isAcross ? right.acrossK(column, k) : right.alongK(column, k);
      }
  }
  unsigned long long hash(int n) const {
    unsigned long long h = 1469598103934665603ull;
    for (int i = 0; i < 32; i++) h = (h ^ a[i / 16][i % 16]) * 1099511628211ull;
    for (int i = 0; i < n / 4 * 16; i++) h = (h ^ b[i / 16][i % 16]) * 1099511628211ull;
    return h;
  }
};
template <bool isBrain>
static inline void standInMultiply(float* sums, const StandInPart& part, int n) {
  float a[2][16];
  for (int i = 0; i < 32; i++) a[i / 16][i % 16] = standInFloat<isBrain>(part.a[i / 16][i % 16]);
  for (int c = 0; c < n / 4; c++) {
    float b[16];
    for (int k = 0; k < 16; k++) b[k] = standInFloat<isBrain>(part.b[c][k]);
    for (int h = 0; h < 2; h++) {
      float sum = sums[c / 2 * 4 + 2 * h + (c & 1)];
      for (int k = 0; k < 16; k++) sum += a[h][k] * b[k];
      sums[c / 2 * 4 + 2 * h + (c & 1)] = sum;
    }
  }
}

static inline void productsFence() { standInFenced[threadIdx.x] = true; }
static inline void standInAsk(float* sums, int n, bool isBrain, const unsigned* a, unsigned long long left, unsigned long long right, bool isAcross, bool keeps) {
  const unsigned me = threadIdx.x;
  if (!standInFenced[me]) standInRefuse("a product is asked for without a fence after the last wait");
  if (standInProducts[me] == nullptr) standInProducts[me] = (StandInProduct*)__builtin_malloc(STANDIN_PRODUCTS * sizeof(StandInProduct));
  if (standInProductCount[me] == STANDIN_PRODUCTS) standInRefuse("too many products are under way");
  const void* lanes[32];
  standIn->meet(a, lanes);
  StandInProduct& p = standInProducts[me][standInProductCount[me]++];
  p.sums = sums;
  p.n = n;
  p.isBrain = isBrain;
  p.isAcross = isAcross;
  p.keeps = keeps;
  p.group = standInGroup[me];
  p.left = left;
  p.right = right;
  for (unsigned t = 0; t < 4; t++) p.a[t] = (const unsigned*)lanes[me % 32 / 4 * 4 + t];
  p.seen = StandInPart(p).hash(n);
  p.isFirst = false;
  bool isAlone = true;
  for (StandInProduct* q = standInProducts[me]; q < &p; q++) isAlone = isAlone && q->sums != sums;
  if (isAlone) standInPoison(p);
  __syncwarp();
}
static inline void productsClose() { standInGroup[threadIdx.x]++; }
/** Waits for all but the last `left` groups. */
template <int left>
static inline void productsWait() {
  const unsigned me = threadIdx.x;
  const void* lanes[32];
  standIn->meet(nullptr, lanes);
  StandInProduct* all = standInProducts[me];
  int done = 0;
  for (; done < standInProductCount[me] && all[done].group < standInGroup[me] - left; done++) {
    StandInProduct& p = all[done];
    const StandInPart part(p);
    if (part.hash(p.n) != p.seen) standInRefuse("operands changed while a product was under way");
    if (p.isFirst)
      for (int i = 0; i < p.n / 2; i++) {
        if (__float_as_uint(p.sums[i]) != STANDIN_POISON) standInRefuse("sums changed while a product was under way");
        p.sums[i] = p.before[i];
      }
    if (!p.keeps)
      for (int i = 0; i < p.n / 2; i++) p.sums[i] = 0;
    if (p.isBrain) standInMultiply<true>(p.sums, part, p.n);
    else standInMultiply<false>(p.sums, part, p.n);
  }
  const int kept = standInProductCount[me] - done;
  for (int i = 0; i < kept; i++) all[i] = all[done + i];
  standInProductCount[me] = kept;
  for (int i = 0; i < kept; i++) {
    bool isAlone = true;
    for (int j = 0; j < i; j++) isAlone = isAlone && all[j].sums != all[i].sums;
    if (isAlone && !all[i].isFirst) standInPoison(all[i]);
  }
  standInFenced[me] = false;
  __syncwarp();
}
/** Keeps a compiler from moving what reads or writes registers across: nothing to say here. */
template <class Register, int n>
static inline void settle(Register (&)[n]) {}
template <class Register, int n, int m>
static inline void settle(Register (&)[n][m]) {}

template <int registers>
static inline void takeRegisters() {}
template <int registers>
static inline void giveRegisters() {}
