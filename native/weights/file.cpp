#include "weights/file.h"

#include <algorithm>

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>
#else
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace asdm {

namespace {

// One system call reads no more than this: Windows counts in 32 bits, Linux stops at 2 GiB, macOS fails there.
constexpr size_t kMaxRead = size_t{1} << 30;

Status failure(bool absent, const std::string& path, const std::string& reason) {
  return {absent ? Code::FileNotFound : Code::FileRead,
          "Expected to read weights from \"" + path + "\" but " + (absent ? "there is no such file" : reason)};
}

}  // namespace

#ifdef _WIN32

File::~File() {
  if (handle_ != kClosed) CloseHandle(reinterpret_cast<HANDLE>(handle_));
}

Status File::open(const std::string& path) {
  const int length = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path.c_str(), -1, nullptr, 0);
  if (length <= 0) return failure(false, path, "the path is not UTF-8");
  std::wstring wide(static_cast<size_t>(length), L'\0');
  MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path.c_str(), -1, &wide[0], length);
  const HANDLE handle = CreateFileW(wide.c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, nullptr,
                                    OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr);
  if (handle == INVALID_HANDLE_VALUE) {
    const DWORD error = GetLastError();
    return failure(error == ERROR_FILE_NOT_FOUND || error == ERROR_PATH_NOT_FOUND, path,
                   "opening it fails with Windows error " + std::to_string(error));
  }
  handle_ = reinterpret_cast<intptr_t>(handle);
  LARGE_INTEGER size;
  if (GetFileType(handle) != FILE_TYPE_DISK || !GetFileSizeEx(handle, &size)) return failure(false, path, "it is not a regular file");
  bytes_ = static_cast<uint64_t>(size.QuadPart);
  return Status::good();
}

bool File::read(uint64_t offset, void* to, size_t count) const {
  char* at = static_cast<char*>(to);
  while (count > 0) {
    OVERLAPPED position = {};
    position.Offset = static_cast<DWORD>(offset);
    position.OffsetHigh = static_cast<DWORD>(offset >> 32);
    DWORD got = 0;
    const DWORD want = static_cast<DWORD>(std::min(count, kMaxRead));
    if (!ReadFile(reinterpret_cast<HANDLE>(handle_), at, want, &got, &position) || got == 0) return false;
    at += got;
    offset += got;
    count -= got;
  }
  return true;
}

#else

File::~File() {
  if (handle_ != kClosed) ::close(static_cast<int>(handle_));
}

Status File::open(const std::string& path) {
  // Without O_NONBLOCK, opening a named pipe would wait for a writer; for regular files it changes nothing.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return failure(errno == ENOENT || errno == ENOTDIR, path, std::strerror(errno));
  handle_ = descriptor;
  struct stat about;
  if (::fstat(descriptor, &about) != 0) return failure(false, path, std::strerror(errno));
  if (!S_ISREG(about.st_mode)) return failure(false, path, "it is not a regular file");
  bytes_ = static_cast<uint64_t>(about.st_size);
  return Status::good();
}

bool File::read(uint64_t offset, void* to, size_t count) const {
  char* at = static_cast<char*>(to);
  while (count > 0) {
    const ssize_t got = ::pread(static_cast<int>(handle_), at, std::min(count, kMaxRead), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    offset += static_cast<uint64_t>(got);
    count -= static_cast<size_t>(got);
  }
  return true;
}

#endif

}  // namespace asdm
