// A file's bytes in memory, read-only. If somebody shortens the file meanwhile, touching what is gone ends the process with SIGBUS
// on POSIX systems (Windows forbids it); who maps a file has to be able to live with that.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

namespace asdm {

class Mapping {
 public:
  Mapping() = default;
  ~Mapping() { release(); }
  Mapping(Mapping&& other) noexcept : data_(other.data_), bytes_(other.bytes_) { other.data_ = nullptr; other.bytes_ = 0; }
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  // Maps a whole regular file that is not empty; the path is UTF-8. False, and nothing mapped, where that is not possible.
  bool open(const std::string& path);
  void release();
  // Has the system read these bytes. False where it says that they are not there; true where it cannot be asked.
  bool populate(size_t offset, size_t count) const;
  const std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  const std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace asdm
