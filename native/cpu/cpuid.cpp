#include "cpu/cpuid.h"

#include <cstdint>
#include <cstring>

#include "cpu/target.h"

#if defined(ASDM_X86)
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(ASDM_ARM64)
#if defined(__linux__)
#include <sys/auxv.h>
#elif defined(_WIN32)
#include "core/win32.h"
#endif
#endif

namespace asdm::cpu {

#if defined(ASDM_X86)
namespace {

struct Registers {
  uint32_t a = 0, b = 0, c = 0, d = 0;
};

Registers query(uint32_t leaf, uint32_t subleaf) {
  Registers r;
#if defined(_MSC_VER)
  int out[4];
  __cpuidex(out, static_cast<int>(leaf), static_cast<int>(subleaf));
  r.a = static_cast<uint32_t>(out[0]);
  r.b = static_cast<uint32_t>(out[1]);
  r.c = static_cast<uint32_t>(out[2]);
  r.d = static_cast<uint32_t>(out[3]);
#else
  __cpuid_count(leaf, subleaf, r.a, r.b, r.c, r.d);
#endif
  return r;
}

// Extended control register 0: which register files the operating system saves on a context switch. Without its bit a set is
// there in the CPU but unusable.
uint64_t enabledState() {
#if defined(_MSC_VER)
  return _xgetbv(0);
#else
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
#endif
}

// Linux gives a process the tile registers' eight kilobytes of state when it asks for them, from kernel 5.16 on; asking twice is asking
// once. Windows gives them unasked. A sandbox may refuse, or a thread with too small a stack for signals stand in the way.
bool mayUseTiles() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return true;
#endif
}

bool bit(uint32_t value, int index) { return (value >> index & 1u) != 0; }

}  // namespace

Features detect() {
  Features f;
  const uint32_t maxLeaf = query(0, 0).a;
  if (maxLeaf < 7) return f;
  const Registers l1 = query(1, 0), l7 = query(7, 0);
  const Registers l71 = l7.a >= 1 ? query(7, 1) : Registers{};
  if (!bit(l1.c, 27)) return f;  // OSXSAVE: xgetbv may be asked
  const uint64_t state = enabledState();
  const bool ymm = (state & 0x6) == 0x6, zmm = (state & 0xe6) == 0xe6, tiles = (state & 0x60000) == 0x60000;
  f.avx2 = ymm && bit(l1.c, 28) && bit(l1.c, 12) && bit(l1.c, 29) && bit(l7.b, 5);
  f.avx512 = f.avx2 && zmm && bit(l7.b, 16) && bit(l7.b, 17) && bit(l7.b, 30) && bit(l7.b, 31);
  f.avx512bf16 = f.avx512 && bit(l71.a, 5) && bit(l7.c, 1);
  f.avx512vnni = f.avx512 && bit(l7.c, 11);
  f.avxvnni = f.avx2 && bit(l71.a, 4);
  if (tiles && bit(l7.d, 24) && (bit(l7.d, 22) || bit(l7.d, 25)) && mayUseTiles()) {
    f.amxBf16 = bit(l7.d, 22);
    f.amxInt8 = bit(l7.d, 25);
  }
  return f;
}

std::string brand() {
  if (query(0x80000000u, 0).a < 0x80000004u) return "";
  char name[49] = {};
  for (uint32_t i = 0; i < 3; i++) {
    const Registers r = query(0x80000002u + i, 0);
    std::memcpy(name + 16 * i, &r.a, 4);
    std::memcpy(name + 16 * i + 4, &r.b, 4);
    std::memcpy(name + 16 * i + 8, &r.c, 4);
    std::memcpy(name + 16 * i + 12, &r.d, 4);
  }
  std::string text(name);
  const size_t first = text.find_first_not_of(' ');
  const size_t last = text.find_last_not_of(' ');
  return first == std::string::npos ? "" : text.substr(first, last - first + 1);
}

#else

#if defined(ASDM_ARM64)
namespace {

// Instructions for dot products of bytes, which came with ARMv8.2 and are there from ARMv8.4 on.
bool hasDotprod() {
#if defined(__ARM_FEATURE_DOTPROD)
  return true;  // the whole binary was compiled for it
#elif defined(__linux__)
  return (getauxval(AT_HWCAP) >> 20 & 1u) != 0;  // HWCAP_ASIMDDP
#elif defined(_WIN32)
  return IsProcessorFeaturePresent(43) != 0;  // PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE
#elif defined(__APPLE__)
  return true;  // every CPU that Apple put into a Mac has it
#else
  return false;
#endif
}

}  // namespace
#endif

Features detect() {
  Features f;
#if defined(ASDM_ARM64)
  f.neon = true;  // part of AArch64
  f.dotprod = hasDotprod();
#endif
  return f;
}

std::string brand() { return ""; }

#endif

std::vector<std::string> featureNames(const Features& f) {
  std::vector<std::string> names;
  const struct {
    bool on;
    const char* name;
  } all[] = {{f.avx2, "avx2"},       {f.avx512, "avx512"},    {f.avx512bf16, "avx512bf16"}, {f.avx512vnni, "avx512vnni"},
             {f.avxvnni, "avxvnni"}, {f.amxBf16, "amx-bf16"}, {f.amxInt8, "amx-int8"},      {f.neon, "neon"},
             {f.dotprod, "dotprod"}};
  for (const auto& entry : all)
    if (entry.on) names.push_back(entry.name);
  return names;
}

}  // namespace asdm::cpu
