// Attention as cuDNN graphs: q [b, h, t, d], k and v [b, h, s, d], of any strides whose last is 1. Forward gives o and the
// log-sum-exp in float32. Backward writes the scores' gradients once to memory instead of adding to dq block by block, in
// whatever order blocks end: the same bits every time. The graphs have the form that every cuDNN 9 knows as flash attention.
// Source: Dao et al. 2022 (arXiv:2205.14135).
#include <cmath>
#include <memory>

#include "graph.h"

abi::Graphs cudnn;
abi::Handle cudnnHandle = nullptr;

namespace {

/** What `planAttention` is given, in this order. */
struct Sizes {
  int64_t isBackward, type, batch, heads, t, s, d, isCausal;
};

struct Plan {
  Graph graph;
  std::vector<int64_t> operands;  // in memory, in the order `runAttention` is given them
  std::vector<int64_t> numbers;   // of the host: -∞ (where causal), 1 (backward), the scale
  std::vector<float> values;
};
std::vector<std::unique_ptr<Plan>> plans;

/** Builds the two graphs; scores [b, h, t, s] are never in memory as a whole. */
struct Builder {
  Plan& plan;
  Graph& graph;
  const Sizes& n;
  const double* strides;  // of one operand after the other: batch, head, row
  const Four scores{n.batch, n.heads, n.t, n.s}, row{n.batch, n.heads, n.t, 1}, rowStrides{n.heads * n.t, n.t, 1, 1};

  Builder(Plan& plan, const Sizes& n, const double* strides) : plan(plan), graph(plan.graph), n(n), strides(strides) {}

  Graph::Tensor operand(int type, const Four& sizes, const Four& steps) {
    const Graph::Tensor made = graph.input(type, sizes, steps);
    plan.operands.push_back(made.id);
    return made;
  }
  /** The next operand [b, h, rows, d]. */
  Graph::Tensor rows(int64_t count) { return operand(static_cast<int>(n.type), {n.batch, n.heads, count, n.d}, next(false)); }
  /** The next operand, read as its transpose [b, h, d, rows]. */
  Graph::Tensor columns(int64_t count) { return operand(static_cast<int>(n.type), {n.batch, n.heads, n.d, count}, next(true)); }
  Graph::Tensor statistics() { return operand(abi::GRAPH_F32, row, rowStrides); }
  Graph::Tensor number(float value) {
    const Graph::Tensor made = graph.scalar();
    plan.numbers.push_back(made.id);
    plan.values.push_back(value);
    return made;
  }
  Four next(bool isTransposed) {
    const int64_t batch = static_cast<int64_t>(strides[0]), head = static_cast<int64_t>(strides[1]), step = static_cast<int64_t>(strides[2]);
    strides += 3;
    return isTransposed ? Four{batch, head, 1, step} : Four{batch, head, step, 1};
  }

  Graph::Tensor scoresOf(int mode, const Graph::Tensor& x, const Graph::Tensor& by, int type = abi::GRAPH_F32) {
    const Graph::Tensor y = graph.between(type, scores);
    graph.pointwise(mode, x, &by, nullptr, y);
    return y;
  }
  Graph::Tensor exponential(const Graph::Tensor& x) {
    const Graph::Tensor y = graph.between(abi::GRAPH_F32, scores);
    graph.pointwise(abi::DO_EXP, x, nullptr, nullptr, y);
    return y;
  }
  /** -∞ where a query comes before a key. */
  Graph::Tensor masked(const Graph::Tensor& x) {
    if (n.isCausal == 0) return x;
    const Graph::Tensor query = graph.between(abi::GRAPH_I32, scores), key = graph.between(abi::GRAPH_I32, scores);
    const Graph::Tensor isSeen = graph.between(abi::GRAPH_BOOL, scores), y = graph.between(abi::GRAPH_F32, scores);
    const Graph::Tensor hidden = number(-INFINITY);
    graph.pointwise(abi::DO_INDEX, x, nullptr, nullptr, query, abi::GRAPH_I32, 2);
    graph.pointwise(abi::DO_INDEX, x, nullptr, nullptr, key, abi::GRAPH_I32, 3);
    graph.pointwise(abi::DO_GREATER_EQUAL, query, &key, nullptr, isSeen, abi::GRAPH_BOOL);
    graph.pointwise(abi::DO_SELECT, x, &hidden, &isSeen, y);
    return y;
  }
  Graph::Tensor transposed(const Graph::Tensor& x) {
    const Graph::Tensor y = graph.between(static_cast<int>(n.type), {n.batch, n.heads, n.s, n.t}, {n.heads * n.t * n.s, n.t * n.s, 1, n.s});
    graph.reshape(x, y);
    return y;
  }

  /** Operands: q, k, v, o, log-sum-exp. */
  void forward(float scale) {
    const Graph::Tensor q = rows(n.t), k = columns(n.s), v = rows(n.s), o = rows(n.t), lse = statistics();
    const Graph::Tensor product = graph.between(abi::GRAPH_F32, scores);
    graph.multiply(q, k, product);
    const Graph::Tensor score = masked(scoresOf(abi::DO_MUL, product, number(scale)));
    const Graph::Tensor top = graph.between(abi::GRAPH_F32, row), total = graph.between(abi::GRAPH_F32, row);
    const Graph::Tensor logarithm = graph.between(abi::GRAPH_F32, row);
    graph.reduce(abi::REDUCE_MAX, score, top);
    const Graph::Tensor weight = exponential(scoresOf(abi::DO_SUB, score, top));
    graph.reduce(abi::REDUCE_ADD, weight, total);
    graph.pointwise(abi::DO_LOG, total, nullptr, nullptr, logarithm);
    graph.pointwise(abi::DO_ADD, top, &logarithm, nullptr, lse);
    graph.multiply(scoresOf(abi::DO_DIV, weight, total, static_cast<int>(n.type)), v, o);
  }

  /** Operands: q, k, v, o, gradient of o, dq, dk, dv, log-sum-exp, delta. */
  void backward(float scale) {
    const int type = static_cast<int>(n.type);
    const double* ofKeys = strides + 3;
    const Graph::Tensor q = rows(n.t), k = columns(n.s), v = columns(n.s), o = rows(n.t), g = rows(n.t);
    const Graph::Tensor dq = rows(n.t), dk = rows(n.s), dv = rows(n.s), lse = statistics(), delta = statistics();
    const Graph::Tensor factor = number(scale), one = number(1);

    const Four wide{n.batch, n.heads, n.t, n.d};
    const Graph::Tensor product = graph.between(abi::GRAPH_F32, wide, {n.heads * n.t * n.d, n.t * n.d, n.heads * n.d, 1});
    const Graph::Tensor sum = graph.between(abi::GRAPH_F32, row);
    graph.pointwise(abi::DO_MUL, g, &o, nullptr, product);
    graph.reduce(abi::REDUCE_ADD, product, sum);
    graph.pointwise(abi::DO_MUL, sum, &one, nullptr, delta);

    const Graph::Tensor score = graph.between(abi::GRAPH_F32, scores);
    graph.multiply(q, k, score);
    const Graph::Tensor weight = exponential(masked(scoresOf(abi::DO_SUB, scoresOf(abi::DO_MUL, score, factor), lse)));
    graph.multiply(transposed(weight), g, dv);

    const Graph::Tensor byWeight = graph.between(abi::GRAPH_F32, scores);
    graph.multiply(g, v, byWeight);
    const Graph::Tensor change = scoresOf(abi::DO_MUL, scoresOf(abi::DO_SUB, byWeight, delta), weight);
    const Graph::Tensor byScore = scoresOf(abi::DO_MUL, change, factor, type);
    graph.multiply(transposed(byScore), q, dk);
    const Graph::Tensor keys = graph.between(type, {n.batch, n.heads, n.s, n.d},
                                             {static_cast<int64_t>(ofKeys[0]), static_cast<int64_t>(ofKeys[1]), static_cast<int64_t>(ofKeys[2]), 1});
    graph.reshape(k, keys);
    graph.multiply(byScore, keys, dq);
  }
};

// openAttention(path) -> version, 91900 for 9.19
napi_value openAttention(Call& call) {
  mustBeOpen();
  cudnn.open(call.text(0));
  if (cudnnHandle == nullptr) {
    checkGraph(cudnn.create(&cudnnHandle), "starting cuDNN");
    checkGraph(cudnn.setStream(cudnnHandle, cuda.stream), "starting cuDNN");
  }
  return call.give(static_cast<double>(cudnn.version()));
}

const double* numbersAt(const Call& call, size_t i) { return static_cast<const double*>(call.bytes(i)); }

// planAttention(Float64Array: isBackward, type, batch, heads, t, s, d, isCausal, then three strides an operand; scale,
//   which of the library's choices) -> [plan, bytes of workspace]; plan -1 where the library has none
napi_value planAttention(Call& call) {
  mustBeOpen();
  const double* given = numbersAt(call, 0);
  auto whole = [&](int i) { return static_cast<int64_t>(given[i]); };
  const Sizes sizes{whole(0), whole(1), whole(2), whole(3), whole(4), whole(5), whole(6), whole(7)};
  auto plan = std::make_unique<Plan>();
  bool isPlanned = false;
  try {
    Builder builder(*plan, sizes, given + 8);
    const float scale = static_cast<float>(call.number(1));
    if (sizes.isBackward != 0) builder.backward(scale);
    else builder.forward(scale);
    isPlanned = plan->graph.plan(call.integer(2));
  } catch (const Failure&) {
    // A node that this version does not know: another kernel serves.
  }
  if (!isPlanned) return call.give({-1.0, 0.0});
  const double workspace = static_cast<double>(plan->graph.workspaceBytes());
  plans.push_back(std::move(plan));
  return call.give({static_cast<double>(plans.size() - 1), workspace});
}

// runAttention(plan, workspace, Float64Array of addresses in the order of the plan's operands)
napi_value runAttention(Call& call) {
  mustBeOpen();
  Plan& plan = *plans[static_cast<size_t>(call.integer(0))];
  const double* addresses = numbersAt(call, 2);
  std::vector<int64_t> ids = plan.operands;
  std::vector<void*> pointers;
  for (size_t i = 0; i < plan.operands.size(); i++) pointers.push_back(reinterpret_cast<void*>(static_cast<uint64_t>(addresses[i])));
  for (size_t i = 0; i < plan.numbers.size(); i++) {
    ids.push_back(plan.numbers[i]);
    pointers.push_back(&plan.values[i]);
  }
  plan.graph.run(ids, pointers, reinterpret_cast<void*>(call.address(1)));
  return call.nothing();
}

}  // namespace

void publishAttention(napi_env env, napi_value exports) {
  publish<openAttention>(env, exports, "openAttention");
  publish<planAttention>(env, exports, "planAttention");
  publish<runAttention>(env, exports, "runAttention");
}
