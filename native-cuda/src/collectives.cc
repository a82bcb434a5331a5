// Sums and exchanges between devices by NCCL, on the device's one stream: they come after what was launched before them.
#include <cstring>

#include "device.h"

namespace {

abi::Collectives nccl;

void checkCollective(int result, const char* what) {
  if (result == 0) return;
  throw Failure("NCCL_" + std::to_string(result), std::string(what) + ": " + nccl.errorText(result));
}

void mustBeJoinable() {
  mustBeOpen();
  if (!nccl.library.isOpen()) throw Failure("CLOSED", "NCCL is not open");
}

void* pointer(const Call& call, size_t i) { return reinterpret_cast<void*>(call.address(i)); }

// openCollectives(path) -> version, 22703 for 2.27.3
napi_value openCollectives(Call& call) {
  nccl.open(call.text(0));
  int version = 0;
  checkCollective(nccl.version(&version), "asking NCCL's version");
  return call.give(version);
}

// makeGroupId() -> Uint8Array that all ranks of a group join with
napi_value makeGroupId(Call& call) {
  mustBeJoinable();
  abi::UniqueId id;
  checkCollective(nccl.uniqueId(&id), "making a group");
  void* bytes = nullptr;
  napi_value array = call.giveBytes(sizeof id, &bytes);
  std::memcpy(bytes, &id, sizeof id);
  return array;
}

// joinGroup(id, ranks, rank) -> group; waits for the others
napi_value joinGroup(Call& call) {
  mustBeJoinable();
  abi::UniqueId id;
  size_t length = 0;
  const void* bytes = call.bytes(0, &length);
  if (length != sizeof id) throw Failure("ARGUMENT", "a group's id has 128 bytes");
  std::memcpy(&id, bytes, sizeof id);
  abi::Handle group = nullptr;
  checkCollective(nccl.join(&group, call.integer(1), id, call.integer(2)), "joining a group");
  return call.give(static_cast<double>(reinterpret_cast<uintptr_t>(group)));
}

// leaveGroup(group, whether it is broken)
napi_value leaveGroup(Call& call) {
  mustBeJoinable();
  const bool isBroken = call.integer(1) != 0;
  checkCollective(isBroken ? nccl.abort(pointer(call, 0)) : nccl.leave(pointer(call, 0)), "leaving a group");
  return call.nothing();
}

// groupError(group) -> 0, or what went wrong with work under way
napi_value groupError(Call& call) {
  mustBeJoinable();
  int error = 0;
  checkCollective(nccl.asyncError(pointer(call, 0), &error), "asking how a group is");
  return call.give(error);
}

// allReduce(group, from, to, elements, type, reduction)
napi_value allReduce(Call& call) {
  mustBeJoinable();
  checkCollective(nccl.allReduce(pointer(call, 1), pointer(call, 2), call.address(3), call.integer(4), call.integer(5),
                                 pointer(call, 0), cuda.stream),
                  "reducing over a group");
  return call.nothing();
}

// reduceScatter(group, from, to, elements of a part, type, reduction)
napi_value reduceScatter(Call& call) {
  mustBeJoinable();
  checkCollective(nccl.reduceScatter(pointer(call, 1), pointer(call, 2), call.address(3), call.integer(4),
                                     call.integer(5), pointer(call, 0), cuda.stream),
                  "reducing and scattering over a group");
  return call.nothing();
}

// allGather(group, from, to, elements of a part, type)
napi_value allGather(Call& call) {
  mustBeJoinable();
  checkCollective(nccl.allGather(pointer(call, 1), pointer(call, 2), call.address(3), call.integer(4), pointer(call, 0),
                                 cuda.stream),
                  "gathering over a group");
  return call.nothing();
}

// broadcast(group, from, to, elements, type, rank that has it)
napi_value broadcast(Call& call) {
  mustBeJoinable();
  checkCollective(nccl.broadcast(pointer(call, 1), pointer(call, 2), call.address(3), call.integer(4), call.integer(5),
                                 pointer(call, 0), cuda.stream),
                  "broadcasting over a group");
  return call.nothing();
}

}  // namespace

void publishCollectives(napi_env env, napi_value exports) {
  publish<openCollectives>(env, exports, "openCollectives");
  publish<makeGroupId>(env, exports, "makeGroupId");
  publish<joinGroup>(env, exports, "joinGroup");
  publish<leaveGroup>(env, exports, "leaveGroup");
  publish<groupError>(env, exports, "groupError");
  publish<allReduce>(env, exports, "allReduce");
  publish<reduceScatter>(env, exports, "reduceScatter");
  publish<allGather>(env, exports, "allGather");
  publish<broadcast>(env, exports, "broadcast");
}
