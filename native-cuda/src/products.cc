// Matrix products by cuBLASLt. A plan is made once for a shape: one of the library's choices for it, whose order follows from
// the plan's numbers and the library's version alone, so that the same product has the same bits every time.
#include "device.h"

namespace {

abi::Products products;
abi::Handle context = nullptr;

void checkProduct(int status, const char* what) {
  if (status != 0) throw Failure("CUBLAS_" + std::to_string(status), std::string(what) + ": cuBLASLt status " + std::to_string(status));
}

struct Plan {
  abi::Handle product = nullptr, a = nullptr, b = nullptr, d = nullptr;
  abi::Algorithm algorithm{};
  int epilogue = abi::EPILOGUE_NONE;

  ~Plan() {
    if (a != nullptr) products.destroyLayout(a);
    if (b != nullptr) products.destroyLayout(b);
    if (d != nullptr) products.destroyLayout(d);
    if (product != nullptr) products.destroyProduct(product);
  }
};
std::vector<Plan*> plans;

// openProducts(path) -> version
napi_value openProducts(Call& call) {
  mustBeOpen();
  products.open(call.text(0));
  if (context == nullptr) checkProduct(products.create(&context), "starting cuBLASLt");
  return call.give(static_cast<double>(products.version()));
}

abi::Handle layout(int type, uint64_t rows, uint64_t columns, int64_t leading, int batch, int64_t step) {
  abi::Handle made = nullptr;
  checkProduct(products.createLayout(&made, type, rows, columns, leading), "describing a matrix");
  checkProduct(products.setLayout(made, abi::LAYOUT_BATCH, &batch, sizeof batch), "describing a matrix");
  checkProduct(products.setLayout(made, abi::LAYOUT_BATCH_STRIDE, &step, sizeof step), "describing a matrix");
  return made;
}

// planProduct(type of a and b, type of d, compute, transposes a, b, m, n, k, leading a, b, d, batch, step a, b, d,
//   epilogue, alignment, workspace bytes, which of the library's choices) -> plan, or -1 where the library has none.
//   Column-major: d [m, n].
napi_value planProduct(Call& call) {
  mustBeOpen();
  int type = call.integer(0), typeD = call.integer(1), compute = call.integer(2);
  int transA = call.integer(3), transB = call.integer(4);
  uint64_t m = call.address(5), n = call.address(6), k = call.address(7);
  int batch = call.integer(11);
  auto wide = [&](size_t i) { return static_cast<int64_t>(call.number(i)); };
  auto* plan = new Plan;
  try {
    checkProduct(products.createProduct(&plan->product, compute, abi::R_32F), "planning a product");
    auto set = [&](int what, const void* value, size_t size) {
      checkProduct(products.setProduct(plan->product, what, value, size), "planning a product");
    };
    set(abi::PRODUCT_TRANSPOSE_A, &transA, sizeof transA);
    set(abi::PRODUCT_TRANSPOSE_B, &transB, sizeof transB);
    plan->epilogue = call.integer(15);
    set(abi::PRODUCT_EPILOGUE, &plan->epilogue, sizeof plan->epilogue);
    if ((plan->epilogue & abi::EPILOGUE_AUX) != 0) {
      const int64_t leading = wide(10);
      set(abi::PRODUCT_AUX_LEADING, &leading, sizeof leading);
    }
    plan->a = transA ? layout(type, k, m, wide(8), batch, wide(12)) : layout(type, m, k, wide(8), batch, wide(12));
    plan->b = transB ? layout(type, n, k, wide(9), batch, wide(13)) : layout(type, k, n, wide(9), batch, wide(13));
    plan->d = layout(typeD, m, n, wide(10), batch, wide(14));

    abi::Handle preference = nullptr;
    checkProduct(products.createPreference(&preference), "planning a product");
    uint64_t workspace = call.address(17);
    uint32_t alignment = static_cast<uint32_t>(call.number(16));
    products.setPreference(preference, abi::PREFERENCE_WORKSPACE, &workspace, sizeof workspace);
    for (int what = abi::PREFERENCE_ALIGNMENT_A; what <= abi::PREFERENCE_ALIGNMENT_D; what++)
      products.setPreference(preference, what, &alignment, sizeof alignment);
    const int which = call.integer(18);
    std::vector<abi::Heuristic> found(static_cast<size_t>(which) + 1);
    int count = 0;
    int status = products.heuristic(context, plan->product, plan->a, plan->b, plan->d, plan->d, preference, which + 1,
                                    found.data(), &count);
    products.destroyPreference(preference);
    if (status != 0 || count <= which || found[static_cast<size_t>(which)].state != 0) {
      delete plan;
      return call.give(-1);
    }
    plan->algorithm = found[static_cast<size_t>(which)].algorithm;
  } catch (...) {
    delete plan;
    throw;
  }
  plans.push_back(plan);
  return call.give(static_cast<double>(plans.size() - 1));
}

// multiply(plan, a, b, d, bias, alpha, workspace, bytes of it, beta, aux): d = alpha a b + beta d. Of the epilogue: a bias, and
//   where GELU's argument goes or is; else 0.
napi_value multiply(Call& call) {
  mustBeOpen();
  Plan& plan = *plans[static_cast<size_t>(call.integer(0))];
  auto pointer = [&](size_t i) { return reinterpret_cast<void*>(call.address(i)); };
  auto set = [&](int what, const void* address) {
    checkProduct(products.setProduct(plan.product, what, &address, sizeof address), "setting an epilogue's operand");
  };
  if ((plan.epilogue & abi::EPILOGUE_BIAS) != 0) set(abi::PRODUCT_BIAS, pointer(4));
  if ((plan.epilogue & abi::EPILOGUE_AUX) != 0) set(abi::PRODUCT_AUX, pointer(9));
  float alpha = static_cast<float>(call.number(5)), beta = static_cast<float>(call.number(8));
  checkProduct(products.multiply(context, plan.product, &alpha, pointer(1), plan.a, pointer(2), plan.b, &beta, pointer(3),
                                 plan.d, pointer(3), plan.d, &plan.algorithm, pointer(6),
                                 static_cast<size_t>(call.number(7)), cuda.stream),
               "multiplying matrices");
  return call.nothing();
}

}  // namespace

void publishProducts(napi_env env, napi_value exports) {
  publish<openProducts>(env, exports, "openProducts");
  publish<planProduct>(env, exports, "planProduct");
  publish<multiply>(env, exports, "multiply");
}
