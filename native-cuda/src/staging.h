// Pinned host memory that copies go through: the driver reads it while the host goes on, at five to seven times the rate of
// pageable memory.
#pragma once
#include <vector>

#include "device.h"

/** A piece of pinned memory, and when the device is through with it. */
struct Pinned {
  void* memory = nullptr;
  size_t bytes = 0;
  abi::Handle event = nullptr;
  bool isBusy = false;

  /** Waits until the last copy through it is done. */
  void wait();
  /** Notes that the copy just enqueued uses it. */
  void mark();
};

/** Keeps pinned memory, which costs a tenth of a millisecond to make and stops the device to free. */
class Staging {
 public:
  /** At least so many bytes, or null where the system gives none. */
  Pinned* take(size_t bytes);
  void give(Pinned* pinned);
  void release();

 private:
  std::vector<Pinned*> free_;
  size_t kept_ = 0;
};

extern Staging staging;

/** Copies to the device; the source may be written again when this returns. */
void uploadThroughStaging(abi::Pointer to, const void* from, size_t bytes);
/** Copies from the device, after all work before it. */
void downloadThroughStaging(void* to, abi::Pointer from, size_t bytes);
