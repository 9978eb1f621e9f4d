// What the CPU can do and the operating system has switched on.
#pragma once

#include <string>
#include <vector>

namespace asdm::cpu {

struct Features {
  bool avx2 = false;         // with FMA and F16C
  bool avx512 = false;       // F, BW, DQ, VL
  bool avx512bf16 = false;   // with VBMI, which one short line of CPUs with BF16 lacks (Cooper Lake)
  bool avx512vnni = false;
  bool avxvnni = false;
  bool amxBf16 = false, amxInt8 = false;
  bool neon = false;
  bool dotprod = false;
};

// Asks the CPU each time it is called (microseconds); the same answer every time. Where there are tile registers (AMX), asks the
// system for their use too.
Features detect();
// Names of the features that are set, for people: "avx2", "avx512", "avx512bf16", ...
std::vector<std::string> featureNames(const Features& features);
// The CPU's own name for itself, "" if it has none to give.
std::string brand();

}  // namespace asdm::cpu
