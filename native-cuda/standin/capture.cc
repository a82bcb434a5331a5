// Stream capture: what captured streams are asked for is kept as functions, with what has to come before each, and run at every launch: in the order
// in which it was asked for or, with REVNET_STANDIN_GRAPH=<seed>, in another that its edges allow, so that an edge that is missing gives other numbers.
// What a device refuses while it captures (waiting, copies from and to pageable host memory) ends the capture with its code.
#include <cstdlib>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "standin.h"
#include "streams.h"

namespace {

enum { REFUSED = 1, UNSUPPORTED = 900, INVALIDATED = 901, UNJOINED = 904, ISOLATED = 905, NOT_CAPTURING = 401 };

struct Node {
  std::function<int()> run;
  std::shared_ptr<Early> early;
  std::set<size_t> after;
  void* stream;
};
typedef std::vector<Node> Nodes;

struct Capture {
  Nodes nodes;
  void* origin = nullptr;
  /** What the next work of a stream that takes part comes after. */
  std::map<void*, std::set<size_t>> ends;
  /** The same where an event was recorded. */
  std::map<const void*, std::set<size_t>> events;
  bool isInvalidated = false;
};
Capture* capture = nullptr;

/** Whether the origin's end comes after everything. */
bool isJoined(const Capture& of) {
  std::set<size_t> reached;
  std::vector<size_t> open(of.ends.at(of.origin).begin(), of.ends.at(of.origin).end());
  while (!open.empty()) {
    const size_t at = open.back();
    open.pop_back();
    if (!reached.insert(at).second) continue;
    open.insert(open.end(), of.nodes[at].after.begin(), of.nodes[at].after.end());
  }
  return reached.size() == of.nodes.size();
}

/** An order that edges allow: long runs of one stream's work, so that it gets far ahead of another's or falls far behind. */
std::vector<size_t> orderOf(const Nodes& nodes, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<size_t> waits(nodes.size()), order;
  std::vector<std::vector<size_t>> next(nodes.size());
  for (size_t i = 0; i < nodes.size(); i++) {
    waits[i] = nodes[i].after.size();
    for (const size_t before : nodes[i].after) next[before].push_back(i);
  }
  std::vector<size_t> ready;
  for (size_t i = 0; i < nodes.size(); i++)
    if (waits[i] == 0) ready.push_back(i);
  const void* stream = nullptr;
  while (!ready.empty()) {
    size_t pick = random() % ready.size();
    if (random() % 16 != 0)
      for (size_t i = 0; i < ready.size(); i++)
        if (nodes[ready[i]].stream == stream) pick = i;
    const size_t at = ready[pick];
    ready.erase(ready.begin() + static_cast<std::ptrdiff_t>(pick));
    stream = nodes[at].stream;
    order.push_back(at);
    for (const size_t i : next[at])
      if (--waits[i] == 0) ready.push_back(i);
  }
  return order;
}

int runAll(const Nodes& nodes) {
  for (const Node& node : nodes)
    if (node.early != nullptr) node.early->graphStarts();
  const char* seed = getenv("REVNET_STANDIN_GRAPH");
  if (seed == nullptr || *seed == '\0') {
    for (const Node& node : nodes)
      if (const int failure = node.run()) return failure;
    return 0;
  }
  for (const size_t i : orderOf(nodes, static_cast<unsigned>(atoi(seed))))
    if (const int failure = nodes[i].run()) return failure;
  return 0;
}

}  // namespace

int refusedWhileCapturing() {
  if (capture == nullptr) return 0;
  capture->isInvalidated = true;
  return UNSUPPORTED;
}

bool isCapturing(void* stream) { return capture != nullptr && capture->ends.count(stream) != 0; }

int enqueue(void* stream, std::function<int()> work, std::shared_ptr<Early> early) {
  if (!isCapturing(stream)) return doOn(stream, std::move(work));
  auto& end = capture->ends[stream];
  // One that starts early waits for the kernel in front of it, and for nothing else.
  if (early != nullptr && end.size() > 1) return REFUSED;
  capture->nodes.push_back({std::move(work), std::move(early), end, stream});
  end = {capture->nodes.size() - 1};
  return 0;
}

bool recordedInCapture(const Event& event, void* stream) {
  if (capture == nullptr) return false;
  capture->events.erase(&event);
  if (!isCapturing(stream)) return false;
  capture->events[&event] = capture->ends[stream];
  return true;
}

void forgetInCapture(const Event& event) {
  if (capture != nullptr) capture->events.erase(&event);
}

int waitedInCapture(const Event& event, void* stream, bool& isDone) {
  isDone = false;
  if (capture == nullptr) return 0;
  const auto found = capture->events.find(&event);
  if (found == capture->events.end()) {
    // A captured stream does not wait for what is outside.
    if (!isCapturing(stream)) return 0;
    capture->isInvalidated = true;
    return ISOLATED;
  }
  isDone = true;
  capture->ends[stream].insert(found->second.begin(), found->second.end());
  return 0;
}

STANDIN_API int cuStreamBeginCapture_v2(void* stream, int) {
  if (const int failure = plannedFailure(__func__)) return failure;
  if (capture != nullptr) return NOT_CAPTURING;
  capture = new Capture;
  capture->origin = stream;
  capture->ends[stream] = {};
  return 0;
}
STANDIN_API int cuStreamEndCapture(void*, void** graph) {
  *graph = nullptr;
  if (capture == nullptr) return NOT_CAPTURING;
  int failure = capture->isInvalidated ? static_cast<int>(INVALIDATED) : plannedFailure(__func__);
  if (failure == 0 && !isJoined(*capture)) failure = UNJOINED;
  if (failure == 0) *graph = new Nodes(std::move(capture->nodes));
  delete capture;
  capture = nullptr;
  return failure;
}
STANDIN_API int cuGraphInstantiateWithFlags(void** launchable, void* graph, unsigned long long) {
  if (const int failure = plannedFailure(__func__)) return failure;
  *launchable = new std::shared_ptr<Nodes>(new Nodes(*static_cast<Nodes*>(graph)));
  return 0;
}
STANDIN_API int cuGraphLaunch(void* launchable, void* stream) {
  if (const int failure = plannedFailure(__func__)) return failure;
  // Kept, since it may be destroyed before it is done.
  return doOn(stream, [all = *static_cast<std::shared_ptr<Nodes>*>(launchable)] { return runAll(*all); });
}
STANDIN_API int cuGraphDestroy(void* graph) { delete static_cast<Nodes*>(graph); return 0; }
STANDIN_API int cuGraphExecDestroy(void* launchable) { delete static_cast<std::shared_ptr<Nodes>*>(launchable); return 0; }
