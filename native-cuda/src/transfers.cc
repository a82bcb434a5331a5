// Copies of device memory in pinned host memory, made and brought back beside the computation: a stream for each direction, since a device
// has an engine for each. Streams wait for each other by events, never the program: a copy for what was computed before it was asked for and
// for the last copy through its pinned memory, and the computation for a copy where it says so.
#include <deque>
#include <map>
#include <utility>

#include "device.h"

namespace {

struct Direction {
  abi::Handle stream = nullptr;
  /** Whether it is part of the capture under way. */
  bool isCaptured = false;
};
Direction out, back;

constexpr size_t LEAST = 4096;
/** Streams and activations are alike from step to step: larger pieces are cut to their size. */
constexpr size_t LARGE = 1u << 20;

size_t roundUp(size_t bytes) {
  if (bytes > LARGE) return (bytes + LARGE - 1) / LARGE * LARGE;
  size_t size = LEAST;
  while (size < bytes) size *= 2;
  return size;
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

/** Pinned memory, and the event after the last copy through it, if there was one that may not have ended. */
struct Piece {
  void* memory = nullptr;
  size_t bytes = 0;
  abi::Handle done = nullptr;
  bool isMarked = false;
};
std::vector<Piece> freePieces;
size_t usedBytes = 0, keptBytes = 0;

/** Of copies that are taken down for a graph: the memory is the graph's, for copy after copy of it. */
bool isCapturing = false;
std::vector<Piece> freeOfCapture, takenByCapture;
std::map<abi::Handle, std::vector<Piece>> ofGraphs;

bool takeFrom(std::vector<Piece>& pieces, Piece& piece) {
  for (size_t i = pieces.size(); i-- > 0;) {
    if (pieces[i].bytes != piece.bytes) continue;
    piece = pieces[i];
    pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(i));
    return true;
  }
  return false;
}

Piece takePiece(size_t bytes) {
  Piece piece{nullptr, roundUp(bytes), nullptr, false};
  if (isCapturing && takeFrom(freeOfCapture, piece)) return piece;
  if (takeFrom(freePieces, piece)) keptBytes -= piece.bytes;
  if (piece.memory == nullptr) {
    OwnEvent done;
    check(cuda.driver.allocateHost(&piece.memory, piece.bytes, 0), "allocating pinned host memory");
    std::swap(piece.done, done.of);
  }
  usedBytes += piece.bytes;
  if (isCapturing) takenByCapture.push_back(piece);
  return piece;
}

void givePiece(const Piece& piece) {
  if (piece.memory == nullptr) return;
  if (isCapturing) return freeOfCapture.push_back(piece);
  usedBytes -= piece.bytes;
  keptBytes += piece.bytes;
  freePieces.push_back(piece);
}

/** From one event to another on one stream. */
struct Span {
  abi::Handle from = nullptr, to = nullptr;
};

/** Times of one kind, once somebody has asked for them: events are read when they have come, and all that there are when it is asked for. */
class Times {
 public:
  double total() {
    isOn_ = true;
    while (!spans_.empty()) {
      check(cuda.driver.awaitEvent(spans_.front().to), "waiting for an event");
      addFirst();
    }
    return total_;
  }

  /** Asks a stream for something, between two events where that is timed. */
  template <class Ask>
  void take(abi::Handle stream, Ask ask) {
    // The events of a graph's nodes have no times.
    if (!isOn_ || isCapturing) return ask();
    OwnEvent from, to;
    check(cuda.driver.recordEvent(from.of, stream), "recording an event");
    ask();
    check(cuda.driver.recordEvent(to.of, stream), "recording an event");
    spans_.push_back({from.of, to.of});
    from.of = to.of = nullptr;
    while (spans_.size() > MANY && cuda.driver.queryEvent(spans_.front().to) == abi::SUCCESS) addFirst();
  }

  void forget() {
    for (const Span& span : spans_) freeEvents.insert(freeEvents.end(), {span.from, span.to});
    spans_.clear();
  }

 private:
  static constexpr size_t MANY = 64;

  void addFirst() {
    const Span span = spans_.front();
    float milliseconds = 0;
    check(cuda.driver.elapsed(&milliseconds, span.from, span.to), "reading the time between two events");
    total_ += milliseconds;
    spans_.pop_front();
    giveEvent(span.from);
    giveEvent(span.to);
  }

  std::deque<Span> spans_;
  double total_ = 0;
  bool isOn_ = false;
};
/** Copies, and the computation's waiting for them. */
Times copies, waits;

/** A copy in host memory. */
struct Transfer {
  Piece piece;
  /** The copy that was asked for last, where the computation has not been ordered behind it. */
  const Direction* underWay = nullptr;

  ~Transfer() {
    // Who gives up what is brought back gives its place up too. What reads a place that others write again reads what nobody wants.
    if (underWay == &back && cuda.driver.waitEvent(cuda.stream, piece.done, 0) != abi::SUCCESS)
      cuda.driver.synchronize(back.stream);
    givePiece(piece);
  }

  template <class Copy>
  void start(Direction& way, const char* what, Copy copy) {
    if (way.stream == nullptr) check(cuda.driver.createStream(&way.stream, abi::STREAM_NON_BLOCKING), "making a stream");
    OwnEvent ready;
    check(cuda.driver.recordEvent(ready.of, cuda.stream), "recording an event");
    check(cuda.driver.waitEvent(way.stream, ready.of, 0), "waiting for an event");
    if (piece.isMarked) check(cuda.driver.waitEvent(way.stream, piece.done, 0), "waiting for an event");
    try {
      copies.take(way.stream, [&] { check(copy(way.stream), what); });
      check(cuda.driver.recordEvent(piece.done, way.stream), "recording an event");
      piece.isMarked = true;
      underWay = &way;
      if (isCapturing) way.isCaptured = true;
    } catch (...) {
      // There may be a copy that nothing marks the end of.
      cuda.driver.synchronize(way.stream);
      throw;
    }
  }

  void await() {
    if (underWay == nullptr) return;
    waits.take(cuda.stream, [&] { check(cuda.driver.waitEvent(cuda.stream, piece.done, 0), "waiting for an event"); });
    underWay = nullptr;
  }
};

Transfer* transferOf(const Call& call) { return reinterpret_cast<Transfer*>(call.address(0)); }

// copyOut(address, bytes) -> a transfer: begins to copy to host memory what is there when the work before is done
napi_value copyOut(Call& call) {
  mustBeOpen();
  const size_t bytes = static_cast<size_t>(call.number(1));
  auto* transfer = new Transfer;
  try {
    transfer->piece = takePiece(bytes);
    transfer->start(out, "copying to host memory", [&](abi::Handle stream) {
      return cuda.driver.download(transfer->piece.memory, call.address(0), bytes, stream);
    });
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
  transfer->start(back, "copying from host memory", [&](abi::Handle stream) {
    return cuda.driver.upload(call.address(1), transfer->piece.memory, static_cast<size_t>(call.number(2)), stream);
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

// copyTimes() -> milliseconds of all copies since one of these two was first called
napi_value copyTimes(Call& call) {
  mustBeOpen();
  return call.give(copies.total());
}

// waitTimes() -> milliseconds that the computation waited for copies
napi_value waitTimes(Call& call) {
  mustBeOpen();
  return call.give(waits.total());
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
  // Streams that are captured cannot be waited for.
  if (isCapturing) return;
  for (const Direction* way : {&out, &back})
    if (way->stream != nullptr) cuda.driver.synchronize(way->stream);
  for (const Piece& piece : freePieces) {
    cuda.driver.releaseHost(piece.memory);
    giveEvent(piece.done);
  }
  freePieces.clear();
  keptBytes = 0;
  for (abi::Handle event : freeEvents) cuda.driver.destroyEvent(event);
  freeEvents.clear();
}

void closeTransfers() {
  for (Times* times : {&copies, &waits}) times->forget();
  releaseTransfers();
  for (Direction* way : {&out, &back}) {
    if (way->stream != nullptr) cuda.driver.destroyStream(way->stream);
    way->stream = nullptr;
  }
}

void restTransfers() {
  for (const Direction* way : {&out, &back})
    if (way->stream != nullptr) check(cuda.driver.synchronize(way->stream), "waiting for copies");
  for (Piece& piece : freePieces) piece.isMarked = false;
}

void beginCapturedTransfers() { isCapturing = true; }

abi::Result joinCapturedTransfers() {
  for (const Direction* way : {&out, &back}) {
    if (!way->isCaptured) continue;
    abi::Handle last = nullptr;
    abi::Result result = cuda.driver.createEvent(&last, abi::EVENT_DEFAULT);
    if (result == abi::SUCCESS) result = cuda.driver.recordEvent(last, way->stream);
    if (result == abi::SUCCESS) result = cuda.driver.waitEvent(cuda.stream, last, 0);
    if (last != nullptr) cuda.driver.destroyEvent(last);
    if (result != abi::SUCCESS) return result;
  }
  return abi::SUCCESS;
}

void endCapturedTransfers(abi::Handle graph) {
  isCapturing = out.isCaptured = back.isCaptured = false;
  freeOfCapture.clear();
  if (!takenByCapture.empty()) ofGraphs[graph] = std::move(takenByCapture);
  takenByCapture.clear();
  if (graph == nullptr) releaseTransfersOf(graph);
}

void releaseTransfersOf(abi::Handle graph) {
  const auto found = ofGraphs.find(graph);
  if (found == ofGraphs.end()) return;
  for (const Piece& piece : found->second) givePiece(piece);
  ofGraphs.erase(found);
}

void publishTransfers(napi_env env, napi_value exports) {
  publish<copyOut>(env, exports, "copyOut");
  publish<copyBack>(env, exports, "copyBack");
  publish<awaitTransfer>(env, exports, "awaitTransfer");
  publish<endTransfer>(env, exports, "endTransfer");
  publish<copyTimes>(env, exports, "copyTimes");
  publish<waitTimes>(env, exports, "waitTimes");
  publish<pinnedMemory>(env, exports, "pinnedMemory");
  publish<releasePinned>(env, exports, "releasePinned");
}
