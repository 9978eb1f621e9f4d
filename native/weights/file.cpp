#include "weights/file.h"

#include <algorithm>
#include <random>

#ifdef _WIN32
#include "core/win32.h"
#else
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

#if defined(__APPLE__)
#define st_mtim st_mtimespec
#define st_ctim st_ctimespec
#endif

namespace asdm {

namespace {

// Which nobody else will think of at the same time.
std::string temporaryName(const std::string& path) {
  static const char digits[] = "0123456789abcdef";
  std::random_device random;
  std::string name = path + ".";
  for (int i = 0; i < 16; i++) name += digits[random() % 16];
  return name + ".tmp";
}

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
  std::wstring wide;
  if (!widePath(path, &wide)) return failure(false, path, "the path is not UTF-8");
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
  FILE_BASIC_INFO about;
  if (GetFileInformationByHandleEx(handle, FileBasicInfo, &about, sizeof about)) {
    modified_ = static_cast<uint64_t>(about.LastWriteTime.QuadPart);
    changed_ = static_cast<uint64_t>(about.ChangeTime.QuadPart);
  }
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

bool NewFile::refused(const char* what) {
  if (why_.empty()) why_ = std::string(what) + " fails with Windows error " + std::to_string(GetLastError());
  return false;
}

NewFile::~NewFile() {
  if (handle_ == -1) return;
  CloseHandle(reinterpret_cast<HANDLE>(handle_));
  std::wstring wide;
  if (widePath(temporary_, &wide)) DeleteFileW(wide.c_str());
}

bool NewFile::create(const std::string& path) {
  path_ = path;
  temporary_ = temporaryName(path);
  std::wstring wide;
  if (!widePath(temporary_, &wide)) return refused("naming it");
  const HANDLE handle = CreateFileW(wide.c_str(), GENERIC_WRITE, 0, nullptr, CREATE_NEW, FILE_ATTRIBUTE_NORMAL, nullptr);
  if (handle == INVALID_HANDLE_VALUE) return refused("creating it");
  handle_ = reinterpret_cast<intptr_t>(handle);
  return true;
}

bool NewFile::write(uint64_t offset, const void* from, size_t count) {
  const char* at = static_cast<const char*>(from);
  while (count > 0) {
    OVERLAPPED position = {};
    position.Offset = static_cast<DWORD>(offset);
    position.OffsetHigh = static_cast<DWORD>(offset >> 32);
    DWORD put = 0;
    if (!WriteFile(reinterpret_cast<HANDLE>(handle_), at, static_cast<DWORD>(std::min(count, kMaxRead)), &put, &position) || put == 0)
      return refused("writing it");
    at += put;
    offset += put;
    count -= put;
  }
  return true;
}

bool NewFile::finish() {
  CloseHandle(reinterpret_cast<HANDLE>(handle_));
  handle_ = -1;
  std::wstring from, to, aside;
  if (!widePath(temporary_, &from) || !widePath(path_, &to) || !widePath(temporaryName(path_), &aside)) return refused("naming it");
  if (MoveFileExW(from.c_str(), to.c_str(), MOVEFILE_REPLACE_EXISTING)) return true;
  refused("renaming it");
  // A file that somebody reads may not be replaced, but renamed: then whoever uses it goes on, and it counts as left behind.
  const DWORD old = GetFileAttributesW(to.c_str());
  if (old != INVALID_FILE_ATTRIBUTES && (old & FILE_ATTRIBUTE_DIRECTORY) == 0 && MoveFileExW(to.c_str(), aside.c_str(), 0)) {
    if (MoveFileExW(from.c_str(), to.c_str(), 0)) {
      DeleteFileW(aside.c_str());
      return true;
    }
    MoveFileExW(aside.c_str(), to.c_str(), 0);
  }
  DeleteFileW(from.c_str());
  return false;
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
  const auto nanoseconds = [](const struct timespec& time) {
    return static_cast<uint64_t>(time.tv_sec) * 1000000000u + static_cast<uint64_t>(time.tv_nsec);
  };
  modified_ = nanoseconds(about.st_mtim);
  changed_ = nanoseconds(about.st_ctim);
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

bool NewFile::refused(const char* what) {
  if (why_.empty()) why_ = std::string(what) + " fails: " + std::strerror(errno);
  return false;
}

NewFile::~NewFile() {
  if (handle_ == -1) return;
  ::close(static_cast<int>(handle_));
  ::unlink(temporary_.c_str());
}

bool NewFile::create(const std::string& path) {
  path_ = path;
  temporary_ = temporaryName(path);
  handle_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  return handle_ >= 0 || refused("creating it");
}

bool NewFile::write(uint64_t offset, const void* from, size_t count) {
  const char* at = static_cast<const char*>(from);
  while (count > 0) {
    const ssize_t put = ::pwrite(static_cast<int>(handle_), at, std::min(count, kMaxRead), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return refused("writing it");
    at += put;
    offset += static_cast<uint64_t>(put);
    count -= static_cast<size_t>(put);
  }
  return true;
}

bool NewFile::finish() {
  const bool closed = ::close(static_cast<int>(handle_)) == 0;
  handle_ = -1;
  if (closed && ::rename(temporary_.c_str(), path_.c_str()) == 0) return true;
  refused("renaming it");
  ::unlink(temporary_.c_str());
  return false;
}

#endif

}  // namespace asdm
