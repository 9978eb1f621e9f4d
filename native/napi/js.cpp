#include "napi/js.h"

namespace asdm::napi {

const char* codeName(Code code) {
  switch (code) {
    case Code::Ok: break;
    case Code::Aborted: return "ABORTED";
    case Code::InvalidArgument: return "INVALID_ARGUMENT";
    case Code::FileNotFound: return "FILE_NOT_FOUND";
    case Code::FileRead: return "FILE_READ";
    case Code::BadConfig: return "BAD_CONFIG";
    case Code::UnsupportedConfig: return "UNSUPPORTED_CONFIG";
    case Code::TensorMissing: return "TENSOR_MISSING";
    case Code::TensorExtra: return "TENSOR_EXTRA";
    case Code::TensorShape: return "TENSOR_SHAPE";
    case Code::TensorDtype: return "TENSOR_DTYPE";
    case Code::ShapeMismatch: return "SHAPE_MISMATCH";
    case Code::OutOfMemory: return "OUT_OF_MEMORY";
    case Code::Disposed: return "DISPOSED";
    case Code::UnknownCpu: return "UNKNOWN_CPU";
    case Code::UnknownDevice: return "UNKNOWN_DEVICE";
    case Code::Internal: break;
  }
  return "INTERNAL";
}

namespace {

bool pending(napi_env env) {
  bool yes = false;
  return napi_is_exception_pending(env, &yes) != napi_ok || yes;
}

}  // namespace

void check(napi_env env, napi_status status) {
  if (status == napi_ok) return;
  if (status == napi_pending_exception || status == napi_closing || pending(env)) throw Unwind{};
  throw Failure{{Code::Internal, "Expected a Node-API call to succeed but it gave status " + std::to_string(status)}};
}

void checkUserCode(napi_env env, napi_status status, const std::string& what) {
  if (status == napi_ok) return;
  napi_value thrown = nullptr;
  // In a worker that is being terminated there is nothing to fetch; then it unwinds.
  if (!pending(env) || napi_get_and_clear_last_exception(env, &thrown) != napi_ok) throw Unwind{};
  throw Failure{{Code::InvalidArgument, "Expected " + what + " to be readable but reading it threw"}, thrown};
}

std::string sentence(const Status& status) {
  constexpr size_t kMost = 1500, kHead = 900, kTail = 500;
  const std::string& text = status.message;
  if (text.size() <= kMost) return text;
  // Cuts fall between characters: bytes 10xxxxxx continue one.
  const auto continues = [&](size_t at) { return (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80; };
  size_t head = kHead, tail = text.size() - kTail;
  while (head > 0 && continues(head)) head--;
  while (tail < text.size() && continues(tail)) tail++;
  return text.substr(0, head) + " [...] " + text.substr(tail);
}

void throwToJs(napi_env env, const Failure& failure) noexcept try {
  const std::string text = sentence(failure.status);
  // Each call may fail when memory is out or the environment is going down; then nothing is thrown, or what is already pending.
  napi_value code, message, error;
  const char* name = codeName(failure.status.code);
  if (napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &code) != napi_ok) return;
  if (napi_create_string_utf8(env, text.data(), text.size(), &message) != napi_ok) return;
  if (napi_create_error(env, code, message, &error) != napi_ok) return;
  if (failure.cause != nullptr && napi_set_named_property(env, error, "cause", failure.cause) != napi_ok) return;
  (void)napi_throw(env, error);
} catch (...) {
  // No memory for the sentence: undefined is returned.
}

napi_value undefined(napi_env env) {
  napi_value value;
  check(env, napi_get_undefined(env, &value));
  return value;
}

napi_value null(napi_env env) {
  napi_value value;
  check(env, napi_get_null(env, &value));
  return value;
}

napi_value string(napi_env env, const std::string& text) {
  napi_value value;
  check(env, napi_create_string_utf8(env, text.data(), text.size(), &value));
  return value;
}

napi_value number(napi_env env, double number) {
  napi_value value;
  check(env, napi_create_double(env, number, &value));
  return value;
}

napi_value object(napi_env env) {
  napi_value value;
  check(env, napi_create_object(env, &value));
  return value;
}

napi_value strings(napi_env env, const std::vector<std::string>& list) {
  napi_value array;
  check(env, napi_create_array_with_length(env, list.size(), &array));
  for (size_t i = 0; i < list.size(); i++) check(env, napi_set_element(env, array, static_cast<uint32_t>(i), string(env, list[i])));
  return array;
}

napi_value shape(napi_env env, const std::vector<int64_t>& dims) {
  napi_value array;
  check(env, napi_create_array_with_length(env, dims.size(), &array));
  for (size_t i = 0; i < dims.size(); i++)
    check(env, napi_set_element(env, array, static_cast<uint32_t>(i), number(env, static_cast<double>(dims[i]))));
  return array;
}

void set(napi_env env, napi_value target, const char* key, napi_value value) {
  check(env, napi_set_named_property(env, target, key, value));
}

Status statusOfException() noexcept {
  // A short message fits the string without an allocation, which may be what just failed.
  try {
    try {
      throw;
    } catch (const Failure& failure) {
      return failure.status;
    } catch (const std::bad_alloc&) {
      return {Code::OutOfMemory, "Expected enough memory for the call but an allocation failed"};
    } catch (const std::exception& error) {
      return {Code::Internal, std::string("Expected no C++ exception but received: ") + error.what()};
    } catch (...) {
      return {Code::Internal, "Expected no C++ exception but received one of unknown type"};
    }
  } catch (...) {
    return {Code::OutOfMemory, "out of memory"};
  }
}

}  // namespace asdm::napi
