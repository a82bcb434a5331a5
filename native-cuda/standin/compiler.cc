// NVRTC's functions: the kernel is compiled for the host. REVNET_STANDIN_HEADER is the path of host.h.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

#include "standin.h"

namespace {

struct Program {
  std::string source, code, log;
};

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

STANDIN_API int nvrtcVersion(int* major, int* minor) { *major = 0; *minor = 1; return 0; }
STANDIN_API const char* nvrtcGetErrorString(int) { return "the stand-in's compiler failed"; }
STANDIN_API int nvrtcCreateProgram(void** program, const char* source, const char*, int, const char* const*, const char* const*) {
  *program = new Program{source, "", ""};
  return 0;
}
STANDIN_API int nvrtcDestroyProgram(void** program) { delete static_cast<Program*>(*program); return 0; }

STANDIN_API int nvrtcCompileProgram(void* handle, int count, const char* const* options) {
  if (const int failure = plannedFailure(__func__)) return failure;
  auto& program = *static_cast<Program*>(handle);
  if (isIdle()) {
    program.code = "idle";
    return 0;
  }
  char folder[] = "/tmp/revnet-standin-XXXXXX";
  if (mkdtemp(folder) == nullptr) return 1;
  const std::string at = folder;
  std::ofstream(at + "/kernel.cc") << program.source;
  const bool meets = program.source.find("__sync") != std::string::npos || program.source.find("__shfl") != std::string::npos;
  // No contraction: on the device kernels are compiled with --fmad=false, and ask for fma where they want it.
  std::string command = "g++ -x c++ -std=c++17 -O1 -fPIC -shared -w -ffp-contract=off -fno-strict-aliasing -fwrapv ";
  for (int i = 0; i < count; i++)
    if (std::strncmp(options[i], "-D", 2) == 0) command += "'" + std::string(options[i]) + "' ";
  if (meets) command += "-DSTANDIN_COOPERATIVE ";
  command += "-include '" + std::string(getenv("REVNET_STANDIN_HEADER")) + "' " + at + "/kernel.cc -o " + at + "/kernel.so 2>" + at + "/log";
  const int status = std::system(command.c_str());
  program.log = contents(at + "/log");
  program.code = contents(at + "/kernel.so");
  for (const char* name : {"/kernel.cc", "/kernel.so", "/log"}) unlink((at + name).c_str());
  rmdir(folder);
  return status == 0 ? 0 : 6;
}
STANDIN_API int nvrtcGetCUBINSize(void* program, size_t* bytes) { *bytes = static_cast<Program*>(program)->code.size(); return 0; }
STANDIN_API int nvrtcGetCUBIN(void* program, char* code) {
  const auto& from = static_cast<Program*>(program)->code;
  std::memcpy(code, from.data(), from.size());
  return 0;
}
STANDIN_API int nvrtcGetProgramLogSize(void* program, size_t* bytes) { *bytes = static_cast<Program*>(program)->log.size() + 1; return 0; }
STANDIN_API int nvrtcGetProgramLog(void* program, char* log) { std::strcpy(log, static_cast<Program*>(program)->log.c_str()); return 0; }
