#include "core/mapping.h"

#include <cstdint>

#ifdef _WIN32
#include "core/win32.h"
#else
#include <cerrno>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace asdm {

#ifdef _WIN32

bool Mapping::open(const std::string& path) {
  release();
  std::wstring wide;
  if (!widePath(path, &wide)) return false;
  const HANDLE file = CreateFileW(wide.c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE, nullptr, OPEN_EXISTING,
                                  FILE_ATTRIBUTE_NORMAL, nullptr);
  if (file == INVALID_HANDLE_VALUE) return false;
  LARGE_INTEGER size;
  if (GetFileType(file) == FILE_TYPE_DISK && GetFileSizeEx(file, &size) && size.QuadPart > 0 &&
      static_cast<uint64_t>(size.QuadPart) <= SIZE_MAX / 2) {
    const HANDLE mapping = CreateFileMappingW(file, nullptr, PAGE_READONLY, 0, 0, nullptr);
    if (mapping != nullptr) {
      data_ = static_cast<const std::byte*>(MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, 0));
      if (data_ != nullptr) bytes_ = static_cast<size_t>(size.QuadPart);
      CloseHandle(mapping);  // the view keeps it
    }
  }
  CloseHandle(file);
  return data_ != nullptr;
}

void Mapping::release() {
  if (data_ != nullptr) UnmapViewOfFile(data_);
  data_ = nullptr;
  bytes_ = 0;
}

bool Mapping::populate(size_t, size_t) const { return true; }

#else

bool Mapping::populate(size_t offset, size_t count) const {
#if defined(MADV_POPULATE_READ)
  const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE)), before = offset % page;
  void* const from = const_cast<std::byte*>(data_ + offset - before);
  return ::madvise(from, count + before, MADV_POPULATE_READ) == 0 || errno == EINVAL || errno == ENOSYS;
#else
  (void)offset;
  (void)count;
  return true;
#endif
}

bool Mapping::open(const std::string& path) {
  release();
  // Without O_NONBLOCK, opening a named pipe would wait for a writer.
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return false;
  struct stat about;
  if (::fstat(file, &about) == 0 && S_ISREG(about.st_mode) && about.st_size > 0 && static_cast<uint64_t>(about.st_size) <= SIZE_MAX / 2) {
    const size_t bytes = static_cast<size_t>(about.st_size);
    void* const got = ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, file, 0);
    if (got != MAP_FAILED) {
      data_ = static_cast<const std::byte*>(got);
      bytes_ = bytes;
    }
  }
  ::close(file);  // the mapping keeps it
  return data_ != nullptr;
}

void Mapping::release() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), bytes_);
  data_ = nullptr;
  bytes_ = 0;
}

#endif

}  // namespace asdm
