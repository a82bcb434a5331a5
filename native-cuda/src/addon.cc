// The addon: NVIDIA's libraries behind plain functions, mirrored in packages/backend-cuda/src/device/binding.ts.
#include "device.h"

NAPI_MODULE_INIT() {
  publishDevice(env, exports);
  publishMemory(env, exports);
  publishTransfers(env, exports);
  publishLaunch(env, exports);
  publishCapture(env, exports);
  publishCompiler(env, exports);
  publishProducts(env, exports);
  publishCollectives(env, exports);
  publishAttention(env, exports);
  return exports;
}
