// Kernels that follow each other closely (programmatic dependent launch): in a captured graph each may start while the one before it
// still runs, so that what a launch costs is over when that ends. Put before a unit's files, it makes every kernel of the unit wait, as the
// first thing it does, until all work before it is done and seen; so results are those of kernels one after the other. KERNEL_AHEAD is for a
// kernel that does something before: it calls awaitPrevious() itself, once in every thread, and before that writes nothing and reads only
// by readAhead() what nothing in the graph has written (DeviceGraphs.isUntouched), or asks for lines by prefetchAhead().
// Such kernels are launched so because their source holds this text (device.ts), and where they were compiled for sm_90 and later.

#undef KERNEL
#undef KERNEL_SHARING
#ifdef REVNET_HOST
extern "C" const int standInChained = 1;
static inline void startNext() {}
static inline void awaitPrevious() { standIn->awaited(); }
template <class V>
static inline V readAhead(const V* from) {
  standIn->ahead(from, sizeof(V));
  return *from;
}
static inline void prefetchAhead(const void*) {}
#define KERNEL_AHEAD(name, Parameters, threads) STANDIN_KERNEL(name, Parameters)
#define KERNEL(name, Parameters, threads)                      \
  static void name##Rest(const Parameters& p);                 \
  STANDIN_KERNEL(name, Parameters) {                           \
    awaitPrevious();                                           \
    name##Rest(p);                                             \
  }                                                            \
  static void name##Rest(const Parameters& p)
#define KERNEL_SHARING(name, Parameters, threads, blocks) KERNEL(name, Parameters, threads)
#else
#if __CUDA_ARCH__ >= 900
/** Has the next kernel start as soon as all blocks of this one have come here or ended. */
static __device__ __forceinline__ void startNext() { asm volatile("griddepcontrol.launch_dependents;" ::: "memory"); }
/** Waits until the kernels before this one have ended, and what they wrote is seen. */
static __device__ __forceinline__ void awaitPrevious() { asm volatile("griddepcontrol.wait;" ::: "memory"); }
#else
static __device__ __forceinline__ void startNext() {}
static __device__ __forceinline__ void awaitPrevious() {}
#endif
template <class V>
static __device__ __forceinline__ V readAhead(const V* from) {
  return *from;
}
/** Has a line of memory brought into the second cache, where later writes to it are seen: whatever it holds by now. */
static __device__ __forceinline__ void prefetchAhead(const void* line) { asm volatile("prefetch.global.L2 [%0];" ::"l"(line)); }
#define KERNEL_AHEAD(name, Parameters, threads)                                                     \
  static __device__ __forceinline__ void name##Rest(const Parameters& p);                           \
  extern "C" __global__ void __launch_bounds__(threads) name(const __grid_constant__ Parameters p) { \
    startNext();                                                                                    \
    name##Rest(p);                                                                                  \
  }                                                                                                 \
  static __device__ __forceinline__ void name##Rest(const Parameters& p)
#define KERNEL_WITHIN(name, Parameters, ...)                                                             \
  static __device__ __forceinline__ void name##Rest(const Parameters& p);                               \
  extern "C" __global__ void __launch_bounds__(__VA_ARGS__) name(const __grid_constant__ Parameters p) { \
    startNext();                                                                                        \
    awaitPrevious();                                                                                    \
    name##Rest(p);                                                                                      \
  }                                                                                                     \
  static __device__ __forceinline__ void name##Rest(const Parameters& p)
#define KERNEL(name, Parameters, threads) KERNEL_WITHIN(name, Parameters, threads)
#define KERNEL_SHARING(name, Parameters, threads, blocks) KERNEL_WITHIN(name, Parameters, threads, blocks)
#endif
