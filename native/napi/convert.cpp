#include "napi/convert.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>

namespace asdm::napi {

namespace {

napi_valuetype typeOf(napi_env env, napi_value value) {
  napi_valuetype type = napi_undefined;
  check(env, napi_typeof(env, value, &type));
  return type;
}

std::string numberText(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  char text[40];
  std::snprintf(text, sizeof text, std::fabs(value) < 1e15 && value == std::floor(value) ? "%.0f" : "%.9g", value);
  return text;
}

}  // namespace

std::string shown(napi_env env, napi_value value) {
  switch (typeOf(env, value)) {
    case napi_undefined: return "undefined";
    case napi_null: return "null";
    case napi_boolean: {
      bool yes = false;
      check(env, napi_get_value_bool(env, value, &yes));
      return yes ? "true" : "false";
    }
    case napi_number: {
      double number = 0;
      check(env, napi_get_value_double(env, value, &number));
      return numberText(number);
    }
    case napi_string: {
      char text[64];
      size_t length = 0;
      check(env, napi_get_value_string_utf8(env, value, text, sizeof text, &length));
      return "\"" + std::string(text, length) + (length + 4 >= sizeof text ? "...\"" : "\"");
    }
    case napi_symbol: return "a symbol";
    case napi_function: return "a function";
    case napi_bigint: return "a bigint";
    case napi_external: return "an external value";
    case napi_object: break;
  }
  bool array = false;
  check(env, napi_is_array(env, value, &array));
  if (!array) return "an object";
  uint32_t length = 0;
  check(env, napi_get_array_length(env, value, &length));
  return "an array of " + std::to_string(length);
}

napi_valuetype Value::type() const { return typeOf(env_, value_); }

void Value::fail(const std::string& expected) const {
  throw Failure{{code_, "Expected " + name_ + " to be " + expected + " but received " + shown(env_, value_)}};
}

Value Value::operator[](const char* key) const {
  if (type() != napi_object) fail("an object");
  const std::string path = name_ + "." + key;
  napi_value property;
  checkUserCode(env_, napi_get_named_property(env_, value_, key, &property), path);
  return Value(env_, property, path, code_);
}

bool Value::boolean() const {
  if (type() != napi_boolean) fail("a boolean");
  bool yes = false;
  check(env_, napi_get_value_bool(env_, value_, &yes));
  return yes;
}

double Value::finite() const {
  double number = std::numeric_limits<double>::quiet_NaN();
  if (type() == napi_number) check(env_, napi_get_value_double(env_, value_, &number));
  if (!std::isfinite(number)) fail("a finite number");
  return number;
}

int64_t Value::integer(int64_t least, int64_t most) const {
  double number = std::numeric_limits<double>::quiet_NaN();
  if (type() == napi_number) check(env_, napi_get_value_double(env_, value_, &number));
  // NaN fails the comparisons; limits are below 2^53, where doubles are exact.
  if (!(number >= static_cast<double>(least) && number <= static_cast<double>(most)) || number != std::floor(number))
    fail("an integer from " + std::to_string(least) + " to " + std::to_string(most));
  return static_cast<int64_t>(number);
}

std::string Value::text(size_t mostBytes) const {
  if (type() != napi_string) fail("a string");
  size_t length = 0;
  check(env_, napi_get_value_string_utf8(env_, value_, nullptr, 0, &length));
  if (length > mostBytes) fail("a string of at most " + std::to_string(mostBytes) + " bytes");
  std::string text(length + 1, '\0');
  check(env_, napi_get_value_string_utf8(env_, value_, &text[0], text.size(), &length));
  text.resize(length);
  if (text.find('\0') != std::string::npos) fail("a string without NUL characters");
  return text;
}

napi_value Value::function() const {
  if (type() != napi_function) fail("a function");
  return value_;
}

std::vector<Value> Value::list(size_t mostItems) const {
  bool array = false;
  check(env_, napi_is_array(env_, value_, &array));
  if (!array) fail("an array");
  uint32_t length = 0;
  check(env_, napi_get_array_length(env_, value_, &length));
  if (length > mostItems) fail("an array of at most " + std::to_string(mostItems) + " items");
  std::vector<Value> items;
  items.reserve(length);
  for (uint32_t i = 0; i < length; i++) {
    std::string path = name_ + "[" + std::to_string(i) + "]";
    napi_value item;
    checkUserCode(env_, napi_get_element(env_, value_, i, &item), path);
    items.emplace_back(env_, item, std::move(path), code_);
  }
  return items;
}

std::vector<int64_t> Value::integers(int64_t least, int64_t most, size_t mostItems) const {
  std::vector<int64_t> numbers;
  for (const Value& item : list(mostItems)) numbers.push_back(item.integer(least, most));
  return numbers;
}

std::vector<bool> Value::booleans(size_t mostItems) const {
  std::vector<bool> flags;
  for (const Value& item : list(mostItems)) flags.push_back(item.boolean());
  return flags;
}

std::vector<std::string> Value::texts(size_t mostBytes, size_t mostItems) const {
  std::vector<std::string> result;
  for (const Value& item : list(mostItems)) result.push_back(item.text(mostBytes));
  return result;
}

std::vector<std::string> Value::keys(size_t mostBytes, size_t mostItems) const {
  if (type() != napi_object) fail("an object");
  napi_value names;
  checkUserCode(env_,
                napi_get_all_property_names(env_, value_, napi_key_own_only,
                                            static_cast<napi_key_filter>(napi_key_enumerable | napi_key_skip_symbols),
                                            napi_key_numbers_to_strings, &names),
                name_);
  return Value(env_, names, "keys of " + name_, code_).texts(mostBytes, mostItems);
}

const void* Value::numbers(DType* dtype, size_t* length) const {
  constexpr const char* kExpected = "a Float32Array or an Int32Array";
  bool typed = false;
  check(env_, napi_is_typedarray(env_, value_, &typed));
  if (!typed) fail(kExpected);
  napi_typedarray_type type;
  void* data = nullptr;
  check(env_, napi_get_typedarray_info(env_, value_, &type, length, &data, nullptr, nullptr));
  if (type != napi_float32_array && type != napi_int32_array) fail(kExpected);
  *dtype = type == napi_float32_array ? DType::F32 : DType::I32;
  if (data == nullptr) *length = 0;
  return data;
}

std::vector<float> Value::floats() const {
  DType dtype;
  size_t length = 0;
  const auto* data = static_cast<const float*>(numbers(&dtype, &length));
  if (dtype != DType::F32) fail("a Float32Array");
  return length ? std::vector<float>(data, data + length) : std::vector<float>();
}

HostInput Value::input(std::vector<LargeInput>* large) const {
  if (type() != napi_object) fail("{ data: Float32Array, shape: number[] }");
  HostInput input;
  const Value dims = (*this)["shape"];
  input.shape = dims.as(Code::ShapeMismatch).integers(1, std::numeric_limits<int32_t>::max(), 4);
  const Value data = (*this)["data"];
  // The number of values is compared before any is copied: shape and data may be of any size.
  size_t length = 0;
  const void* from = data.numbers(&input.dtype, &length);
  double count = 1;
  for (int64_t size : input.shape) count *= static_cast<double>(size);
  if (count != static_cast<double>(length))
    throw Failure{{Code::ShapeMismatch, "Expected " + data.name() + " to hold " + numberText(count) +
                                            " values for its shape but received " + std::to_string(length)}};
  input.bytes.resize(length * 4);
  if (input.bytes.size() > kInputBytes) large->push_back({data.raw(), data.name(), input.bytes.data(), input.bytes.size()});
  else std::memcpy(input.bytes.data(), from, input.bytes.size());
  return input;
}

}  // namespace asdm::napi
