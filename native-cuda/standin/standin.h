// A stand-in for NVIDIA's driver and for NVRTC on machines without a GPU: device memory is host memory, kernels are
// compiled for the host by g++ and run block by block, thread by thread. It finds what a wrong kernel, a leak or a failing
// call does; it says nothing of speed. See ../README.md.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#define STANDIN_API extern "C" __attribute__((visibility("default")))

struct Dim3 {
  unsigned x, y, z;
};
/** As in host.h. */
struct StandIn {
  Dim3 thread, block, threads, blocks;
  void* dynamicShared;
  void (*barrier)();
  unsigned long long (*exchange)(unsigned long long value, unsigned from);
  void (*meet)(const void* mine, const void** all);
  size_t sharedBytes;
  void (*wait)(bool (*isReady)(const void* on, unsigned with), const void* on, unsigned with);
  void (*later)(void (*run)(void* what), void* what);
};
extern StandIn standIn;

using Kernel = void (*)(const void* parameters);

/** Runs a kernel over a whole grid. Threads that meet at barriers are fibers taking turns; others just run. */
void runGrid(Kernel kernel, const void* parameters, bool isCooperative, Dim3 blocks, Dim3 threads, size_t sharedBytes);

/** Does a stream's work, or takes it down while the stream is captured. `work` keeps copies of all it needs. */
int enqueue(void* stream, std::function<int()> work);
/** The code for what a captured stream does not do, after which its capture is void; 0 where none is under way. */
int refusedWhileCapturing();

/** Whether kernels are neither compiled nor run: to time the host alone, or to find out which ones a program needs. */
bool isIdle();

/** The planned result of this call of `name`: REVNET_STANDIN_FAIL="cuMemAlloc_v2:3" makes its third call fail, with 2 or the code after a second colon. */
int plannedFailure(const char* name);
