// A stand-in for NVIDIA's driver and for NVRTC on machines without a GPU: device memory is host memory, kernels are
// compiled for the host by g++ and run block by block, thread by thread. It finds what a wrong kernel, a leak or a failing
// call does; it says nothing of speed. See ../README.md.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

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
  void (*awaited)();
  void (*ahead)(const void* from, size_t bytes);
};
extern StandIn standIn;

using Kernel = void (*)(const void* parameters);

/** Runs a kernel over a whole grid. Threads that meet at barriers are fibers taking turns; others just run. */
void runGrid(Kernel kernel, const void* parameters, bool isCooperative, Dim3 blocks, Dim3 threads, size_t sharedBytes);

/**
 * A kernel of a graph that starts before those in front of it have ended, on a device at any time since the graph's launch: what it reads
 * before it waits for them, with what that memory held when the graph was launched.
 */
class Early {
 public:
  /** Notes what memory holds that earlier runs read too soon to see it change. */
  void graphStarts();
  /** Runs the kernel; 0, or the code of a failure where a thread did not wait, or read what the graph has written since. */
  int run(const std::function<void()>& grid, size_t threads);

  static void awaited();
  static void ahead(const void* from, size_t bytes);

 private:
  /** How often the running thread has waited. */
  static unsigned char& mine();

  std::map<const void*, std::vector<char>> read_;
  std::vector<unsigned char> waits_;
  bool isStale_ = false;
};

/** Does a stream's work, or takes it down while the stream is captured. `work` keeps copies of all it needs. */
int enqueue(void* stream, std::function<int()> work, std::shared_ptr<Early> early = nullptr);
/** Whether the stream's work is being taken down. */
bool isCapturing(void* stream);
/** The code for what a captured stream does not do, after which its capture is void; 0 where none is under way. */
int refusedWhileCapturing();

/** Whether kernels are neither compiled nor run: to time the host alone, or to find out which ones a program needs. */
bool isIdle();

/** The planned result of this call of `name`: REVNET_STANDIN_FAIL="cuMemAlloc_v2:3" makes its third call fail, with 2 or the code after a second colon. */
int plannedFailure(const char* name);
