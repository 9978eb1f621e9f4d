// Positioned reads of a file. Not memory-mapped: a mapped file that shrinks under its reader raises a signal that would end the
// process, where a read only comes up short.
#pragma once

#include <cstdint>
#include <string>

#include "core/status.h"

namespace asdm {

class File {
 public:
  File() = default;
  ~File();
  File(File&& other) noexcept : handle_(other.handle_), bytes_(other.bytes_) { other.handle_ = kClosed; }
  File& operator=(File&&) = delete;
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  // Opens a regular file for reading; the path is UTF-8. Fails with FileNotFound or FileRead.
  Status open(const std::string& path);
  // Its size when it was opened.
  uint64_t bytes() const { return bytes_; }
  // Reads exactly `count` bytes from `offset`; any thread may. False when the file is shorter by now, or cannot be read.
  bool read(uint64_t offset, void* to, size_t count) const;

 private:
  static constexpr intptr_t kClosed = -1;
  intptr_t handle_ = kClosed;  // a POSIX descriptor or a Windows HANDLE
  uint64_t bytes_ = 0;
};

}  // namespace asdm
