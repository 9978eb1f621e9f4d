// Sizes of attention in tile registers. Include with ASDM_SET defined.
#pragma once

namespace asdm::cpu::ASDM_SET {

constexpr int kKeyTile = 32, kValueTile = 16, kMaxVectors = 2;
constexpr int64_t kCoreMacs = 150'000'000;  // per ms, with the weights between the products

}  // namespace asdm::cpu::ASDM_SET
