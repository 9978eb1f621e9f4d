// What asdm needs of Windows beyond the header itself; for that system's branches only.
#pragma once

#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>

#include <string>
#include <utility>

namespace asdm {

// A path for the functions that end in W. False where it is not UTF-8, or holds a zero. Those functions take no more than some 250
// characters, except where a path is absolute and begins with \\?\; so longer ones are made such.
inline bool widePath(const std::string& path, std::wstring* wide) {
  constexpr size_t kMaxBytes = 3 * 32767;  // of the longest path there can be
  if (path.empty() || path.size() > kMaxBytes || path.find('\0') != std::string::npos) return false;
  const int bytes = static_cast<int>(path.size());
  const int length = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path.data(), bytes, nullptr, 0);
  if (length <= 0) return false;
  wide->assign(static_cast<size_t>(length), L'\0');
  MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path.data(), bytes, &(*wide)[0], length);
  const auto begins = [&](const wchar_t* with) { return wide->rfind(with, 0) == 0; };
  constexpr size_t kAlwaysTaken = 240;
  if (wide->size() <= kAlwaysTaken || begins(L"\\\\?\\") || begins(L"\\\\.\\")) return true;
  std::wstring whole(GetFullPathNameW(wide->c_str(), 0, nullptr, nullptr), L'\0');
  const DWORD written = GetFullPathNameW(wide->c_str(), static_cast<DWORD>(whole.size()), &whole[0], nullptr);
  if (written == 0 || written >= whole.size()) return true;  // refused with its own error when it is used
  whole.resize(written);
  *wide = std::move(whole);
  if (begins(L"\\\\?\\") || begins(L"\\\\.\\")) return true;
  *wide = begins(L"\\\\") ? L"\\\\?\\UNC\\" + wide->substr(2) : L"\\\\?\\" + *wide;
  return true;
}

}  // namespace asdm
