// libcuda.so.1's functions. REVNET_STANDIN_DEVICES and REVNET_STANDIN_MEMORY (bytes) say how many devices there are and
// how much memory each has; REVNET_STANDIN_FAIL plans a failure; REVNET_STANDIN_IDLE=1 compiles and runs no kernel.
#include <dlfcn.h>
#include <elf.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "standin.h"
#include "streams.h"

namespace {

typedef unsigned long long Pointer;

long long setting(const char* name, long long otherwise) {
  const char* text = getenv(name);
  return text == nullptr || *text == '\0' ? otherwise : atoll(text);
}
long long memoryBytes() { return setting("REVNET_STANDIN_MEMORY", 4ll << 30); }

std::map<Pointer, size_t> allocations;
/** Host memory that the device reads and writes while the program goes on. */
std::map<const char*, size_t> pinned;
size_t used = 0;

/** A kernel, whether its threads meet, how long its one parameter is, and whether it waits for the work before it (chain.cu). */
struct Function {
  Kernel kernel;
  bool isCooperative;
  unsigned parameterBytes;
  bool waits;
  /** What a block may have of dynamic shared memory without asking for more. */
  unsigned sharedBytes = 48 * 1024;
};

/** An error that stays, as on a device whose kernel faulted, until another failure is planned. */
int lost = 0;

int answer(const char* name) {
  const int failure = plannedFailure(name);
  if (lost != 0) return lost;
  if (failure >= 700) lost = failure;
  return failure;
}
#define ANSWER                                             \
  do {                                                     \
    if (const int failure = answer(__func__)) return failure; \
  } while (false)
/** What work that was done by now came to: a fault stays. */
int outcome(int code) {
  if (code >= 700) lost = code;
  return lost != 0 ? lost : code;
}
#define NOT_WHILE_CAPTURING                                      \
  do {                                                           \
    if (const int refused = refusedWhileCapturing()) return refused; \
  } while (false)

}  // namespace

bool isIdle() { return setting("REVNET_STANDIN_IDLE", 0) != 0; }

int plannedFailure(const char* name) {
  static std::string plan;
  static int calls = 0;
  const char* text = getenv("REVNET_STANDIN_FAIL");
  if (text == nullptr) text = "";
  if (plan != text) {
    plan = text;
    calls = 0;
    lost = 0;
  }
  const size_t length = std::strlen(name);
  if (std::strncmp(text, name, length) != 0 || text[length] != ':') return 0;
  if (++calls != atoi(text + length + 1)) return 0;
  const char* code = std::strchr(text + length + 1, ':');
  return code == nullptr ? 2 : atoi(code + 1);
}

STANDIN_API int cuInit(unsigned) { return setting("REVNET_STANDIN_DEVICES", 1) == 0 ? 100 : answer(__func__); }
STANDIN_API int cuDriverGetVersion(int* version) { *version = 13000; return 0; }
STANDIN_API int cuGetErrorName(int code, const char** name) {
  static const std::map<int, const char*> names = {{2, "CUDA_ERROR_OUT_OF_MEMORY"}, {100, "CUDA_ERROR_NO_DEVICE"}, {500, "CUDA_ERROR_NOT_FOUND"},
                                                   {700, "CUDA_ERROR_ILLEGAL_ADDRESS"}, {719, "CUDA_ERROR_LAUNCH_FAILED"}, {1, "CUDA_ERROR_INVALID_VALUE"}};
  const auto found = names.find(code);
  *name = found == names.end() ? "CUDA_ERROR_UNKNOWN" : found->second;
  return 0;
}
STANDIN_API int cuGetErrorString(int code, const char** text) {
  *text = code == 2 ? "out of memory" : code == 700 ? "an illegal memory access was encountered" : code == 500 ? "named symbol not found" : "planned by the stand-in";
  return 0;
}
STANDIN_API int cuDeviceGetCount(int* count) { *count = setting("REVNET_STANDIN_DEVICES", 1); return 0; }
STANDIN_API int cuDeviceGet(int* device, int ordinal) { *device = ordinal; return ordinal < setting("REVNET_STANDIN_DEVICES", 1) ? 0 : 101; }
STANDIN_API int cuDeviceGetName(char* name, int length, int) { snprintf(name, length, "stand-in"); return 0; }
STANDIN_API int cuDeviceTotalMem_v2(size_t* bytes, int) { *bytes = memoryBytes(); return 0; }
STANDIN_API int cuDeviceGetAttribute(int* value, int attribute, int) {
  // Few multiprocessors, so that blocks which stay take several tiles each. Idle it is sm_01, another architecture: nobody finds what it did not compile among the kernels of sm_00.
  *value = attribute == 16 ? 4 : attribute == 97 ? 232448 : attribute == 76 && isIdle() ? 1 : 0;
  return 0;
}
STANDIN_API int cuDevicePrimaryCtxRetain(void** context, int) { ANSWER; *context = &used; return 0; }
STANDIN_API int cuDevicePrimaryCtxRelease_v2(int) { return 0; }
STANDIN_API int cuCtxSetCurrent(void*) { return 0; }

STANDIN_API int cuMemGetInfo_v2(size_t* free, size_t* total) { *total = memoryBytes(); *free = *total - used; return 0; }
STANDIN_API int cuMemAlloc_v2(Pointer* pointer, size_t bytes) {
  ANSWER;
  if (static_cast<long long>(used + bytes) > memoryBytes()) return 2;
  void* memory = aligned_alloc(512, (bytes + 511) / 512 * 512);
  if (memory == nullptr) return 2;
  // What nobody wrote is no number that anything could come of. Idle, the pages of a large model are never touched.
  if (!isIdle()) std::memset(memory, 0xa5, bytes);
  *pointer = reinterpret_cast<Pointer>(memory);
  allocations[*pointer] = bytes;
  used += bytes;
  return 0;
}
STANDIN_API int cuMemFree_v2(Pointer pointer) {
  const auto found = allocations.find(pointer);
  if (found == allocations.end()) return 1;
  // Freeing waits for the device.
  outcome(finishAll());
  used -= found->second;
  allocations.erase(found);
  free(reinterpret_cast<void*>(pointer));
  return 0;
}
STANDIN_API int cuMemHostAlloc(void** memory, size_t bytes, unsigned) {
  ANSWER;
  *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
  if (*memory == nullptr) return 2;
  if (!isIdle()) std::memset(*memory, 0xa5, bytes);
  pinned[static_cast<char*>(*memory)] = bytes;
  return 0;
}
STANDIN_API int cuMemFreeHost(void* memory) {
  if (pinned.erase(static_cast<char*>(memory)) == 0) return 1;
  outcome(finishAll());
  free(memory);
  return 0;
}
STANDIN_API int cuMemHostGetDevicePointer_v2(Pointer* pointer, void* memory, unsigned) { *pointer = reinterpret_cast<Pointer>(memory); return 0; }

namespace {
/** Whether a copy stays inside one allocation: what a device would answer with an illegal address. */
bool isInside(Pointer pointer, size_t bytes) {
  auto after = allocations.upper_bound(pointer);
  if (after == allocations.begin()) return false;
  --after;
  return pointer + bytes <= after->first + after->second;
}
bool isPinned(const void* memory) {
  auto after = pinned.upper_bound(static_cast<const char*>(memory));
  if (after == pinned.begin()) return false;
  --after;
  return static_cast<const char*>(memory) < after->first + after->second;
}
}  // namespace

STANDIN_API int cuMemcpyHtoDAsync_v2(Pointer to, const void* from, size_t bytes, void* stream) {
  ANSWER;
  if (!isPinned(from)) NOT_WHILE_CAPTURING;
  if (!isInside(to, bytes)) return 1;
  // Of memory that is not pinned the driver has taken a copy when this returns.
  std::shared_ptr<std::vector<char>> taken;
  const bool wasPinned = isPinned(from);
  if (isLate(stream) && !isPinned(from)) {
    const auto* first = static_cast<const char*>(from);
    taken = std::make_shared<std::vector<char>>(first, first + bytes);
  }
  return outcome(enqueue(stream, [=] {
    if (!isInside(to, bytes) || (taken == nullptr && isPinned(from) != wasPinned)) return 700;
    std::memcpy(reinterpret_cast<void*>(to), taken == nullptr ? from : taken->data(), bytes);
    return 0;
  }));
}
STANDIN_API int cuMemcpyDtoHAsync_v2(void* to, Pointer from, size_t bytes, void* stream) {
  ANSWER;
  const bool wasPinned = isPinned(to);
  if (!wasPinned) NOT_WHILE_CAPTURING;
  if (!isInside(from, bytes)) return 1;
  const int code = enqueue(stream, [=] {
    if (!isInside(from, bytes) || isPinned(to) != wasPinned) return 700;
    std::memcpy(to, reinterpret_cast<void*>(from), bytes);
    return 0;
  });
  return outcome(wasPinned ? code : finish(stream));
}
STANDIN_API int cuMemcpyDtoDAsync_v2(Pointer to, Pointer from, size_t bytes, void* stream) {
  ANSWER;
  if (!isInside(from, bytes) || !isInside(to, bytes)) return 1;
  return enqueue(stream, [=] {
    // Memory that was given back since: what a device would answer with an illegal address.
    if (!isInside(from, bytes) || !isInside(to, bytes)) return 700;
    std::memmove(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes);
    return 0;
  });
}
STANDIN_API int cuMemsetD8Async(Pointer to, unsigned char value, size_t bytes, void* stream) {
  ANSWER;
  if (!isInside(to, bytes)) return 1;
  return enqueue(stream, [=] {
    if (!isInside(to, bytes)) return 700;
    std::memset(reinterpret_cast<void*>(to), value, bytes);
    return 0;
  });
}

STANDIN_API int cuStreamCreate(void** stream, unsigned) { ANSWER; *stream = newStream(); return 0; }
STANDIN_API int cuStreamDestroy_v2(void* stream) { endStream(stream); return 0; }
STANDIN_API int cuStreamSynchronize(void* stream) {
  NOT_WHILE_CAPTURING;
  ANSWER;
  return outcome(finish(stream));
}
STANDIN_API int cuStreamWaitEvent(void* stream, void* event, unsigned) {
  ANSWER;
  bool isDone = false;
  if (const int failure = waitedInCapture(*static_cast<Event*>(event), stream, isDone)) return failure;
  return isDone ? 0 : outcome(waitFor(stream, *static_cast<Event*>(event)));
}
STANDIN_API int cuEventCreate(void** event, unsigned) { ANSWER; *event = new Event; return 0; }
STANDIN_API int cuEventRecord(void* event, void* stream) {
  ANSWER;
  if (recordedInCapture(*static_cast<Event*>(event), stream)) return 0;
  return outcome(record(*static_cast<Event*>(event), stream));
}
STANDIN_API int cuEventSynchronize(void* event) {
  NOT_WHILE_CAPTURING;
  // On a thread of its own, where it is a read that waits: nothing is planned for it.
  return lost != 0 ? lost : outcome(reachNow(*static_cast<Event*>(event)));
}
STANDIN_API int cuEventQuery(void* event) {
  const auto& mark = static_cast<Event*>(event)->mark;
  return lost != 0 ? lost : mark != nullptr && !mark->isReached ? 600 : 0;
}
STANDIN_API int cuEventElapsedTime(float* milliseconds, void* first, void* second) {
  const Mark *from = static_cast<Event*>(first)->mark.get(), *to = static_cast<Event*>(second)->mark.get();
  if (from == nullptr || to == nullptr) return 400;
  if (!from->isReached || !to->isReached) return 600;
  const timespec a = from->time, b = to->time;
  *milliseconds = static_cast<float>((b.tv_sec - a.tv_sec) * 1e3 + (b.tv_nsec - a.tv_nsec) * 1e-6);
  return 0;
}
STANDIN_API int cuEventDestroy_v2(void* event) { forgetInCapture(*static_cast<Event*>(event)); delete static_cast<Event*>(event); return 0; }

// "Machine code" is a shared library that compiler.cc made; its own headers say how long it is.
STANDIN_API int cuModuleLoadData(void** module, const void* data) {
  ANSWER;
  if (isIdle()) {
    *module = &used;
    return 0;
  }
  const auto* header = static_cast<const Elf64_Ehdr*>(data);
  const size_t bytes = header->e_shoff + static_cast<size_t>(header->e_shentsize) * header->e_shnum;
  // A name of its own: dlopen gives what it has under a name it knows.
  char path[] = "/tmp/revnet-standin-XXXXXX";
  const int file = mkstemp(path);
  if (file < 0 || write(file, data, bytes) != static_cast<ssize_t>(bytes)) return 999;
  close(file);
  *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (*module == nullptr) fprintf(stderr, "stand-in: %s\n", dlerror());
  unlink(path);
  if (*module == nullptr) return 209;
  reinterpret_cast<void (*)(StandIn*)>(dlsym(*module, "standInBind"))(&standIn);
  return 0;
}
STANDIN_API int cuModuleGetFunction(void** function, void* module, const char* name) {
  if (isIdle()) {
    *function = new Function{nullptr, false, 0, true};
    return 0;
  }
  const auto kernel = reinterpret_cast<Kernel>(dlsym(module, name));
  if (kernel == nullptr) return 500;
  const auto* bytes = static_cast<unsigned*>(dlsym(module, (std::string(name) + "Bytes").c_str()));
  const bool isCooperative = *static_cast<int*>(dlsym(module, "standInCooperative")) != 0;
  *function = new Function{kernel, isCooperative, *bytes, dlsym(module, "standInChained") != nullptr};
  return 0;
}
/** What hopper.h reads of a map, in the 128 bytes that NVIDIA's has. */
STANDIN_API int cuTensorMapEncodeTiled(void* map, int type, unsigned rank, void* at, const unsigned long long* sizes, const unsigned long long* steps,
                                       const unsigned* box, const unsigned* elementSteps, int interleave, int swizzle, int, int) {
  ANSWER;
  struct Map {
    void* at;
    unsigned sizes[4];
    long long steps[3];
    unsigned box[4], elementBytes, swizzle, filler[14];
  } made = {};
  // As the driver: aligned to 16 bytes throughout, boxes of at most 256, rows of a box no wider than the swizzle.
  if (rank != 4 || (type != 6 && type != 9) || interleave != 0 || reinterpret_cast<uintptr_t>(at) % 16 != 0) return 1;
  made.at = at;
  for (unsigned i = 0; i < rank; i++) {
    if (sizes[i] == 0 || sizes[i] > 1ull << 32 || box[i] == 0 || box[i] > 256 || elementSteps[i] != 1) return 1;
    if (i > 0 && (steps[i - 1] % 16 != 0 || steps[i - 1] >= 1ull << 40)) return 1;
    made.sizes[i] = static_cast<unsigned>(sizes[i]);
    made.box[i] = box[i];
    if (i > 0) made.steps[i - 1] = static_cast<long long>(steps[i - 1]);
  }
  if (swizzle == 3 && box[0] * 2 > 128) return 1;
  made.elementBytes = 2;
  made.swizzle = swizzle;
  static_assert(sizeof made == 128, "as NVIDIA's");
  std::memcpy(map, &made, sizeof made);
  return 0;
}
STANDIN_API int cuFuncSetAttribute(void* function, int attribute, int value) {
  if (attribute != 8 || value > 232448) return 1;
  static_cast<Function*>(function)->sharedBytes = static_cast<unsigned>(value);
  return 0;
}

/** The architecture that a function was written for: one whose kernels can wait for those before them. */
STANDIN_API int cuFuncGetAttribute(int* value, int attribute, void*) {
  ANSWER;
  *value = attribute == 5 ? 90 : 0;
  return 0;
}

namespace {
/** As CUlaunchConfig and CUlaunchAttribute. */
struct Attribute {
  int id, padding;
  int value[16];
};
struct Configuration {
  Dim3 blocks, threads;
  unsigned sharedBytes;
  void* stream;
  const Attribute* attributes;
  unsigned count;
};

int launch(const Configuration& c, const Function& f, void** given, bool isEarly) {
  const auto [gx, gy, gz] = c.blocks;
  const unsigned threads = c.threads.x * c.threads.y * c.threads.z;
  if (gx > 2147483647u || gx == 0 || gy == 0 || gz == 0 || gy > 65535 || gz > 65535 || threads == 0 || threads > 1024) return 1;
  if (c.sharedBytes > f.sharedBytes) return 1;
  const auto* first = static_cast<const char*>(given[0]);
  const std::vector<char> parameters(first, first + f.parameterBytes);
  const auto grid = [=] { runGrid(f.kernel, parameters.data(), f.isCooperative, c.blocks, c.threads, c.sharedBytes); };
  // Outside a graph nothing runs beside anything else here.
  const auto early = isEarly && isCapturing(c.stream) ? std::make_shared<Early>() : nullptr;
  return enqueue(c.stream, [=] {
    if (isIdle()) return 0;
    if (early != nullptr) return early->run(grid, size_t{threads} * gx * gy * gz);
    grid();
    return 0;
  }, early);
}
}  // namespace

STANDIN_API int cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                               void* stream, void** given, void**) {
  ANSWER;
  return launch({{gx, gy, gz}, {bx, by, bz}, shared, stream, nullptr, 0}, *static_cast<Function*>(function), given, false);
}
STANDIN_API int cuLaunchKernelEx(const void* configuration, void* function, void** given, void**) {
  ANSWER;
  const auto& c = *static_cast<const Configuration*>(configuration);
  const auto& f = *static_cast<Function*>(function);
  bool isEarly = false;
  for (unsigned i = 0; i < c.count; i++) {
    // Programmatic stream serialization, and no other.
    if (c.attributes[i].id != 6) return 1;
    isEarly = c.attributes[i].value[0] != 0;
  }
  // A device would run such a kernel into the work before it.
  if (isEarly && !f.waits) return 1;
  return launch(c, f, given, isEarly);
}
