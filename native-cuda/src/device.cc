// Finding devices and opening one.
#include "staging.h"

DeviceState cuda;

void check(abi::Result result, const char* what) {
  if (result == abi::SUCCESS) return;
  const char *name = nullptr, *text = nullptr;
  cuda.driver.errorName(result, &name);
  cuda.driver.errorText(result, &text);
  throw Failure(name != nullptr ? name : "CUDA_ERROR_" + std::to_string(result),
                std::string(what) + ": " + (text != nullptr ? text : "unknown error"));
}

void mustBeOpen() {
  if (cuda.context == nullptr) throw Failure("CLOSED", "no CUDA device is open");
}

namespace {

// openDriver(path) -> the CUDA version it supports, 13000 for 13.0
napi_value openDriver(Call& call) {
  cuda.driver.open(call.text(0));
  check(cuda.driver.init(0), "starting the driver");
  int version = 0;
  check(cuda.driver.driverVersion(&version), "asking the driver's version");
  return call.give(version);
}

// checkLibrary(path): throws where it does not open
napi_value checkLibrary(Call& call) {
  void* handle = dlopen(call.text(0).c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (handle == nullptr) throw Failure("LIBRARY", dlerror());
  dlclose(handle);
  return call.nothing();
}

napi_value deviceCount(Call& call) {
  int count = 0;
  check(cuda.driver.deviceCount(&count), "counting devices");
  return call.give(count);
}

napi_value deviceName(Call& call) {
  char name[256] = "";
  abi::Device device = 0;
  check(cuda.driver.device(&device, call.integer(0)), "finding the device");
  check(cuda.driver.deviceName(name, sizeof name, device), "asking the device's name");
  return call.give(std::string(name));
}

// deviceFacts(ordinal) -> [major, minor, multiprocessors, largest dynamic shared memory of a block, bytes of memory]
napi_value deviceFacts(Call& call) {
  abi::Device device = 0;
  check(cuda.driver.device(&device, call.integer(0)), "finding the device");
  auto attribute = [&](int which) {
    int value = 0;
    check(cuda.driver.deviceAttribute(&value, which, device), "asking what the device has");
    return static_cast<double>(value);
  };
  size_t bytes = 0;
  check(cuda.driver.deviceMemory(&bytes, device), "asking the device's memory");
  return call.give({attribute(abi::ATTRIBUTE_MAJOR), attribute(abi::ATTRIBUTE_MINOR),
                    attribute(abi::ATTRIBUTE_PROCESSORS), attribute(abi::ATTRIBUTE_SHARED_OPTIN),
                    static_cast<double>(bytes)});
}

// The primary context is shared with whatever else in this process uses the device, as NVIDIA recommends.
napi_value openDevice(Call& call) {
  if (cuda.context != nullptr) throw Failure("BUSY", "a CUDA device is open in this process already");
  check(cuda.driver.device(&cuda.device, call.integer(0)), "finding the device");
  check(cuda.driver.retainContext(&cuda.context, cuda.device), "opening the device");
  try {
    check(cuda.driver.setContext(cuda.context), "opening the device");
    check(cuda.driver.createStream(&cuda.stream, abi::STREAM_NON_BLOCKING), "making a stream");
  } catch (...) {
    cuda.driver.releaseContext(cuda.device);
    cuda.context = nullptr;
    throw;
  }
  return call.nothing();
}

napi_value closeDevice(Call& call) {
  if (cuda.context == nullptr) return call.nothing();
  staging.release();
  closeTransfers();
  cuda.driver.destroyStream(cuda.stream);
  cuda.driver.releaseContext(cuda.device);
  cuda.context = cuda.stream = nullptr;
  return call.nothing();
}

napi_value synchronize(Call& call) {
  mustBeOpen();
  check(cuda.driver.synchronize(cuda.stream), "waiting for the device");
  return call.nothing();
}

}  // namespace

void publishDevice(napi_env env, napi_value exports) {
  publish<openDriver>(env, exports, "openDriver");
  publish<checkLibrary>(env, exports, "checkLibrary");
  publish<deviceCount>(env, exports, "deviceCount");
  publish<deviceName>(env, exports, "deviceName");
  publish<deviceFacts>(env, exports, "deviceFacts");
  publish<openDevice>(env, exports, "openDevice");
  publish<closeDevice>(env, exports, "closeDevice");
  publish<synchronize>(env, exports, "synchronize");
}
