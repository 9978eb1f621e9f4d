// JavaScript values in: every property is read once, checked, and copied into a plain struct before any native work sees it.
// Whatever is handed in (proxies, throwing getters, detached buffers, NaN, arrays of 2^32-1 holes) ends as a Failure that names the
// option. A getter may run any code of the caller's, also dispose(), so conversions come before the model is looked at.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "napi/js.h"
#include "napi/worker.h"
#include "runtime/model.h"

namespace asdm::napi {

// The value in an error message: short, quoted where it is text; runs no code of the caller's.
std::string shown(napi_env env, napi_value value);

// A value and how the caller calls it ("config.blockOutChannels[2]").
class Value {
 public:
  Value(napi_env env, napi_value value, std::string name, Code code = Code::InvalidArgument)
      : env_(env), value_(value), name_(std::move(name)), code_(code) {}

  napi_valuetype type() const;
  bool missing() const { return type() == napi_undefined; }
  const std::string& name() const { return name_; }
  napi_value raw() const { return value_; }

  // A property; undefined when it is absent. Fails when this is no object.
  Value operator[](const char* key) const;
  // The same value, with this code in its failures and those of its properties.
  Value as(Code code) const { return Value(env_, value_, name_, code); }

  // The same value under another name.
  Value named(std::string name) const { return Value(env_, value_, std::move(name), code_); }

  bool boolean() const;
  double finite() const;
  int64_t integer(int64_t least, int64_t most) const;
  std::string text(size_t mostBytes) const;
  napi_value function() const;
  std::vector<Value> list(size_t mostItems) const;
  std::vector<int64_t> integers(int64_t least, int64_t most, size_t mostItems) const;
  std::vector<bool> booleans(size_t mostItems) const;
  std::vector<std::string> texts(size_t mostBytes, size_t mostItems) const;
  // The object's own properties, in order.
  std::vector<std::string> keys(size_t mostBytes, size_t mostItems) const;
  std::vector<float> floats() const;
  // Of a large one the caller copies the values, as `large` then says.
  HostInput input(std::vector<LargeInput>* large) const;

  [[noreturn]] void fail(const std::string& expected) const;

 private:
  // The pointer holds until the next call into JavaScript. Null for an empty or detached array.
  const void* numbers(DType* dtype, size_t* length) const;

  napi_env env_;
  napi_value value_;
  std::string name_;
  Code code_;
};

}  // namespace asdm::napi
