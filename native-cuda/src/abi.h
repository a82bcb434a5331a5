// The part of NVIDIA's C interfaces that the addon calls, written against their documented, versioned ABI (names with
// their _v2, opaque handles). So the addon builds with a C++ compiler alone and links nothing.
#pragma once
#include <cstddef>
#include <cstdint>

namespace abi {

// -- the driver: libcuda.so.1

typedef int Result;
typedef int Device;
typedef unsigned long long Pointer;
typedef void* Handle;  // contexts, modules, functions, streams, events

enum : Result { SUCCESS = 0, OUT_OF_MEMORY = 2, NO_DEVICE = 100 };
enum : int { ATTRIBUTE_SHARED_OPTIN = 97, ATTRIBUTE_PROCESSORS = 16, ATTRIBUTE_MAJOR = 75, ATTRIBUTE_MINOR = 76 };
enum : int { FUNCTION_PTX_VERSION = 5, FUNCTION_MAX_DYNAMIC_SHARED = 8 };
enum : unsigned { STREAM_NON_BLOCKING = 1, EVENT_DEFAULT = 0, HOST_MAPPED = 3 };
enum : int { CAPTURE_RELAXED = 2 };
enum : int { MAP_PLAIN = 0, MAP_SWIZZLE_128B = 3, MAP_CACHE_256B = 3, MAP_ZEROS_OUTSIDE = 0 };

/** Of a launch; only numbers are given. */
struct LaunchAttribute {
  int id, padding;
  int value[16];
};
enum : int { LAUNCH_EARLY = 6 };
struct LaunchConfiguration {
  unsigned blocks[3], threads[3], sharedBytes;
  Handle stream;
  LaunchAttribute* attributes;
  unsigned count;
};

#define REVNET_DRIVER(X)                                                                                            \
  X(init, "cuInit", Result, (unsigned))                                                                             \
  X(driverVersion, "cuDriverGetVersion", Result, (int*))                                                            \
  X(errorName, "cuGetErrorName", Result, (Result, const char**))                                                    \
  X(errorText, "cuGetErrorString", Result, (Result, const char**))                                                  \
  X(deviceCount, "cuDeviceGetCount", Result, (int*))                                                                \
  X(device, "cuDeviceGet", Result, (Device*, int))                                                                  \
  X(deviceName, "cuDeviceGetName", Result, (char*, int, Device))                                                    \
  X(deviceMemory, "cuDeviceTotalMem_v2", Result, (size_t*, Device))                                                 \
  X(deviceAttribute, "cuDeviceGetAttribute", Result, (int*, int, Device))                                           \
  X(retainContext, "cuDevicePrimaryCtxRetain", Result, (Handle*, Device))                                           \
  X(releaseContext, "cuDevicePrimaryCtxRelease_v2", Result, (Device))                                               \
  X(setContext, "cuCtxSetCurrent", Result, (Handle))                                                                \
  X(memoryInfo, "cuMemGetInfo_v2", Result, (size_t*, size_t*))                                                      \
  X(allocate, "cuMemAlloc_v2", Result, (Pointer*, size_t))                                                          \
  X(release, "cuMemFree_v2", Result, (Pointer))                                                                     \
  X(allocateHost, "cuMemHostAlloc", Result, (void**, size_t, unsigned))                                             \
  X(releaseHost, "cuMemFreeHost", Result, (void*))                                                                  \
  X(hostPointer, "cuMemHostGetDevicePointer_v2", Result, (Pointer*, void*, unsigned))                               \
  X(upload, "cuMemcpyHtoDAsync_v2", Result, (Pointer, const void*, size_t, Handle))                                 \
  X(download, "cuMemcpyDtoHAsync_v2", Result, (void*, Pointer, size_t, Handle))                                     \
  X(copy, "cuMemcpyDtoDAsync_v2", Result, (Pointer, Pointer, size_t, Handle))                                       \
  X(set8, "cuMemsetD8Async", Result, (Pointer, unsigned char, size_t, Handle))                                      \
  X(createStream, "cuStreamCreate", Result, (Handle*, unsigned))                                                    \
  X(destroyStream, "cuStreamDestroy_v2", Result, (Handle))                                                          \
  X(synchronize, "cuStreamSynchronize", Result, (Handle))                                                           \
  X(waitEvent, "cuStreamWaitEvent", Result, (Handle, Handle, unsigned))                                             \
  X(createEvent, "cuEventCreate", Result, (Handle*, unsigned))                                                      \
  X(recordEvent, "cuEventRecord", Result, (Handle, Handle))                                                         \
  X(awaitEvent, "cuEventSynchronize", Result, (Handle))                                                             \
  X(queryEvent, "cuEventQuery", Result, (Handle))                                                                   \
  X(elapsed, "cuEventElapsedTime", Result, (float*, Handle, Handle))                                                \
  X(destroyEvent, "cuEventDestroy_v2", Result, (Handle))                                                            \
  X(loadModule, "cuModuleLoadData", Result, (Handle*, const void*))                                                 \
  X(function, "cuModuleGetFunction", Result, (Handle*, Handle, const char*))                                        \
  X(setFunction, "cuFuncSetAttribute", Result, (Handle, int, int))                                                  \
  X(launch, "cuLaunchKernel", Result,                                                                               \
    (Handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Handle, void**, void**))          \
  X(functionAttribute, "cuFuncGetAttribute", Result, (int*, int, Handle))                                           \
  X(launchWith, "cuLaunchKernelEx", Result, (const LaunchConfiguration*, Handle, void**, void**))                   \
  X(encodeTensorMap, "cuTensorMapEncodeTiled", Result, (void*, int, unsigned, void*, const unsigned long long*, const unsigned long long*, const unsigned*, const unsigned*, int, int, int, int)) \
  X(beginCapture, "cuStreamBeginCapture_v2", Result, (Handle, int))                                                 \
  X(endCapture, "cuStreamEndCapture", Result, (Handle, Handle*))                                                    \
  X(instantiate, "cuGraphInstantiateWithFlags", Result, (Handle*, Handle, unsigned long long))                      \
  X(launchGraph, "cuGraphLaunch", Result, (Handle, Handle))                                                         \
  X(destroyGraph, "cuGraphDestroy", Result, (Handle))                                                               \
  X(destroyLaunchable, "cuGraphExecDestroy", Result, (Handle))

// -- the compiler of generated kernels: libnvrtc.so.13 or .12

#define REVNET_COMPILER(X)                                                                                          \
  X(version, "nvrtcVersion", int, (int*, int*))                                                                     \
  X(errorText, "nvrtcGetErrorString", const char*, (int))                                                           \
  X(create, "nvrtcCreateProgram", int,                                                                              \
    (Handle*, const char*, const char*, int, const char* const*, const char* const*))                               \
  X(destroy, "nvrtcDestroyProgram", int, (Handle*))                                                                 \
  X(compile, "nvrtcCompileProgram", int, (Handle, int, const char* const*))                                         \
  X(codeSize, "nvrtcGetCUBINSize", int, (Handle, size_t*))                                                          \
  X(code, "nvrtcGetCUBIN", int, (Handle, char*))                                                                    \
  X(logSize, "nvrtcGetProgramLogSize", int, (Handle, size_t*))                                                      \
  X(log, "nvrtcGetProgramLog", int, (Handle, char*))

// -- matrix products: libcublasLt.so.13 or .12

struct Algorithm {
  uint64_t data[8];
};
struct Heuristic {
  Algorithm algorithm;
  size_t workspaceBytes;
  int state;
  float waves;
  int reserved[4];
};
enum : int { R_32F = 0, R_16F = 2, R_16BF = 14 };
enum : int { COMPUTE_32F = 68, COMPUTE_32F_TF32 = 77 };
enum : int { PRODUCT_TRANSPOSE_A = 3, PRODUCT_TRANSPOSE_B = 4, PRODUCT_EPILOGUE = 7, PRODUCT_BIAS = 8, PRODUCT_AUX = 11, PRODUCT_AUX_LEADING = 12 };
/** Bits of an epilogue: 4 adds a bias, 32 is GELU, 64 times its derivative, 128 with its argument kept or read. */
enum : int { EPILOGUE_NONE = 1, EPILOGUE_BIAS = 4, EPILOGUE_AUX = 128 };
enum : int { EPILOGUE_GELU_AUX = 160, EPILOGUE_GELU_AUX_BIAS = 164, EPILOGUE_GELU_BACK = 192 };
enum : int { LAYOUT_BATCH = 5, LAYOUT_BATCH_STRIDE = 6 };
enum : int { PREFERENCE_WORKSPACE = 1, PREFERENCE_ALIGNMENT_A = 5, PREFERENCE_ALIGNMENT_D = 8 };

#define REVNET_PRODUCTS(X)                                                                                          \
  X(create, "cublasLtCreate", int, (Handle*))                                                                       \
  X(destroy, "cublasLtDestroy", int, (Handle))                                                                      \
  X(version, "cublasLtGetVersion", size_t, ())                                                                      \
  X(createProduct, "cublasLtMatmulDescCreate", int, (Handle*, int, int))                                            \
  X(destroyProduct, "cublasLtMatmulDescDestroy", int, (Handle))                                                     \
  X(setProduct, "cublasLtMatmulDescSetAttribute", int, (Handle, int, const void*, size_t))                          \
  X(createLayout, "cublasLtMatrixLayoutCreate", int, (Handle*, int, uint64_t, uint64_t, int64_t))                   \
  X(destroyLayout, "cublasLtMatrixLayoutDestroy", int, (Handle))                                                    \
  X(setLayout, "cublasLtMatrixLayoutSetAttribute", int, (Handle, int, const void*, size_t))                         \
  X(createPreference, "cublasLtMatmulPreferenceCreate", int, (Handle*))                                             \
  X(destroyPreference, "cublasLtMatmulPreferenceDestroy", int, (Handle))                                            \
  X(setPreference, "cublasLtMatmulPreferenceSetAttribute", int, (Handle, int, const void*, size_t))                 \
  X(heuristic, "cublasLtMatmulAlgoGetHeuristic", int,                                                               \
    (Handle, Handle, Handle, Handle, Handle, Handle, Handle, int, Heuristic*, int*))                                \
  X(multiply, "cublasLtMatmul", int,                                                                                \
    (Handle, Handle, const void*, const void*, Handle, const void*, Handle, const void*, const void*, Handle, void*, \
     Handle, const Algorithm*, void*, size_t, Handle))

// -- collectives: libnccl.so.2, whose numbers are the same in every 2.x

/** What the ranks of a group have in common before they find each other; goes by value. */
struct UniqueId {
  char bytes[128];
};

#define REVNET_COLLECTIVES(X)                                                                                       \
  X(version, "ncclGetVersion", int, (int*))                                                                         \
  X(errorText, "ncclGetErrorString", const char*, (int))                                                            \
  X(uniqueId, "ncclGetUniqueId", int, (UniqueId*))                                                                  \
  X(join, "ncclCommInitRank", int, (Handle*, int, UniqueId, int))                                                   \
  X(leave, "ncclCommDestroy", int, (Handle))                                                                        \
  X(abort, "ncclCommAbort", int, (Handle))                                                                          \
  X(asyncError, "ncclCommGetAsyncError", int, (Handle, int*))                                                       \
  X(allReduce, "ncclAllReduce", int, (const void*, void*, size_t, int, int, Handle, Handle))                        \
  X(reduceScatter, "ncclReduceScatter", int, (const void*, void*, size_t, int, int, Handle, Handle))                \
  X(allGather, "ncclAllGather", int, (const void*, void*, size_t, int, Handle, Handle))                             \
  X(broadcast, "ncclBroadcast", int, (const void*, void*, size_t, int, int, Handle, Handle))

// -- operation graphs: libcudnn.so.9, whose numbers are the same in every 9.x

enum : int { GRAPH_F32 = 0, GRAPH_F16 = 2, GRAPH_I32 = 4, GRAPH_BF16 = 9, GRAPH_BOOL = 11 };
/** Kinds of descriptors. */
enum : int {
  POINTWISE = 0, ENGINE = 2, ENGINE_CONFIG = 3, ENGINE_HEURISTIC = 4, EXECUTION_PLAN = 5, OPERATION_POINTWISE = 13,
  OPERATION_GRAPH = 15, VARIANT_PACK = 16, TENSOR = 17, MATMUL = 18, OPERATION_MATMUL = 19, REDUCTION = 21,
  OPERATION_REDUCTION = 22, OPERATION_RESHAPE = 31
};
/** Types of attributes. */
enum : int {
  OF_HANDLE = 0, OF_DATA_TYPE = 1, OF_BOOLEAN = 2, OF_INT64 = 3, OF_POINTER = 6, OF_HEURISTIC_MODE = 8, OF_NOTE = 11,
  OF_POINTWISE_MODE = 14, OF_DESCRIPTOR = 15, OF_REDUCTION = 18
};
/** Attributes. */
enum : int {
  POINTWISE_MODE = 0, POINTWISE_PRECISION = 1, POINTWISE_AXIS = 9, HEURISTIC_MODE = 200, HEURISTIC_GRAPH = 201,
  HEURISTIC_RESULTS = 202, CONFIG_ENGINE = 300, PLAN_HANDLE = 400, PLAN_CONFIG = 401, PLAN_WORKSPACE = 402,
  OP_POINTWISE = 750, OP_POINTWISE_X = 751, OP_POINTWISE_B = 752, OP_POINTWISE_Y = 753, OP_POINTWISE_T = 758,
  GRAPH_HANDLE = 800, GRAPH_OPERATIONS = 801, TENSOR_ALIGNMENT = 900, TENSOR_TYPE = 901, TENSOR_SIZES = 902,
  TENSOR_STRIDES = 903, TENSOR_ID = 906, TENSOR_IS_VIRTUAL = 907, TENSOR_IS_BY_VALUE = 908, PACK_IDS = 1000,
  PACK_POINTERS = 1001, PACK_WORKSPACE = 1003, ENGINE_NOTES = 1303, MATMUL_PRECISION = 1500, OP_MATMUL_A = 1520,
  OP_MATMUL_B = 1521, OP_MATMUL_C = 1522, OP_MATMUL = 1523, REDUCTION_OPERATOR = 1600, REDUCTION_PRECISION = 1601,
  OP_REDUCTION_X = 1610, OP_REDUCTION_Y = 1611, OP_REDUCTION = 1612, OP_RESHAPE_X = 2200, OP_RESHAPE_Y = 2201
};
enum : int {
  DO_ADD = 0, DO_MUL = 1, DO_DIV = 6, DO_SUB = 9, DO_EXP = 13, DO_LOG = 15, DO_GREATER_EQUAL = 303, DO_INDEX = 501,
  DO_SELECT = 601
};
enum : int { REDUCE_ADD = 0, REDUCE_MAX = 3 };
enum : int { MODE_A = 3, MODE_FALLBACK = 2, NOTE_NONDETERMINISTIC = 4 };

#define REVNET_GRAPHS(X)                                                                                            \
  X(create, "cudnnCreate", int, (Handle*))                                                                          \
  X(setStream, "cudnnSetStream", int, (Handle, Handle))                                                             \
  X(version, "cudnnGetVersion", size_t, ())                                                                         \
  X(lastError, "cudnnGetLastErrorString", void, (char*, size_t))                                                    \
  X(createDescriptor, "cudnnBackendCreateDescriptor", int, (int, Handle*))                                          \
  X(destroyDescriptor, "cudnnBackendDestroyDescriptor", int, (Handle))                                              \
  X(set, "cudnnBackendSetAttribute", int, (Handle, int, int, int64_t, const void*))                                 \
  X(get, "cudnnBackendGetAttribute", int, (Handle, int, int, int64_t, int64_t*, void*))                             \
  X(finalize, "cudnnBackendFinalize", int, (Handle))                                                                \
  X(execute, "cudnnBackendExecute", int, (Handle, Handle, Handle))

}  // namespace abi
