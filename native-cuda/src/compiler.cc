// Kernels from source at run time, through NVRTC.
#include <cstring>

#include "device.h"

namespace {

abi::Compiler compiler;

void checkCompiler(int result, const char* what) {
  if (result != 0) throw Failure("NVRTC_" + std::to_string(result), std::string(what) + ": " + compiler.errorText(result));
}

// openCompiler(path, path of its built-in functions or "") -> [major, minor]
napi_value openCompiler(Call& call) {
  compiler.open(call.text(0), call.text(1));
  int major = 0, minor = 0;
  checkCompiler(compiler.version(&major, &minor), "asking NVRTC's version");
  return call.give({static_cast<double>(major), static_cast<double>(minor)});
}

struct Program {
  abi::Handle handle = nullptr;
  ~Program() {
    if (handle != nullptr) compiler.destroy(&handle);
  }
};

// compile(source, file name for messages, options) -> machine code; throws with the compiler's log
napi_value compile(Call& call) {
  if (!compiler.library.isOpen()) throw Failure("CLOSED", "NVRTC is not open");
  Program program;
  std::string source = call.text(0), name = call.text(1);
  std::vector<std::string> options = call.texts(2);
  std::vector<const char*> given;
  for (const auto& option : options) given.push_back(option.c_str());
  checkCompiler(compiler.create(&program.handle, source.c_str(), name.c_str(), 0, nullptr, nullptr), "NVRTC");
  int result = compiler.compile(program.handle, static_cast<int>(given.size()), given.data());
  if (result != 0) {
    size_t length = 0;
    compiler.logSize(program.handle, &length);
    std::string log(length, '\0');
    compiler.log(program.handle, log.data());
    throw Failure("NVRTC_" + std::to_string(result), name + " does not compile:\n" + log.c_str());
  }
  size_t bytes = 0;
  checkCompiler(compiler.codeSize(program.handle, &bytes), "reading the machine code");
  void* code = nullptr;
  napi_value array = call.giveBytes(bytes, &code);
  checkCompiler(compiler.code(program.handle, static_cast<char*>(code)), "reading the machine code");
  return array;
}

}  // namespace

void publishCompiler(napi_env env, napi_value exports) {
  publish<openCompiler>(env, exports, "openCompiler");
  publish<compile>(env, exports, "compile");
}
