#include "staging.h"

#include <algorithm>
#include <cstring>

Staging staging;

namespace {

/** Copies longer than this go piece by piece, one piece being filled while the other travels. */
constexpr size_t PIECE = 4u << 20;
/** What is kept for later. */
constexpr size_t MOST_KEPT = 64u << 20;
constexpr size_t LEAST = 4096;
/** Of so little, the driver keeps a copy of its own. */
constexpr size_t TINY = 16u << 10;

size_t roundUp(size_t bytes) {
  size_t size = LEAST;
  while (size < bytes) size *= 2;
  return size;
}

void discard(Pinned* pinned) {
  if (pinned->event != nullptr) cuda.driver.destroyEvent(pinned->event);
  cuda.driver.releaseHost(pinned->memory);
  delete pinned;
}

/** One or two pieces for the length of a copy. */
struct Pieces {
  Pinned* of[2] = {nullptr, nullptr};
  Pieces(size_t bytes) {
    of[0] = staging.take(std::min(bytes, PIECE));
    if (of[0] != nullptr && bytes > PIECE) of[1] = staging.take(PIECE);
  }
  ~Pieces() {
    for (Pinned* pinned : of)
      if (pinned != nullptr) staging.give(pinned);
  }
  bool areThere(size_t bytes) const { return of[0] != nullptr && (bytes <= PIECE || of[1] != nullptr); }
};

}  // namespace

void Pinned::wait() {
  if (!isBusy) return;
  isBusy = false;
  check(cuda.driver.awaitEvent(event), "waiting for a copy");
}

void Pinned::mark() {
  check(cuda.driver.recordEvent(event, cuda.stream), "recording an event");
  isBusy = true;
}

Pinned* Staging::take(size_t bytes) {
  const size_t size = roundUp(bytes);
  for (size_t i = 0; i < free_.size(); i++) {
    if (free_[i]->bytes != size) continue;
    Pinned* found = free_[i];
    free_.erase(free_.begin() + static_cast<std::ptrdiff_t>(i));
    kept_ -= size;
    return found;
  }
  auto* made = new Pinned;
  made->bytes = size;
  if (cuda.driver.allocateHost(&made->memory, size, 0) != abi::SUCCESS) {
    delete made;
    return nullptr;
  }
  if (cuda.driver.createEvent(&made->event, abi::EVENT_DEFAULT) != abi::SUCCESS) {
    discard(made);
    return nullptr;
  }
  return made;
}

void Staging::give(Pinned* pinned) {
  if (kept_ + pinned->bytes > MOST_KEPT) {
    // Freeing waits for the device, so what still travels through it has arrived.
    discard(pinned);
    return;
  }
  free_.push_back(pinned);
  kept_ += pinned->bytes;
}

void Staging::release() {
  for (Pinned* pinned : free_) discard(pinned);
  free_.clear();
  kept_ = 0;
}

void uploadThroughStaging(abi::Pointer to, const void* from, size_t bytes) {
  const auto* source = static_cast<const char*>(from);
  Pieces pieces(bytes <= TINY ? 0 : bytes);
  if (bytes <= TINY || !pieces.areThere(bytes)) {
    // The driver has read pageable memory when this returns.
    check(cuda.driver.upload(to, from, bytes, cuda.stream), "copying to the device");
    return;
  }
  for (size_t at = 0, turn = 0; at < bytes; at += PIECE, turn ^= 1) {
    const size_t part = std::min(PIECE, bytes - at);
    Pinned& piece = *pieces.of[turn];
    piece.wait();
    std::memcpy(piece.memory, source + at, part);
    check(cuda.driver.upload(to + at, piece.memory, part, cuda.stream), "copying to the device");
    piece.mark();
  }
}

void downloadThroughStaging(void* to, abi::Pointer from, size_t bytes) {
  auto* target = static_cast<char*>(to);
  Pieces pieces(bytes);
  if (!pieces.areThere(bytes)) {
    check(cuda.driver.download(to, from, bytes, cuda.stream), "copying from the device");
    check(cuda.driver.synchronize(cuda.stream), "copying from the device");
    return;
  }
  auto start = [&](size_t at, size_t turn) {
    Pinned& piece = *pieces.of[turn];
    piece.wait();
    const size_t part = std::min(PIECE, bytes - at);
    check(cuda.driver.download(piece.memory, from + at, part, cuda.stream), "copying from the device");
    piece.mark();
  };
  start(0, 0);
  for (size_t at = 0, turn = 0; at < bytes; at += PIECE, turn ^= 1) {
    if (at + PIECE < bytes) start(at + PIECE, turn ^ 1);
    pieces.of[turn]->wait();
    std::memcpy(target + at, pieces.of[turn]->memory, std::min(PIECE, bytes - at));
  }
}
