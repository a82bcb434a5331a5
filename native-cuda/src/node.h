// The little of Node-API that the addon needs. Raw, not through node-addon-api: a launch costs 70 ns this way, and the
// addon needs nothing but the headers that come with Node.
#pragma once
#include <node_api.h>

#include <cstdint>
#include <string>
#include <vector>

#include "failure.h"

/** The arguments of one call from JavaScript. They were checked there (binding.ts); here they are read. */
class Call {
 public:
  static constexpr size_t MOST = 24;

  Call(napi_env env, napi_callback_info info) : env(env) {
    napi_get_cb_info(env, info, &count_, values_, nullptr, nullptr);
  }

  double number(size_t i) const {
    double value = 0;
    napi_get_value_double(env, values_[i], &value);
    return value;
  }
  int integer(size_t i) const { return static_cast<int>(number(i)); }
  uint64_t address(size_t i) const { return static_cast<uint64_t>(number(i)); }

  std::string text(size_t i) const { return textOf(values_[i]); }

  std::vector<std::string> texts(size_t i) const {
    uint32_t length = 0;
    napi_get_array_length(env, values_[i], &length);
    std::vector<std::string> list;
    for (uint32_t k = 0; k < length; k++) {
      napi_value element;
      napi_get_element(env, values_[i], k, &element);
      list.push_back(textOf(element));
    }
    return list;
  }

  /** The bytes of a typed array; they live as long as the call. */
  void* bytes(size_t i, size_t* length = nullptr) const {
    napi_typedarray_type type;
    size_t elements = 0, offset = 0;
    void* data = nullptr;
    napi_value buffer;
    if (napi_get_typedarray_info(env, values_[i], &type, &elements, &data, &buffer, &offset) != napi_ok)
      throw Failure("ARGUMENT", "a typed array was expected");
    static const size_t sizes[] = {1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8};
    if (length != nullptr) *length = elements * sizes[type];
    return data;
  }

  napi_value value(size_t i) const { return values_[i]; }

  napi_value give(double number) const {
    napi_value result;
    napi_create_double(env, number, &result);
    return result;
  }
  napi_value give(const std::string& text) const {
    napi_value result;
    napi_create_string_utf8(env, text.data(), text.size(), &result);
    return result;
  }
  napi_value give(std::initializer_list<double> numbers) const {
    napi_value result;
    napi_create_array_with_length(env, numbers.size(), &result);
    uint32_t i = 0;
    for (double n : numbers) napi_set_element(env, result, i++, give(n));
    return result;
  }
  /** A new Uint8Array and its bytes. */
  napi_value giveBytes(size_t length, void** data) const {
    napi_value buffer, result;
    napi_create_arraybuffer(env, length, data, &buffer);
    napi_create_typedarray(env, napi_uint8_array, length, buffer, 0, &result);
    return result;
  }
  napi_value nothing() const { return nullptr; }

  napi_env env;

 private:
  std::string textOf(napi_value from) const {
    size_t length = 0;
    if (napi_get_value_string_utf8(env, from, nullptr, 0, &length) != napi_ok) return "";
    std::string value(length, '\0');
    napi_get_value_string_utf8(env, from, value.data(), length + 1, &length);
    return value;
  }

  size_t count_ = MOST;
  napi_value values_[MOST];
};

using Entry = napi_value (*)(Call&);

inline napi_value errorValue(napi_env env, const Failure& failure) {
  napi_value code, text, error;
  napi_create_string_utf8(env, failure.code.c_str(), NAPI_AUTO_LENGTH, &code);
  napi_create_string_utf8(env, failure.text.c_str(), NAPI_AUTO_LENGTH, &text);
  napi_create_error(env, code, text, &error);
  return error;
}

template <Entry entry>
napi_value guarded(napi_env env, napi_callback_info info) {
  try {
    Call call(env, info);
    return entry(call);
  } catch (const Failure& failure) {
    napi_throw(env, errorValue(env, failure));
    return nullptr;
  }
}

template <Entry entry>
void publish(napi_env env, napi_value exports, const char* name) {
  napi_value function;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, guarded<entry>, nullptr, &function);
  napi_set_named_property(env, exports, name, function);
}
