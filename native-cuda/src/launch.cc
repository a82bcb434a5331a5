// Modules, kernels and their launches, and the events that time them.
#include <cstring>

#include "device.h"

namespace {

// Handles go to JavaScript as numbers: addresses of at most 48 bits.
abi::Handle handle(const Call& call, size_t i) { return reinterpret_cast<abi::Handle>(call.address(i)); }
napi_value give(const Call& call, abi::Handle h) { return call.give(static_cast<double>(reinterpret_cast<uintptr_t>(h))); }

void* parameters = nullptr;
napi_ref parametersOwner = nullptr;

// loadModule(cubin or fatbin bytes) -> module
napi_value loadModule(Call& call) {
  mustBeOpen();
  abi::Handle module = nullptr;
  check(cuda.driver.loadModule(&module, call.bytes(0)), "loading kernels");
  return give(call, module);
}

// getFunction(module, name, bytes of dynamic shared memory it may use) -> kernel
napi_value getFunction(Call& call) {
  mustBeOpen();
  abi::Handle function = nullptr;
  std::string name = call.text(1);
  check(cuda.driver.function(&function, handle(call, 0), name.c_str()), ("finding the kernel " + name).c_str());
  int shared = call.integer(2);
  if (shared > 48 * 1024)
    check(cuda.driver.setFunction(function, abi::FUNCTION_MAX_DYNAMIC_SHARED, shared), "allowing more shared memory");
  return give(call, function);
}

// architectureOf(kernel) -> what its PTX was written for, 90 for compute_90 and 90a
napi_value architectureOf(Call& call) {
  mustBeOpen();
  int version = 0;
  check(cuda.driver.functionAttribute(&version, abi::FUNCTION_PTX_VERSION, handle(call, 0)), "asking what a kernel was compiled for");
  return call.give(version);
}

// setParameters(Uint8Array): where `launch` finds the packed parameters of a kernel
napi_value setParameters(Call& call) {
  if (parametersOwner != nullptr) napi_delete_reference(call.env, parametersOwner);
  parameters = call.bytes(0);
  napi_create_reference(call.env, call.value(0), 1, &parametersOwner);
  return call.nothing();
}

// encodeTensorMap(Uint8Array, offset, address, NVIDIA's type, sizes x 4, strides in elements x 3, rows of a box): 128 bytes that lead copies to
// boxes of [1, 1, rows, 64] of a tensor of 16-bit floats, laid out by the 128-byte swizzle; zeros outside of it
napi_value encodeTensorMap(Call& call) {
  mustBeOpen();
  const auto numberAt = [&](size_t i) { return static_cast<unsigned long long>(call.number(i)); };
  unsigned long long sizes[4], strides[3];
  for (size_t i = 0; i < 4; i++) sizes[i] = numberAt(4 + i);
  for (size_t i = 0; i < 3; i++) strides[i] = 2 * numberAt(8 + i);
  const unsigned box[4] = {64, static_cast<unsigned>(call.integer(11)), 1, 1}, steps[4] = {1, 1, 1, 1};
  // The driver fills an aligned map; where it goes is the caller's.
  alignas(64) unsigned char map[128];
  check(cuda.driver.encodeTensorMap(map, call.integer(3), 4, reinterpret_cast<void*>(call.address(2)), sizes, strides, box, steps,
                                    abi::MAP_PLAIN, abi::MAP_SWIZZLE_128B, abi::MAP_CACHE_256B, abi::MAP_ZEROS_OUTSIDE),
        "describing a tensor to the copy engine");
  std::memcpy(static_cast<unsigned char*>(call.bytes(0)) + call.integer(1), map, sizeof map);
  return call.nothing();
}

// launch(kernel, blocks x, y, z, threads, dynamic shared bytes, 1 where it may start before the one before it has ended)
napi_value launch(Call& call) {
  mustBeOpen();
  // The driver knows how long the kernel's one parameter is, and where it goes: a struct that is aligned to more than others (one with
  // tensor maps) lies further behind the start of the parameters, where a buffer of all parameters would have to have it.
  void* one[] = {parameters};
  auto unsignedAt = [&](size_t i) { return static_cast<unsigned>(call.number(i)); };
  if (call.integer(6) != 0) {
    abi::LaunchAttribute early = {abi::LAUNCH_EARLY, 0, {1}};
    const abi::LaunchConfiguration configuration = {
        {unsignedAt(1), unsignedAt(2), unsignedAt(3)}, {unsignedAt(4), 1, 1}, unsignedAt(5), cuda.stream, &early, 1};
    check(cuda.driver.launchWith(&configuration, handle(call, 0), one, nullptr), "launching a kernel");
    return call.nothing();
  }
  check(cuda.driver.launch(handle(call, 0), unsignedAt(1), unsignedAt(2), unsignedAt(3), unsignedAt(4), 1, 1,
                           unsignedAt(5), cuda.stream, one, nullptr),
        "launching a kernel");
  return call.nothing();
}

// recordEvent() -> event, after all work before it
napi_value recordEvent(Call& call) {
  mustBeOpen();
  abi::Handle event = nullptr;
  check(cuda.driver.createEvent(&event, abi::EVENT_DEFAULT), "making an event");
  check(cuda.driver.recordEvent(event, cuda.stream), "recording an event");
  return give(call, event);
}

// elapsed(first, second) -> milliseconds between two events, both of which it ends
napi_value elapsed(Call& call) {
  mustBeOpen();
  float milliseconds = 0;
  check(cuda.driver.awaitEvent(handle(call, 1)), "waiting for an event");
  check(cuda.driver.elapsed(&milliseconds, handle(call, 0), handle(call, 1)), "reading the time between two events");
  cuda.driver.destroyEvent(handle(call, 0));
  cuda.driver.destroyEvent(handle(call, 1));
  return call.give(milliseconds);
}

}  // namespace

void publishLaunch(napi_env env, napi_value exports) {
  publish<loadModule>(env, exports, "loadModule");
  publish<getFunction>(env, exports, "getFunction");
  publish<architectureOf>(env, exports, "architectureOf");
  publish<setParameters>(env, exports, "setParameters");
  publish<encodeTensorMap>(env, exports, "encodeTensorMap");
  publish<launch>(env, exports, "launch");
  publish<recordEvent>(env, exports, "recordEvent");
  publish<elapsed>(env, exports, "elapsed");
}
