// Work taken down instead of done (CUDA graphs), to be enqueued as a whole by one call. What may be asked of the driver while
// it is taken down, and which memory the work may use, is decided in TypeScript (graphs.ts).
#include "device.h"

namespace {

abi::Handle launchable(const Call& call) { return reinterpret_cast<abi::Handle>(call.address(0)); }

// beginCapture(): from here on the stream's work is taken down. Relaxed: segments and kernels may be got meanwhile.
napi_value beginCapture(Call& call) {
  mustBeOpen();
  restTransfers();
  check(cuda.driver.beginCapture(cuda.stream, abi::CAPTURE_RELAXED), "starting a capture");
  beginCapturedTransfers();
  return call.nothing();
}

// endCapture() -> what launchGraph takes
napi_value endCapture(Call& call) {
  mustBeOpen();
  abi::Handle graph = nullptr, made = nullptr;
  const abi::Result joined = joinCapturedTransfers();
  const abi::Result ended = cuda.driver.endCapture(cuda.stream, &graph);
  abi::Result result = joined != abi::SUCCESS ? joined : ended;
  if (result == abi::SUCCESS) result = cuda.driver.instantiate(&made, graph, 0);
  if (graph != nullptr) cuda.driver.destroyGraph(graph);
  endCapturedTransfers(made);
  check(joined, "joining copies to a capture");
  check(ended, "ending a capture");
  check(result, "making a graph");
  return call.give(static_cast<double>(reinterpret_cast<uintptr_t>(made)));
}

// abandonCapture(): ends one whose work failed
napi_value abandonCapture(Call& call) {
  mustBeOpen();
  abi::Handle graph = nullptr;
  if (cuda.driver.endCapture(cuda.stream, &graph) == abi::SUCCESS && graph != nullptr) cuda.driver.destroyGraph(graph);
  endCapturedTransfers(nullptr);
  return call.nothing();
}

napi_value launchGraph(Call& call) {
  mustBeOpen();
  check(cuda.driver.launchGraph(launchable(call), cuda.stream), "launching a graph");
  return call.nothing();
}

// destroyGraph(graph), when its launches are through
napi_value destroyGraph(Call& call) {
  mustBeOpen();
  // On a device that is lost both fail, and there is nothing left to give back.
  cuda.driver.synchronize(cuda.stream);
  cuda.driver.destroyLaunchable(launchable(call));
  releaseTransfersOf(launchable(call));
  return call.nothing();
}

}  // namespace

void publishCapture(napi_env env, napi_value exports) {
  publish<beginCapture>(env, exports, "beginCapture");
  publish<endCapture>(env, exports, "endCapture");
  publish<abandonCapture>(env, exports, "abandonCapture");
  publish<launchGraph>(env, exports, "launchGraph");
  publish<destroyGraph>(env, exports, "destroyGraph");
}
