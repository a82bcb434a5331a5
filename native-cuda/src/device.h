// The one device of this process: its context, the stream of its computation, and the check of every call to the driver.
#pragma once
#include "library.h"
#include "node.h"

struct DeviceState {
  abi::Driver driver;
  abi::Device device = 0;
  abi::Handle context = nullptr;
  abi::Handle stream = nullptr;
};
extern DeviceState cuda;

/** Throws the driver's own name and text for a result that is no success. */
void check(abi::Result result, const char* what);
/** The same where the call needs an open device. */
void mustBeOpen();

/** Gives back pinned memory and events that no transfer uses; and all that transfers keep, before the device is closed. */
void releaseTransfers();
void closeTransfers();
/** Waits for all copies: what is taken down cannot wait for what was not. */
void restTransfers();
/** From here on copies are taken down with the stream's other work; their streams end before the stream's; the graph, or null for none, has their memory. */
void beginCapturedTransfers();
abi::Result joinCapturedTransfers();
void endCapturedTransfers(abi::Handle graph);
void releaseTransfersOf(abi::Handle graph);

void publishDevice(napi_env env, napi_value exports);
void publishMemory(napi_env env, napi_value exports);
void publishTransfers(napi_env env, napi_value exports);
void publishLaunch(napi_env env, napi_value exports);
void publishCapture(napi_env env, napi_value exports);
void publishCompiler(napi_env env, napi_value exports);
void publishProducts(napi_env env, napi_value exports);
void publishCollectives(napi_env env, napi_value exports);
void publishAttention(napi_env env, napi_value exports);
