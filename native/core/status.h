// What a native call reports: a code with AsdmError's spelling (lib/base/errors.ts) and one sentence. No exceptions cross a module's
// border; std::bad_alloc is caught where a call enters native code (napi/, runtime/) and becomes OutOfMemory.
#pragma once

#include <string>
#include <utility>

namespace asdm {

enum class Code {
  Ok,
  Aborted,          // the caller cancelled; becomes an AbortError in JavaScript
  InvalidArgument,  // INVALID_ARGUMENT
  FileNotFound,     // FILE_NOT_FOUND
  FileRead,         // FILE_READ
  BadConfig,        // BAD_CONFIG
  UnsupportedConfig,  // UNSUPPORTED_CONFIG
  TensorMissing,    // TENSOR_MISSING
  TensorExtra,      // TENSOR_EXTRA
  TensorShape,      // TENSOR_SHAPE
  TensorDtype,      // TENSOR_DTYPE
  ShapeMismatch,    // SHAPE_MISMATCH
  OutOfMemory,      // OUT_OF_MEMORY
  Disposed,         // DISPOSED
  UnknownCpu,       // UNKNOWN_CPU
  UnknownDevice,    // UNKNOWN_DEVICE
  Internal,         // INTERNAL
};

struct [[nodiscard]] Status {
  Code code = Code::Ok;
  std::string message;

  Status() = default;
  Status(Code c, std::string m) : code(c), message(std::move(m)) {}
  bool ok() const { return code == Code::Ok; }
  static Status good() { return {}; }
};

// Leaves the function with the status if it is not ok.
#define ASDM_TRY(expression)                       \
  do {                                             \
    ::asdm::Status asdmTryStatus = (expression);   \
    if (!asdmTryStatus.ok()) return asdmTryStatus; \
  } while (0)

}  // namespace asdm
