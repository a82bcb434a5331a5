// libnccl.so.2's functions for groups of one rank: what is reduced or gathered is what one has. A group of several is refused.
#include <cstring>

#include "standin.h"

namespace {

struct UniqueId {
  char bytes[128];
};

constexpr size_t sizes[] = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2};

int move(const char* name, const void* from, void* to, size_t count, int type, void* stream) {
  if (const int failure = plannedFailure(name)) return failure;
  if (type < 0 || type > 9) return 4;
  return enqueue(stream, [=] {
    std::memmove(to, from, count * sizes[type]);
    return 0;
  });
}

}  // namespace

STANDIN_API int ncclGetVersion(int* version) { *version = 20000; return 0; }
STANDIN_API const char* ncclGetErrorString(int code) { return code == 4 ? "invalid argument" : "planned by the stand-in"; }
STANDIN_API int ncclGetUniqueId(UniqueId* id) { std::memset(id, 7, sizeof *id); return plannedFailure(__func__); }
STANDIN_API int ncclCommInitRank(void** group, int ranks, UniqueId id, int rank) {
  if (const int failure = plannedFailure(__func__)) return failure;
  if (ranks != 1 || rank != 0 || id.bytes[0] != 7) return 4;
  *group = new int(ranks);
  return 0;
}
STANDIN_API int ncclCommDestroy(void* group) { delete static_cast<int*>(group); return 0; }
STANDIN_API int ncclCommAbort(void* group) { delete static_cast<int*>(group); return 0; }
STANDIN_API int ncclCommGetAsyncError(void*, int* error) { *error = 0; return 0; }
STANDIN_API int ncclAllReduce(const void* from, void* to, size_t count, int type, int, void*, void* stream) { return move(__func__, from, to, count, type, stream); }
STANDIN_API int ncclReduceScatter(const void* from, void* to, size_t count, int type, int, void*, void* stream) { return move(__func__, from, to, count, type, stream); }
STANDIN_API int ncclAllGather(const void* from, void* to, size_t count, int type, void*, void* stream) { return move(__func__, from, to, count, type, stream); }
STANDIN_API int ncclBroadcast(const void* from, void* to, size_t count, int type, int, void*, void* stream) { return move(__func__, from, to, count, type, stream); }
