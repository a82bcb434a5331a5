// Segments of device memory, host memory that the device can write, and copies between the two. What is cut out of the
// segments is decided in TypeScript (allocator.ts).
#include <cstring>

#include "staging.h"

namespace {

// memoryInfo() -> [free, total] bytes as the driver sees them
napi_value memoryInfo(Call& call) {
  mustBeOpen();
  size_t free = 0, total = 0;
  check(cuda.driver.memoryInfo(&free, &total), "asking for free memory");
  return call.give({static_cast<double>(free), static_cast<double>(total)});
}

// allocate(bytes) -> address, or 0 where the device has no room. An address has at most 49 bits: a double holds it.
napi_value allocate(Call& call) {
  mustBeOpen();
  abi::Pointer pointer = 0;
  abi::Result result = cuda.driver.allocate(&pointer, static_cast<size_t>(call.number(0)));
  if (result == abi::OUT_OF_MEMORY) return call.give(0);
  check(result, "allocating device memory");
  return call.give(static_cast<double>(pointer));
}

napi_value release(Call& call) {
  mustBeOpen();
  check(cuda.driver.release(call.address(0)), "freeing device memory");
  return call.nothing();
}

// mapped(bytes) -> [ArrayBuffer, device address] of host memory that kernels may write
napi_value mapped(Call& call) {
  mustBeOpen();
  size_t bytes = static_cast<size_t>(call.number(0));
  void* memory = nullptr;
  abi::Pointer pointer = 0;
  check(cuda.driver.allocateHost(&memory, bytes, abi::HOST_MAPPED), "allocating host memory");
  if (const abi::Result result = cuda.driver.hostPointer(&pointer, memory, 0)) {
    cuda.driver.releaseHost(memory);
    check(result, "mapping host memory");
  }
  std::memset(memory, 0, bytes);
  napi_value pair, buffer;
  napi_create_array_with_length(call.env, 2, &pair);
  // Lives as long as the process: the device may write to it until its context ends.
  napi_create_external_arraybuffer(call.env, memory, bytes, nullptr, nullptr, &buffer);
  napi_set_element(call.env, pair, 0, buffer);
  napi_set_element(call.env, pair, 1, call.give(static_cast<double>(pointer)));
  return pair;
}

// upload(address, typed array, bytes). The array may be written again when this returns.
napi_value upload(Call& call) {
  mustBeOpen();
  size_t length = 0;
  const void* source = call.bytes(1, &length);
  size_t bytes = static_cast<size_t>(call.number(2));
  if (bytes > length) throw Failure("ARGUMENT", "upload of more bytes than the array has");
  uploadThroughStaging(call.address(0), source, bytes);
  return call.nothing();
}

// download(typed array, address, bytes), after all work before it
napi_value download(Call& call) {
  mustBeOpen();
  size_t length = 0;
  void* target = call.bytes(0, &length);
  size_t bytes = static_cast<size_t>(call.number(2));
  if (bytes > length) throw Failure("ARGUMENT", "download of more bytes than the array has");
  downloadThroughStaging(target, call.address(1), bytes);
  return call.nothing();
}

/** A copy to the host that is waited for on another thread. It goes to pinned memory, or it would block here. */
struct Reading {
  napi_async_work work;
  napi_deferred deferred;
  Pinned* pinned;
  size_t bytes;
  abi::Result result;
};

void wait(napi_env, void* data) {
  auto& reading = *static_cast<Reading*>(data);
  reading.result = cuda.driver.setContext(cuda.context);
  if (reading.result == abi::SUCCESS) reading.result = cuda.driver.awaitEvent(reading.pinned->event);
}

void deliver(napi_env env, napi_status, void* data) {
  auto* reading = static_cast<Reading*>(data);
  try {
    check(reading->result, "copying from the device");
    void* bytes = nullptr;
    napi_value buffer;
    napi_create_arraybuffer(env, reading->bytes, &bytes, &buffer);
    std::memcpy(bytes, reading->pinned->memory, reading->bytes);
    napi_resolve_deferred(env, reading->deferred, buffer);
  } catch (const Failure& failure) {
    napi_reject_deferred(env, reading->deferred, errorValue(env, failure));
  }
  reading->pinned->isBusy = false;
  staging.give(reading->pinned);
  napi_delete_async_work(env, reading->work);
  delete reading;
}

// read(address, bytes) -> Promise<ArrayBuffer>
napi_value read(Call& call) {
  mustBeOpen();
  auto* reading = new Reading{};
  reading->bytes = static_cast<size_t>(call.number(1));
  try {
    reading->pinned = staging.take(reading->bytes);
    if (reading->pinned == nullptr) check(abi::OUT_OF_MEMORY, "allocating pinned host memory");
    reading->pinned->wait();
    if (reading->bytes > 0)
      check(cuda.driver.download(reading->pinned->memory, call.address(0), reading->bytes, cuda.stream), "copying from the device");
    reading->pinned->mark();
  } catch (...) {
    if (reading->pinned != nullptr) staging.give(reading->pinned);
    delete reading;
    throw;
  }
  napi_value promise, name = call.give("revnet-cuda read");
  napi_create_promise(call.env, &reading->deferred, &promise);
  napi_create_async_work(call.env, nullptr, name, wait, deliver, reading, &reading->work);
  napi_queue_async_work(call.env, reading->work);
  return promise;
}

// copy(to, from, bytes) on the device
napi_value copy(Call& call) {
  mustBeOpen();
  check(cuda.driver.copy(call.address(0), call.address(1), static_cast<size_t>(call.number(2)), cuda.stream), "copying");
  return call.nothing();
}

// fill(address, byte, bytes)
napi_value fill(Call& call) {
  mustBeOpen();
  check(cuda.driver.set8(call.address(0), static_cast<unsigned char>(call.integer(1)),
                         static_cast<size_t>(call.number(2)), cuda.stream),
        "filling device memory");
  return call.nothing();
}

}  // namespace

void publishMemory(napi_env env, napi_value exports) {
  publish<memoryInfo>(env, exports, "memoryInfo");
  publish<allocate>(env, exports, "allocate");
  publish<release>(env, exports, "release");
  publish<mapped>(env, exports, "mapped");
  publish<upload>(env, exports, "upload");
  publish<download>(env, exports, "download");
  publish<read>(env, exports, "read");
  publish<copy>(env, exports, "copy");
  publish<fill>(env, exports, "fill");
}
