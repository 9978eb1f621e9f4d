// Runs kernels for the op tests (test/support/remote-runner.ts) in a process of its own, which need not be of the CPU that Node runs
// on: an emulator may run it. Reads requests from standard input and answers on standard output, until the input ends.
//
// Request: its bytes behind this number (u32), then op, set, number format (each u32 and text), threads (u32), arguments (u32), and for each
// its name, a kind (u8) and its value: 0 a number (f64), 1 a text, 2 an array (u32 bytes, and those). Answer: u8 0 and an array, or u8 1 and
// the text of an error. "sets" and "emulatedSets" are ops too, with a text of names as answer. All numbers little-endian.
#include <cstdio>

#include "testing/op_runner.h"

namespace {

using namespace asdm::testing;

class Reader {
 public:
  explicit Reader(std::vector<unsigned char> bytes) : bytes_(std::move(bytes)) {}
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value), sizeof value);
    return value;
  }
  std::string text() {
    const uint32_t length = number<uint32_t>();
    return std::string(reinterpret_cast<const char*>(take(length)), length);
  }
  std::vector<unsigned char> array() {
    const uint32_t length = number<uint32_t>();
    const unsigned char* from = take(length);
    return std::vector<unsigned char>(from, from + length);
  }

 private:
  const unsigned char* take(size_t count) {
    if (count > bytes_.size() - at_) throw std::runtime_error("a request is too short");
    at_ += count;
    return bytes_.data() + at_ - count;
  }
  std::vector<unsigned char> bytes_;
  size_t at_ = 0;
};

std::string joined(const std::vector<std::string>& names) {
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : " ") + name;
  return all;
}

void answer(uint8_t status, const void* data, size_t bytes) {
  const uint32_t length = static_cast<uint32_t>(bytes);
  std::fwrite(&status, 1, 1, stdout);
  std::fwrite(&length, sizeof length, 1, stdout);
  std::fwrite(data, 1, bytes, stdout);
  std::fflush(stdout);
}

void serve(Reader request) {
  const std::string op = request.text(), set = request.text(), dtype = request.text();
  if (op == "sets" || op == "emulatedSets") {
    const std::string names = joined(op == "sets" ? setsWithOwn(dtype) : emulatedSetsOf(dtype));
    return answer(0, names.data(), names.size());
  }
  const uint32_t threads = request.number<uint32_t>(), count = request.number<uint32_t>();
  Napi::Object args;
  for (uint32_t i = 0; i < count; i++) {
    const std::string name = request.text();
    const uint8_t kind = request.number<uint8_t>();
    if (kind == 0) args.Set(name, Napi::Value::ofNumber(request.number<double>()));
    else if (kind == 1) args.Set(name, Napi::Value::ofText(request.text()));
    else args.Set(name, Napi::Value::ofBytes(request.array()));
  }
  const auto result = runOp(Napi::Env{}, op, set, static_cast<int>(threads), args, dtype).As<Napi::Float32Array>();
  answer(0, result.Data(), result.ByteLength());
}

}  // namespace

int main() {
  uint32_t length = 0;
  while (std::fread(&length, sizeof length, 1, stdin) == 1) {
    std::vector<unsigned char> bytes(length);
    if (length > 0 && std::fread(bytes.data(), 1, length, stdin) != length) return 1;
    try {
      serve(Reader(std::move(bytes)));
    } catch (const std::exception& error) {
      answer(1, error.what(), std::strlen(error.what()));
    }
  }
  return 0;
}
