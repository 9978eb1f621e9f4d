// What is asked of loading weights, and what came of it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "weights/stored.h"

namespace asdm {

// Numbers in a file.
struct StoredNumbers {
  std::string file;            // UTF-8
  StoredType dtype = StoredType::F32;
  uint64_t begin = 0, end = 0;  // bytes in the file
};

// What a LoRA adds to a weight: scale times up [rows of the weight, rank] times down [rank, numbers of a row].
struct WeightProduct {
  StoredNumbers up, down;
  int64_t rank = 0;
  double scale = 0;
};

struct WeightSource {
  std::string name;
  std::string file;            // UTF-8
  StoredType dtype = StoredType::F32;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;  // bytes in the file
  std::vector<WeightProduct> products;  // added in float, one after the other, before anything is rounded or quantised
};

// What became of a packed cache: it was read; there was none, or one that did not fit, and now there is one; it could not be written.
enum class CacheOutcome { Off, Used, Written, Replaced, Unwritten };

struct LoadResult {
  std::vector<std::string> nonFinite;
  uint64_t weightBytes = 0;
  CacheOutcome cache = CacheOutcome::Off;
  std::string cacheNote;  // what was wrong with the one that was replaced, or why none was written
};

// Told of bytes read.
using LoadProgress = std::function<void(uint64_t done, uint64_t total)>;

}  // namespace asdm
