// Floats as they come from memory, in words of 32 bits: two 16-bit ones in a register, where a compiler that is given them one by one takes a
// register for each as soon as they are loaded. What is asked for ahead is held for long.

template <class T, int N, bool isWhole = N * sizeof(T) % 4 == 0>
struct alignas(sizeof(T) * N) Words {
  u32 words[N * sizeof(T) / 4];
  __device__ __forceinline__ float at(int e) const { return ofWord(words[e * sizeof(T) / 4], e, T{}); }

 private:
  static __device__ __forceinline__ float ofWord(u32 word, int, float) { return __uint_as_float(word); }
  template <class H>
  static __device__ __forceinline__ float ofWord(u32 word, int e, H) {
    return wide(H{(u16)(word >> (16 * (e & 1)))});
  }
};
/** Too few for a word. */
template <class T, int N>
struct Words<T, N, false> {
  T v[N];
  __device__ __forceinline__ float at(int e) const { return wide(v[e]); }
};
