// As much of node-addon-api's interface as the op tests use (op_*.cpp but op_runner.cpp), without Node: values that came in a message.
// It stands in for <napi.h> where scripts/arm.mjs compiles them for a CPU that has no Node here.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace Napi {

struct Env {};

class Error : public std::runtime_error {
 public:
  static Error New(Env, const std::string& message) { return Error(message); }

 private:
  explicit Error(const std::string& message) : std::runtime_error(message) {}
};

class Number {
 public:
  explicit Number(double value) : value_(value) {}
  int64_t Int64Value() const { return std::isfinite(value_) ? static_cast<int64_t>(value_) : 0; }
  float FloatValue() const { return static_cast<float>(value_); }

 private:
  double value_;
};

// A number (or boolean), a text, or an array; nothing if default-constructed. Copies share an array's memory.
class Value {
 public:
  Value() = default;
  static Value ofNumber(double number) {
    Value value;
    value.number_ = number;
    return value;
  }
  static Value ofText(const std::string& text) {
    Value value;
    value.text_ = text;
    return value;
  }
  static Value ofBytes(std::vector<unsigned char> bytes) {
    Value value;
    value.bytes_ = std::make_shared<std::vector<unsigned char>>(std::move(bytes));
    return value;
  }

  bool IsTypedArray() const { return bytes_ != nullptr; }
  Number ToNumber() const { return Number(number_); }
  bool ToBoolean() const { return number_ == number_ && number_ != 0; }
  std::string ToString() const { return text_; }
  template <class T>
  T As() const {
    return T(*this);
  }

 protected:
  std::shared_ptr<std::vector<unsigned char>> bytes_;

 private:
  double number_ = std::numeric_limits<double>::quiet_NaN();
  std::string text_;
};

template <class T>
class TypedArray : public Value {
 public:
  explicit TypedArray(const Value& value) : Value(value) {}
  static TypedArray New(Env, size_t count) { return TypedArray(Value::ofBytes(std::vector<unsigned char>(count * sizeof(T)))); }
  size_t ByteLength() const { return bytes_ ? bytes_->size() : 0; }
  size_t ElementLength() const { return ByteLength() / sizeof(T); }
  T* Data() const { return bytes_ ? reinterpret_cast<T*>(bytes_->data()) : nullptr; }
  T& operator[](size_t i) { return Data()[i]; }
};
using Float32Array = TypedArray<float>;
using Int32Array = TypedArray<int32_t>;

class Object {
 public:
  bool Has(const char* name) const { return values_.count(name) != 0; }
  Value Get(const char* name) const {
    const auto found = values_.find(name);
    return found == values_.end() ? Value() : found->second;
  }
  void Set(const std::string& name, const Value& value) { values_[name] = value; }

 private:
  std::map<std::string, Value> values_;
};

}  // namespace Napi
