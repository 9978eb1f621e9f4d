#include "core/library.h"

#ifdef _WIN32
#include "core/win32.h"
#else
#include <dlfcn.h>
#endif

namespace asdm {

#ifdef _WIN32

void* libraryFunction(const std::string& path, const char* name, std::string* why) {
  std::wstring wide;
  const HMODULE library = widePath(path, &wide) ? LoadLibraryExW(wide.c_str(), nullptr, LOAD_WITH_ALTERED_SEARCH_PATH) : nullptr;
  if (library == nullptr) {
    *why = "the system refuses to load it (error " + std::to_string(GetLastError()) + ")";
    return nullptr;
  }
  void* const function = reinterpret_cast<void*>(GetProcAddress(library, name));
  if (function == nullptr) *why = std::string("it has no ") + name;
  return function;
}

#else

void* libraryFunction(const std::string& path, const char* name, std::string* why) {
  void* const library = path.find('\0') == std::string::npos ? dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL) : nullptr;
  if (library == nullptr) {
    const char* const error = dlerror();
    *why = error != nullptr ? error : "its path holds a zero";
    return nullptr;
  }
  void* const function = dlsym(library, name);
  if (function == nullptr) *why = std::string("it has no ") + name;
  return function;
}

#endif

}  // namespace asdm
