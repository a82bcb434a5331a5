// Streams and events. Work is done when it is asked for, in order, unless REVNET_STANDIN_LATE names its stream (`work` the one made
// first, `copies` those made beside it): then it is done at the latest moment that a device may do it, when somebody waits for it. So a
// wait that is missing shows, as work that reads what was not written yet, or was written again.
#include "streams.h"

#include <cstdlib>
#include <cstring>
#include <list>
#include <mutex>

namespace {

typedef std::shared_ptr<Mark> MarkOf;

struct Item {
  std::function<int()> run;
  /** What has to be reached first. */
  MarkOf after;
  MarkOf reaches;
};

struct Stream {
  bool isBeside;
  std::deque<Item> queue;
};

std::list<Stream> streams;
// A read is waited for on a thread of its own.
std::recursive_mutex mutex;
#define ALONE const std::lock_guard<std::recursive_mutex> lock(mutex)

int drain(Stream& stream, const Mark* until = nullptr);

int reach(const MarkOf& mark) {
  for (Stream& s : streams)
    if (&s == mark->stream) return mark->isReached ? 0 : drain(s, mark.get());
  return 0;
}

/** Does what a stream was asked for, all of it or up to a mark; gives the first failure. */
int drain(Stream& stream, const Mark* until) {
  int failure = 0;
  while (!stream.queue.empty() && (until == nullptr || !until->isReached)) {
    const Item item = std::move(stream.queue.front());
    stream.queue.pop_front();
    int code = item.after != nullptr ? reach(item.after) : 0;
    if (item.run) code = code != 0 ? code : item.run();
    if (item.reaches != nullptr) {
      clock_gettime(CLOCK_MONOTONIC, &item.reaches->time);
      item.reaches->isReached = true;
    }
    if (failure == 0) failure = code;
  }
  return failure;
}

int add(void* to, Item item) {
  ALONE;
  auto& stream = *static_cast<Stream*>(to);
  stream.queue.push_back(std::move(item));
  return isLate(to) ? 0 : drain(stream);
}

}  // namespace

bool isLate(void* stream) {
  const char* late = getenv("REVNET_STANDIN_LATE");
  return late != nullptr && std::strcmp(late, static_cast<Stream*>(stream)->isBeside ? "copies" : "work") == 0;
}

int doOn(void* stream, std::function<int()> work) { return add(stream, {std::move(work), nullptr, nullptr}); }

int finish(void* stream) {
  ALONE;
  return drain(*static_cast<Stream*>(stream));
}

int finishAll() {
  ALONE;
  int failure = 0;
  for (Stream& s : streams)
    if (const int code = drain(s)) failure = code;
  return failure;
}

void* newStream() {
  ALONE;
  streams.push_back({!streams.empty(), {}});
  return &streams.back();
}

void endStream(void* stream) {
  ALONE;
  drain(*static_cast<Stream*>(stream));
  streams.remove_if([=](const Stream& s) { return &s == stream; });
}

int record(Event& event, void* stream) {
  event.mark = std::make_shared<Mark>();
  event.mark->stream = stream;
  return add(stream, {nullptr, nullptr, event.mark});
}

int waitFor(void* stream, const Event& event) {
  return event.mark == nullptr ? 0 : add(stream, {nullptr, event.mark, nullptr});
}

int reachNow(const Event& event) {
  ALONE;
  return event.mark == nullptr ? 0 : reach(event.mark);
}
