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
  File(File&& other) noexcept : handle_(other.handle_), bytes_(other.bytes_), modified_(other.modified_), changed_(other.changed_) {
    other.handle_ = kClosed;
  }
  File& operator=(File&&) = delete;
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  // Opens a regular file for reading; the path is UTF-8. Fails with FileNotFound or FileRead.
  Status open(const std::string& path);
  // Its size when it was opened.
  uint64_t bytes() const { return bytes_; }
  // When it was last written, in a unit of the system.
  uint64_t modified() const { return modified_; }
  // When anything about it last changed, its times included, which programs can set at will.
  uint64_t changed() const { return changed_; }
  // Reads exactly `count` bytes from `offset`; any thread may. False when the file is shorter by now, or cannot be read.
  bool read(uint64_t offset, void* to, size_t count) const;

 private:
  static constexpr intptr_t kClosed = -1;
  intptr_t handle_ = kClosed;  // a POSIX descriptor or a Windows HANDLE
  uint64_t bytes_ = 0, modified_ = 0, changed_ = 0;
};

// A file in the making: written under a name of its own, which nobody else uses, and given its real name when it is whole. So others see
// the old file or the new one, and handles that are open on the old one stay valid. What was not finished is removed.
class NewFile {
 public:
  NewFile() = default;
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  // Paths are UTF-8. Each is false where the system refuses; why() then says so.
  bool create(const std::string& path);
  bool write(uint64_t offset, const void* from, size_t count);
  bool finish();
  const std::string& why() const { return why_; }

 private:
  bool refused(const char* what);
  std::string path_, temporary_, why_;
  intptr_t handle_ = -1;
};

}  // namespace asdm
