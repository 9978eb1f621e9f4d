// Places values of known lifetimes in one arena.
#pragma once

#include <cstdint>
#include <vector>

namespace asdm {

struct Lifetime {
  int first = 0, last = 0;  // steps, both included: written in the first, read until the last
  uint64_t bytes = 0;
  int takesOver = -1;       // the value whose memory this one continues, which dies where this one begins and is as large
};

struct Placement {
  std::vector<uint64_t> offsets;  // of each value, aligned
  uint64_t bytes = 0;             // of the arena
};

// Values that live at the same time do not overlap, unless one takes over the other. Largest first, each into the smallest gap
// that fits among those it lives beside (Pisarchyk & Lee 2020, "greedy by size").
Placement placeValues(const std::vector<Lifetime>& values, uint64_t alignment);

}  // namespace asdm
