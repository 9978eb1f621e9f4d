// A checksum of 64 bits, made for speed: it notices damage and mistakes, not attacks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

namespace asdm {

class Hash {
 public:
  void add(const void* data, size_t bytes) {
    const unsigned char* at = static_cast<const unsigned char*>(data);
    uint64_t lanes[kLanes];
    for (int i = 0; i < kLanes; i++) lanes[i] = state_ + static_cast<uint64_t>(i) * kMix;
    // Independent chains, so that a core does a word a cycle.
    size_t left = bytes;
    for (; left >= sizeof lanes; left -= sizeof lanes, at += sizeof lanes)
      for (int i = 0; i < kLanes; i++) lanes[i] = step(lanes[i], word(at + 8 * i));
    unsigned char rest[sizeof lanes] = {};
    if (left > 0) std::memcpy(rest, at, left);
    for (int i = 0; i < kLanes; i++) state_ = step(state_, step(lanes[i], word(rest + 8 * i)));
    state_ = step(state_, bytes);
  }
  void add(uint64_t number) { add(&number, sizeof number); }
  void add(const std::string& text) { add(text.data(), text.size()); }
  uint64_t value() const { return step(state_, 0); }

 private:
  static constexpr int kLanes = 8;
  static constexpr uint64_t kMix = 0x9e3779b97f4a7c15u;
  static uint64_t word(const unsigned char* at) {
    uint64_t w;
    std::memcpy(&w, at, sizeof w);
    return w;
  }
  // Bijective in either argument, so that no single change of a word is lost.
  static uint64_t step(uint64_t state, uint64_t w) {
    state = (state ^ w) * kMix;
    return state ^ state >> 29;
  }
  uint64_t state_ = kMix;
};

}  // namespace asdm
