// A shared library opened by the path it was found at, with every symbol of an ABI list resolved or named as missing.
#pragma once
#include <dlfcn.h>

#include <string>

#include "abi.h"
#include "failure.h"

class Library {
 public:
  bool isOpen() const { return handle_ != nullptr; }

  /** `name` for the messages, `path` a file or a name for the dynamic linker. `preload` is opened first, where given. */
  void open(const char* name, const std::string& path, const std::string& preload = "") {
    if (!preload.empty()) dlopen(preload.c_str(), RTLD_NOW | RTLD_GLOBAL);
    handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ == nullptr) throw Failure("LIBRARY", std::string(name) + ": " + dlerror());
    name_ = name;
    missing_.clear();
  }

  template <class Function>
  void resolve(Function& function, const char* symbol) {
    function = reinterpret_cast<Function>(dlsym(handle_, symbol));
    if (function == nullptr) missing_ += missing_.empty() ? symbol : std::string(", ") + symbol;
  }

  void mustBeComplete() {
    if (missing_.empty()) return;
    handle_ = nullptr;
    throw Failure("LIBRARY", name_ + " is too old: it lacks " + missing_);
  }

 private:
  void* handle_ = nullptr;
  std::string name_, missing_;
};

/** Declares one pointer for every function of an ABI list, and `open`, which fills them. */
#define REVNET_MEMBER(name, symbol, result, arguments) result(*name) arguments = nullptr;
#define REVNET_RESOLVE(name, symbol, result, arguments) library.resolve(name, symbol);
#define REVNET_LIBRARY(Type, LIST, title)                                      \
  struct Type {                                                                \
    LIST(REVNET_MEMBER)                                                        \
    Library library;                                                           \
    void open(const std::string& path, const std::string& preload = "") {      \
      if (library.isOpen()) return;                                            \
      library.open(title, path, preload);                                      \
      LIST(REVNET_RESOLVE)                                                     \
      library.mustBeComplete();                                                \
    }                                                                          \
  };

namespace abi {
REVNET_LIBRARY(Driver, REVNET_DRIVER, "the NVIDIA driver (libcuda)")
REVNET_LIBRARY(Compiler, REVNET_COMPILER, "NVRTC")
REVNET_LIBRARY(Products, REVNET_PRODUCTS, "cuBLASLt")
REVNET_LIBRARY(Collectives, REVNET_COLLECTIVES, "NCCL")
REVNET_LIBRARY(Graphs, REVNET_GRAPHS, "cuDNN")
}  // namespace abi
