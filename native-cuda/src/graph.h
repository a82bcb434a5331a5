// A graph of cuDNN operations, built node by node through the library's plain C interface, and the plan that runs it.
#pragma once
#include <utility>
#include <vector>

#include "device.h"

extern abi::Graphs cudnn;
extern abi::Handle cudnnHandle;

/** Sizes or strides of [batch, heads, rows, columns]. */
typedef std::vector<int64_t> Four;

/** What the library refuses or fails at; `Graph::plan` gives false for what it has no engine for. */
inline void checkGraph(int status, const char* what) {
  if (status == 0) return;
  char text[1024] = "";
  cudnn.lastError(text, sizeof text);
  throw Failure("CUDNN_" + std::to_string(status), std::string(what) + ": " + text);
}

class Graph {
 public:
  struct Tensor {
    abi::Handle descriptor;
    int64_t id;
  };

  Graph() = default;
  Graph(const Graph&) = delete;
  ~Graph() {
    for (auto d = owned_.rbegin(); d != owned_.rend(); ++d) cudnn.destroyDescriptor(*d);
  }

  /** A tensor in memory, whose address is given when the graph runs. */
  Tensor input(int type, const Four& sizes, const Four& strides) { return tensor(type, sizes, strides, false, false); }
  /** A number in host memory. */
  Tensor scalar() { return tensor(abi::GRAPH_F32, {1, 1, 1, 1}, {1, 1, 1, 1}, false, true); }
  /** What goes from one operation to the next, and into no memory. */
  Tensor between(int type, const Four& sizes) {
    return tensor(type, sizes, {sizes[1] * sizes[2] * sizes[3], sizes[2] * sizes[3], sizes[3], 1}, true, false);
  }
  Tensor between(int type, const Four& sizes, const Four& strides) { return tensor(type, sizes, strides, true, false); }

  void multiply(const Tensor& a, const Tensor& b, const Tensor& c) {
    const abi::Handle how = make(abi::MATMUL);
    set(how, abi::MATMUL_PRECISION, abi::OF_DATA_TYPE, static_cast<int>(abi::GRAPH_F32));
    finish(how);
    operation(abi::OPERATION_MATMUL, {{abi::OP_MATMUL_A, a.descriptor}, {abi::OP_MATMUL_B, b.descriptor},
                                      {abi::OP_MATMUL_C, c.descriptor}, {abi::OP_MATMUL, how}});
  }
  /** y = mode(x, b), chosen by t; `axis` for indices along one. */
  void pointwise(int mode, const Tensor& x, const Tensor* b, const Tensor* t, const Tensor& y, int type = abi::GRAPH_F32,
                 int64_t axis = -1) {
    const abi::Handle how = make(abi::POINTWISE);
    set(how, abi::POINTWISE_MODE, abi::OF_POINTWISE_MODE, mode);
    set(how, abi::POINTWISE_PRECISION, abi::OF_DATA_TYPE, type);
    if (axis >= 0) set(how, abi::POINTWISE_AXIS, abi::OF_INT64, axis);
    finish(how);
    std::vector<std::pair<int, abi::Handle>> parts = {{abi::OP_POINTWISE, how}, {abi::OP_POINTWISE_X, x.descriptor}};
    if (b != nullptr) parts.push_back({abi::OP_POINTWISE_B, b->descriptor});
    if (t != nullptr) parts.push_back({abi::OP_POINTWISE_T, t->descriptor});
    parts.push_back({abi::OP_POINTWISE_Y, y.descriptor});
    operation(abi::OPERATION_POINTWISE, parts);
  }
  void reduce(int how, const Tensor& x, const Tensor& y) {
    const abi::Handle reduction = make(abi::REDUCTION);
    set(reduction, abi::REDUCTION_OPERATOR, abi::OF_REDUCTION, how);
    set(reduction, abi::REDUCTION_PRECISION, abi::OF_DATA_TYPE, static_cast<int>(abi::GRAPH_F32));
    finish(reduction);
    operation(abi::OPERATION_REDUCTION, {{abi::OP_REDUCTION_X, x.descriptor}, {abi::OP_REDUCTION_Y, y.descriptor},
                                         {abi::OP_REDUCTION, reduction}});
  }
  /** The same elements under other strides: a transpose. */
  void reshape(const Tensor& x, const Tensor& y) {
    operation(abi::OPERATION_RESHAPE, {{abi::OP_RESHAPE_X, x.descriptor}, {abi::OP_RESHAPE_Y, y.descriptor}});
  }

  /**
   * Takes the first of the library's deterministic engines from the `which`th on that it makes a plan of; false where there is none.
   * Which ones there are follows from graph and version alone.
   */
  bool plan(int which) {
    const abi::Handle graph = make(abi::OPERATION_GRAPH);
    setAll(graph, abi::GRAPH_OPERATIONS, abi::OF_DESCRIPTOR, operations_);
    set(graph, abi::GRAPH_HANDLE, abi::OF_HANDLE, cudnnHandle);
    if (cudnn.finalize(graph) != 0) return false;
    int left = which;
    for (int mode : {abi::MODE_A, abi::MODE_FALLBACK}) {
      for (abi::Handle config : configsOf(graph, mode)) {
        if (!isDeterministic(config)) continue;
        if (left-- <= 0 && take(config)) return true;
      }
    }
    return false;
  }
  int64_t workspaceBytes() const { return workspaceBytes_; }

  void run(const std::vector<int64_t>& ids, const std::vector<void*>& pointers, void* workspace) {
    abi::Handle pack = nullptr;
    checkGraph(cudnn.createDescriptor(abi::VARIANT_PACK, &pack), "naming a graph's operands");
    int status = cudnn.set(pack, abi::PACK_IDS, abi::OF_INT64, static_cast<int64_t>(ids.size()), ids.data());
    if (status == 0) status = cudnn.set(pack, abi::PACK_POINTERS, abi::OF_POINTER, static_cast<int64_t>(pointers.size()), pointers.data());
    if (status == 0) status = cudnn.set(pack, abi::PACK_WORKSPACE, abi::OF_POINTER, 1, &workspace);
    if (status == 0) status = cudnn.finalize(pack);
    if (status == 0) status = cudnn.execute(cudnnHandle, plan_, pack);
    cudnn.destroyDescriptor(pack);
    checkGraph(status, "running a graph");
  }

 private:
  abi::Handle make(int kind) {
    abi::Handle made = nullptr;
    checkGraph(cudnn.createDescriptor(kind, &made), "describing a graph");
    owned_.push_back(made);
    return made;
  }
  template <class T>
  void setAll(abi::Handle of, int attribute, int type, const std::vector<T>& values) {
    checkGraph(cudnn.set(of, attribute, type, static_cast<int64_t>(values.size()), values.data()), "describing a graph");
  }
  template <class T>
  void set(abi::Handle of, int attribute, int type, const T& value) {
    checkGraph(cudnn.set(of, attribute, type, 1, &value), "describing a graph");
  }
  void finish(abi::Handle made) { checkGraph(cudnn.finalize(made), "describing a graph"); }

  Tensor tensor(int type, const Four& sizes, const Four& strides, bool isVirtual, bool isByValue) {
    const Tensor made{make(abi::TENSOR), static_cast<int64_t>(owned_.size())};
    const int64_t alignment = 16;
    set(made.descriptor, abi::TENSOR_TYPE, abi::OF_DATA_TYPE, type);
    setAll(made.descriptor, abi::TENSOR_SIZES, abi::OF_INT64, sizes);
    setAll(made.descriptor, abi::TENSOR_STRIDES, abi::OF_INT64, strides);
    set(made.descriptor, abi::TENSOR_ID, abi::OF_INT64, made.id);
    set(made.descriptor, abi::TENSOR_ALIGNMENT, abi::OF_INT64, alignment);
    set(made.descriptor, abi::TENSOR_IS_VIRTUAL, abi::OF_BOOLEAN, isVirtual);
    if (isByValue) set(made.descriptor, abi::TENSOR_IS_BY_VALUE, abi::OF_BOOLEAN, isByValue);
    finish(made.descriptor);
    return made;
  }
  void operation(int kind, const std::vector<std::pair<int, abi::Handle>>& parts) {
    const abi::Handle made = make(kind);
    for (const auto& part : parts) set(made, part.first, abi::OF_DESCRIPTOR, part.second);
    finish(made);
    operations_.push_back(made);
  }
  /** What the library proposes for a graph, best first. */
  std::vector<abi::Handle> configsOf(abi::Handle graph, int mode) {
    const abi::Handle heuristic = make(abi::ENGINE_HEURISTIC);
    set(heuristic, abi::HEURISTIC_GRAPH, abi::OF_DESCRIPTOR, graph);
    set(heuristic, abi::HEURISTIC_MODE, abi::OF_HEURISTIC_MODE, mode);
    if (cudnn.finalize(heuristic) != 0) return {};
    int64_t count = 0;
    checkGraph(cudnn.get(heuristic, abi::HEURISTIC_RESULTS, abi::OF_DESCRIPTOR, 0, &count, nullptr), "counting engines");
    std::vector<abi::Handle> configs(static_cast<size_t>(count));
    for (auto& config : configs) config = make(abi::ENGINE_CONFIG);
    checkGraph(cudnn.get(heuristic, abi::HEURISTIC_RESULTS, abi::OF_DESCRIPTOR, count, &count, configs.data()), "asking for engines");
    configs.resize(static_cast<size_t>(count));
    return configs;
  }
  bool isDeterministic(abi::Handle config) {
    abi::Handle engine = make(abi::ENGINE);
    int64_t count = 0;
    if (cudnn.get(config, abi::CONFIG_ENGINE, abi::OF_DESCRIPTOR, 1, &count, &engine) != 0) return false;
    int notes[32] = {};
    if (cudnn.get(engine, abi::ENGINE_NOTES, abi::OF_NOTE, 32, &count, notes) != 0) return false;
    for (int64_t i = 0; i < count; i++)
      if (notes[i] == abi::NOTE_NONDETERMINISTIC) return false;
    return true;
  }
  bool take(abi::Handle config) {
    plan_ = make(abi::EXECUTION_PLAN);
    set(plan_, abi::PLAN_CONFIG, abi::OF_DESCRIPTOR, config);
    set(plan_, abi::PLAN_HANDLE, abi::OF_HANDLE, cudnnHandle);
    if (cudnn.finalize(plan_) != 0) return false;
    int64_t count = 0;
    checkGraph(cudnn.get(plan_, abi::PLAN_WORKSPACE, abi::OF_INT64, 1, &count, &workspaceBytes_), "asking for workspace");
    return true;
  }

  std::vector<abi::Handle> owned_, operations_;
  abi::Handle plan_ = nullptr;
  int64_t workspaceBytes_ = 0;
};
