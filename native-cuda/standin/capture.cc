// Stream capture: what the stream is asked for is kept as functions, in order, and run at every launch. What a device
// refuses while it captures (waiting, copies from and to pageable host memory) ends the capture with its code.
#include <vector>

#include "standin.h"
#include "streams.h"

namespace {

struct Node {
  std::function<int()> run;
  std::shared_ptr<Early> early;
};
typedef std::vector<Node> Work;
enum { UNSUPPORTED = 900, INVALIDATED = 901, NOT_CAPTURING = 401 };

Work* captured = nullptr;
void* capturedStream = nullptr;
bool isInvalidated = false;

}  // namespace

int refusedWhileCapturing() {
  if (captured == nullptr) return 0;
  isInvalidated = true;
  return UNSUPPORTED;
}

bool isCapturing(void* stream) { return captured != nullptr && stream == capturedStream; }

int enqueue(void* stream, std::function<int()> work, std::shared_ptr<Early> early) {
  if (!isCapturing(stream)) return doOn(stream, std::move(work));
  captured->push_back({std::move(work), std::move(early)});
  return 0;
}

STANDIN_API int cuStreamBeginCapture_v2(void* stream, int) {
  if (const int failure = plannedFailure(__func__)) return failure;
  if (captured != nullptr) return NOT_CAPTURING;
  captured = new Work;
  capturedStream = stream;
  isInvalidated = false;
  return 0;
}
STANDIN_API int cuStreamEndCapture(void*, void** graph) {
  *graph = nullptr;
  if (captured == nullptr) return NOT_CAPTURING;
  const int failure = isInvalidated ? static_cast<int>(INVALIDATED) : plannedFailure(__func__);
  if (failure != 0) delete captured;
  else *graph = captured;
  captured = nullptr;
  return failure;
}
STANDIN_API int cuGraphInstantiateWithFlags(void** launchable, void* graph, unsigned long long) {
  if (const int failure = plannedFailure(__func__)) return failure;
  *launchable = new std::shared_ptr<Work>(new Work(*static_cast<Work*>(graph)));
  return 0;
}
STANDIN_API int cuGraphLaunch(void* launchable, void* stream) {
  if (const int failure = plannedFailure(__func__)) return failure;
  // Kept, since it may be destroyed before it is done.
  return doOn(stream, [all = *static_cast<std::shared_ptr<Work>*>(launchable)] {
    for (const auto& node : *all)
      if (node.early != nullptr) node.early->graphStarts();
    for (const auto& node : *all)
      if (const int failure = node.run()) return failure;
    return 0;
  });
}
STANDIN_API int cuGraphDestroy(void* graph) { delete static_cast<Work*>(graph); return 0; }
STANDIN_API int cuGraphExecDestroy(void* launchable) { delete static_cast<std::shared_ptr<Work>*>(launchable); return 0; }
