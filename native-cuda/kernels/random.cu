// Words of Philox4x32-10, four a thread. Source: Salmon et al. 2011, section 3.3; the bits are those of rng.ts.

static __device__ __forceinline__ void philox(u64 block, u32 k0, u32 k1, u32* out) {
  u32 c0 = (u32)block, c1 = (u32)(block >> 32), c2 = 0, c3 = 0;
#pragma unroll
  for (int round = 0; round < 10; round++) {
    const u32 h0 = __umulhi(0xd2511f53u, c0), l0 = 0xd2511f53u * c0;
    const u32 h1 = __umulhi(0xcd9e8d57u, c2), l1 = 0xcd9e8d57u * c2;
    c0 = h1 ^ c1 ^ k0;
    c1 = l1;
    c2 = h0 ^ c3 ^ k1;
    c3 = l0;
    k0 += 0x9e3779b9u;
    k1 += 0xbb67ae85u;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** A key by value, or where it lies: a graph's launches have one kernel call and keys that change. */
struct Key {
  const u32* at;
  u32 words[2];
};

static __device__ __forceinline__ void philox(u64 block, const Key& key, u32* out) {
  const u32* words = key.at ? key.at : key.words;
  philox(block, words[0], words[1], out);
}

struct RandomBits {
  u32* y;
  u64 n;
  Key key;
};
KERNEL(randomBits, RandomBits, 256) {
  const u64 block = (u64)blockIdx.x * 256 + threadIdx.x;
  if (block * 4 >= p.n) return;
  u32 words[4];
  philox(block, p.key, words);
  for (int k = 0; k < 4; k++)
    if (block * 4 + k < p.n) p.y[block * 4 + k] = words[k];
}
