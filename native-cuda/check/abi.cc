// Compiled and never run: holds our prototypes, numbers and structs (../src/abi.h) to NVIDIA's headers, as far as those are
// here. A function must take as many arguments of the same size and kind, and give a result of the same size.
#include <type_traits>

#if __has_include(<cuda.h>) && defined(REVNET_CHECK_DRIVER)
#include <cuda.h>
#endif
#if __has_include(<nvrtc.h>) && defined(REVNET_CHECK_COMPILER)
#include <nvrtc.h>
#endif
#if __has_include(<cublasLt.h>) && defined(REVNET_CHECK_PRODUCTS)
#include <cublasLt.h>
#endif
#if __has_include(<cudnn.h>) && defined(REVNET_CHECK_GRAPHS)
#include <cudnn.h>
#endif
#if __has_include(<nccl.h>) && defined(REVNET_CHECK_COLLECTIVES)
#include <nccl.h>
#endif

#include "../src/abi.h"

template <class Ours, class Theirs>
constexpr bool same() {
  return std::is_void<Ours>::value == std::is_void<Theirs>::value && std::is_pointer<Ours>::value == std::is_pointer<Theirs>::value;
}
template <class Ours, class Theirs>
constexpr bool sameValue() {
  return same<Ours, Theirs>() && sizeof(Ours) == sizeof(Theirs) && alignof(Ours) == alignof(Theirs) &&
         std::is_class<Ours>::value == std::is_class<Theirs>::value && std::is_floating_point<Ours>::value == std::is_floating_point<Theirs>::value;
}
template <class Ours, class Theirs>
struct Result {
  static constexpr bool agrees = sameValue<Ours, Theirs>();
};
template <>
struct Result<void, void> {
  static constexpr bool agrees = true;
};

template <class Ours, class Theirs>
struct Agrees {
  static constexpr bool value = false;
};
template <class R, class... A, class S, class... B>
struct Agrees<R(A...), S(B...)> {
  template <bool fits, class Dummy = void>
  struct Arguments {
    static constexpr bool value = false;
  };
  template <class Dummy>
  struct Arguments<true, Dummy> {
    static constexpr bool value = (sameValue<A, B>() && ... && true);
  };
  static constexpr bool value = Result<R, S>::agrees && Arguments<sizeof...(A) == sizeof...(B)>::value;
};

// One assertion a function, written from the lists of abi.h (abiCheck.ts).
#include "symbols.inc"

#ifdef REVNET_CHECK_DRIVER
static_assert(abi::SUCCESS == CUDA_SUCCESS && abi::OUT_OF_MEMORY == CUDA_ERROR_OUT_OF_MEMORY && abi::NO_DEVICE == CUDA_ERROR_NO_DEVICE, "results");
static_assert(abi::ATTRIBUTE_SHARED_OPTIN == CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, "attributes");
static_assert(abi::ATTRIBUTE_PROCESSORS == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, "attributes");
static_assert(abi::ATTRIBUTE_MAJOR == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, "attributes");
static_assert(abi::ATTRIBUTE_MINOR == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, "attributes");
static_assert(abi::FUNCTION_MAX_DYNAMIC_SHARED == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, "function attributes");
static_assert(abi::FUNCTION_PTX_VERSION == CU_FUNC_ATTRIBUTE_PTX_VERSION, "function attributes");
static_assert(abi::LAUNCH_EARLY == CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION, "launch attributes");
static_assert(sizeof(abi::LaunchAttribute) == sizeof(CUlaunchAttribute) && sizeof(abi::LaunchConfiguration) == sizeof(CUlaunchConfig), "structs");
static_assert(offsetof(abi::LaunchAttribute, value) == offsetof(CUlaunchAttribute, value), "struct");
static_assert(offsetof(abi::LaunchConfiguration, stream) == offsetof(CUlaunchConfig, hStream), "struct");
static_assert(offsetof(abi::LaunchConfiguration, attributes) == offsetof(CUlaunchConfig, attrs), "struct");
static_assert(offsetof(abi::LaunchConfiguration, count) == offsetof(CUlaunchConfig, numAttrs), "struct");
static_assert(abi::STREAM_NON_BLOCKING == CU_STREAM_NON_BLOCKING && abi::EVENT_DEFAULT == CU_EVENT_DEFAULT, "flags");
static_assert(abi::HOST_MAPPED == (CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP), "flags");
static_assert(abi::CAPTURE_RELAXED == CU_STREAM_CAPTURE_MODE_RELAXED, "capture modes");
static_assert(sizeof(abi::Pointer) == sizeof(CUdeviceptr) && sizeof(abi::Device) == sizeof(CUdevice), "types");
#endif
#ifdef REVNET_CHECK_PRODUCTS
static_assert(sizeof(abi::Heuristic) == sizeof(cublasLtMatmulHeuristicResult_t), "struct");
static_assert(offsetof(abi::Heuristic, state) == offsetof(cublasLtMatmulHeuristicResult_t, state), "struct");
static_assert(sizeof(abi::Algorithm) == sizeof(cublasLtMatmulAlgo_t), "struct");
static_assert(abi::R_32F == CUDA_R_32F && abi::R_16F == CUDA_R_16F && abi::R_16BF == CUDA_R_16BF, "types");
static_assert(abi::COMPUTE_32F == CUBLAS_COMPUTE_32F && abi::COMPUTE_32F_TF32 == CUBLAS_COMPUTE_32F_FAST_TF32, "compute types");
static_assert(abi::PRODUCT_TRANSPOSE_A == CUBLASLT_MATMUL_DESC_TRANSA && abi::PRODUCT_TRANSPOSE_B == CUBLASLT_MATMUL_DESC_TRANSB, "attributes");
static_assert(abi::PRODUCT_EPILOGUE == CUBLASLT_MATMUL_DESC_EPILOGUE && abi::PRODUCT_BIAS == CUBLASLT_MATMUL_DESC_BIAS_POINTER, "attributes");
static_assert(abi::PRODUCT_AUX == CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, "attributes");
static_assert(abi::PRODUCT_AUX_LEADING == CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, "attributes");
static_assert(abi::EPILOGUE_GELU_AUX == CUBLASLT_EPILOGUE_GELU_AUX && abi::EPILOGUE_GELU_AUX_BIAS == CUBLASLT_EPILOGUE_GELU_AUX_BIAS, "epilogues");
static_assert(abi::EPILOGUE_GELU_BACK == CUBLASLT_EPILOGUE_DGELU, "epilogues");
static_assert(abi::EPILOGUE_NONE == CUBLASLT_EPILOGUE_DEFAULT && abi::EPILOGUE_BIAS == CUBLASLT_EPILOGUE_BIAS, "epilogues");
static_assert(abi::LAYOUT_BATCH == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, "attributes");
static_assert(abi::LAYOUT_BATCH_STRIDE == CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, "attributes");
static_assert(abi::PREFERENCE_WORKSPACE == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, "attributes");
static_assert(abi::PREFERENCE_ALIGNMENT_A == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, "attributes");
static_assert(abi::PREFERENCE_ALIGNMENT_D == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, "attributes");
#endif
#ifdef REVNET_CHECK_COLLECTIVES
static_assert(sizeof(abi::UniqueId) == sizeof(ncclUniqueId), "struct");
#endif
