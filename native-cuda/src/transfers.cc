// Copies of device memory in pinned host memory, made and brought back on a stream of their own, beside the computation. The two
// streams wait for each other by events, never the program: a copy for what was computed before it was asked for, and the computation
// for a copy where it says so. One stream has both directions: pinned memory given back is written by a copy after the last one that used it.
#include <algorithm>

#include "device.h"

namespace {

abi::Handle beside = nullptr;

constexpr size_t LEAST = 4096;
/** Streams and activations are alike from step to step: larger pieces are cut to their size. */
constexpr size_t LARGE = 1u << 20;

size_t roundUp(size_t bytes) {
  if (bytes > LARGE) return (bytes + LARGE - 1) / LARGE * LARGE;
  size_t size = LEAST;
  while (size < bytes) size *= 2;
  return size;
}

struct Piece {
  void* memory = nullptr;
  size_t bytes = 0;
};
std::vector<Piece> freePieces;
size_t usedBytes = 0, keptBytes = 0;

Piece takePiece(size_t bytes) {
  Piece piece{nullptr, roundUp(bytes)};
  for (size_t i = freePieces.size(); i-- > 0 && piece.memory == nullptr;) {
    if (freePieces[i].bytes != piece.bytes) continue;
    piece = freePieces[i];
    freePieces.erase(freePieces.begin() + static_cast<std::ptrdiff_t>(i));
    keptBytes -= piece.bytes;
  }
  if (piece.memory == nullptr)
    check(cuda.driver.allocateHost(&piece.memory, piece.bytes, 0), "allocating pinned host memory");
  usedBytes += piece.bytes;
  return piece;
}

void givePiece(const Piece& piece) {
  if (piece.memory == nullptr) return;
  usedBytes -= piece.bytes;
  keptBytes += piece.bytes;
  freePieces.push_back(piece);
}

std::vector<abi::Handle> freeEvents;

abi::Handle takeEvent() {
  abi::Handle event = nullptr;
  if (freeEvents.empty()) {
    check(cuda.driver.createEvent(&event, abi::EVENT_DEFAULT), "making an event");
    return event;
  }
  event = freeEvents.back();
  freeEvents.pop_back();
  return event;
}

void giveEvent(abi::Handle event) {
  if (event != nullptr) freeEvents.push_back(event);
}

struct OwnEvent {
  abi::Handle of = takeEvent();
  ~OwnEvent() { giveEvent(of); }
};

/** From one event to another on one stream. */
struct Span {
  abi::Handle from = nullptr, to = nullptr;
};
/** What is timed, once somebody has asked for times: copies, and the computation's waiting for them. */
bool isTimed = false;
std::vector<Span> copies, waits;
double copiesMs = 0, waitsMs = 0;
constexpr size_t MOST_SPANS = 1024;

void addUp(std::vector<Span>& spans, double& total) {
  while (!spans.empty()) {
    const Span span = spans.back();
    float milliseconds = 0;
    check(cuda.driver.awaitEvent(span.to), "waiting for an event");
    check(cuda.driver.elapsed(&milliseconds, span.from, span.to), "reading the time between two events");
    total += milliseconds;
    spans.pop_back();
    giveEvent(span.from);
    giveEvent(span.to);
  }
}

/** Asks a stream for something, between two events where that is timed. */
template <class Ask>
void timed(std::vector<Span>& spans, double& total, abi::Handle stream, Ask ask) {
  if (!isTimed) return ask();
  if (spans.size() >= MOST_SPANS) addUp(spans, total);
  OwnEvent from, to;
  check(cuda.driver.recordEvent(from.of, stream), "recording an event");
  ask();
  check(cuda.driver.recordEvent(to.of, stream), "recording an event");
  spans.push_back({from.of, to.of});
  from.of = to.of = nullptr;
}

/** A copy in host memory. */
struct Transfer {
  Piece piece;
  abi::Handle done = nullptr;
  /** Whether a copy was asked for that the computation has not been ordered behind. `done` comes after it. */
  bool isUnderWay = false;

  ~Transfer() {
    // Whoever gives up what is copied may give up the memory too.
    if (isUnderWay && cuda.driver.waitEvent(cuda.stream, done, 0) != abi::SUCCESS) cuda.driver.synchronize(beside);
    giveEvent(done);
    givePiece(piece);
  }

  template <class Copy>
  void start(const char* what, Copy copy) {
    OwnEvent ready;
    check(cuda.driver.recordEvent(ready.of, cuda.stream), "recording an event");
    check(cuda.driver.waitEvent(beside, ready.of, 0), "waiting for an event");
    try {
      timed(copies, copiesMs, beside, [&] { check(copy(), what); });
      check(cuda.driver.recordEvent(done, beside), "recording an event");
      isUnderWay = true;
    } catch (...) {
      // There may be a copy that nothing marks the end of.
      cuda.driver.synchronize(beside);
      isUnderWay = false;
      throw;
    }
  }

  void await() {
    if (!isUnderWay) return;
    timed(waits, waitsMs, cuda.stream, [&] { check(cuda.driver.waitEvent(cuda.stream, done, 0), "waiting for an event"); });
    isUnderWay = false;
  }
};

Transfer* transferOf(const Call& call) { return reinterpret_cast<Transfer*>(call.address(0)); }

void openStream() {
  mustBeOpen();
  if (beside == nullptr) check(cuda.driver.createStream(&beside, abi::STREAM_NON_BLOCKING), "making a stream");
}

// copyOut(address, bytes) -> a transfer: begins to copy to host memory what is there when the work before is done
napi_value copyOut(Call& call) {
  openStream();
  const size_t bytes = static_cast<size_t>(call.number(1));
  auto* transfer = new Transfer;
  try {
    transfer->piece = takePiece(bytes);
    transfer->done = takeEvent();
    transfer->start("copying to host memory",
                    [&] { return cuda.driver.download(transfer->piece.memory, call.address(0), bytes, beside); });
  } catch (...) {
    delete transfer;
    throw;
  }
  return call.give(static_cast<double>(reinterpret_cast<uintptr_t>(transfer)));
}

// copyBack(transfer, address, bytes): begins to copy to the device, when the work before is done
napi_value copyBack(Call& call) {
  mustBeOpen();
  Transfer* transfer = transferOf(call);
  transfer->start("copying from host memory", [&] {
    return cuda.driver.upload(call.address(1), transfer->piece.memory, static_cast<size_t>(call.number(2)), beside);
  });
  return call.nothing();
}

// awaitTransfer(transfer): what is asked for from now on comes after the copy begun last
napi_value awaitTransfer(Call& call) {
  mustBeOpen();
  transferOf(call)->await();
  return call.nothing();
}

napi_value endTransfer(Call& call) {
  mustBeOpen();
  delete transferOf(call);
  return call.nothing();
}

// transferTimes() -> [milliseconds of copies, milliseconds that the computation waited for them], since it was first called
napi_value transferTimes(Call& call) {
  mustBeOpen();
  isTimed = true;
  addUp(copies, copiesMs);
  addUp(waits, waitsMs);
  return call.give({copiesMs, waitsMs});
}

// pinnedMemory() -> [bytes in use, bytes kept for reuse]
napi_value pinnedMemory(Call& call) {
  return call.give({static_cast<double>(usedBytes), static_cast<double>(keptBytes)});
}

// releasePinned(): gives pinned memory back that nobody uses
napi_value releasePinned(Call& call) {
  mustBeOpen();
  releaseTransfers();
  return call.nothing();
}

}  // namespace

void releaseTransfers() {
  if (beside != nullptr) cuda.driver.synchronize(beside);
  for (const Piece& piece : freePieces) cuda.driver.releaseHost(piece.memory);
  freePieces.clear();
  keptBytes = 0;
  for (abi::Handle event : freeEvents) cuda.driver.destroyEvent(event);
  freeEvents.clear();
}

void closeTransfers() {
  for (std::vector<Span>* spans : {&copies, &waits}) {
    for (const Span& span : *spans) freeEvents.insert(freeEvents.end(), {span.from, span.to});
    spans->clear();
  }
  releaseTransfers();
  if (beside != nullptr) cuda.driver.destroyStream(beside);
  beside = nullptr;
}

void publishTransfers(napi_env env, napi_value exports) {
  publish<copyOut>(env, exports, "copyOut");
  publish<copyBack>(env, exports, "copyBack");
  publish<awaitTransfer>(env, exports, "awaitTransfer");
  publish<endTransfer>(env, exports, "endTransfer");
  publish<transferTimes>(env, exports, "transferTimes");
  publish<pinnedMemory>(env, exports, "pinnedMemory");
  publish<releasePinned>(env, exports, "releasePinned");
}
