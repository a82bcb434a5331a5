// Kernels of a graph that start early (chain.cu). They are run in order here; what such a kernel reads before it waits is compared with what lay
// there when the graph was launched, from its second launch on: on a device it may have been read at any time between.
#include <cstdio>
#include <cstring>
#include <tuple>

#include "standin.h"

namespace {
Early* running = nullptr;
}

void Early::graphStarts() {
  for (auto& [from, held] : read_) std::memcpy(held.data(), from, held.size());
}

int Early::run(const std::function<void()>& grid, size_t threads) {
  waits_.assign(threads, 0);
  isStale_ = false;
  running = this;
  grid();
  running = nullptr;
  size_t once = 0;
  for (const unsigned char n : waits_) once += n == 1;
  if (once != threads) std::fprintf(stderr, "stand-in: of %zu threads of a kernel that starts early, %zu waited once for the work before it\n", threads, once);
  if (isStale_) std::fprintf(stderr, "stand-in: a kernel that starts early read what its graph had written since\n");
  return once == threads && !isStale_ ? 0 : 719;
}

unsigned char& Early::mine() {
  const auto& [thread, block, threads, blocks] = std::tie(standIn.thread, standIn.block, standIn.threads, standIn.blocks);
  const size_t inBlock = (size_t{thread.z} * threads.y + thread.y) * threads.x + thread.x;
  const size_t blockAt = (size_t{block.z} * blocks.y + block.y) * blocks.x + block.x;
  return running->waits_[blockAt * threads.x * threads.y * threads.z + inBlock];
}

void Early::awaited() {
  if (running != nullptr) mine()++;
}

void Early::ahead(const void* from, size_t bytes) {
  if (running == nullptr || mine() > 0) return;
  auto& held = running->read_[from];
  const auto* now = static_cast<const char*>(from);
  if (held.size() < bytes) held.assign(now, now + bytes);
  else if (std::memcmp(held.data(), now, bytes) != 0) running->isStale_ = true;
}
