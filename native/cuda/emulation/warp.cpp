// What a warp does together: shuffles, votes, ldmatrix and mma, with the fragment layouts of the PTX ISA 8.5 (sections 9.7.14.4, "Matrix
// multiply-accumulate operation using mma instruction", and 9.7.14.5.15, "ldmatrix").
#include <cstring>

#include "cuda/emulation/machine.h"

namespace asdm::cuda::emulation {

namespace {

constexpr int kLanes = 32;

float floatOf(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
uint32_t bitsOf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

}  // namespace

// Lane i gives the address of row i % 8 of matrix i / 8, of 8 rows of 16 bytes; it gets of each matrix the words i % 4 of row i / 4 or,
// transposed, the numbers (2 (i % 4), i / 4) and (2 (i % 4) + 1, i / 4).
void Machine::matrices(Lane* lanes, bool transposed) {
  uint16_t m[4][8][8];
  for (int i = 0; i < kLanes; i++) {
    current_ = &lanes[i];
    const uint32_t at = lanes[i].exchange.a[0];
    const unsigned char* const row = shared(at, 16);
    judge(sharedShadow_.read(at, 16, toucher()));
    std::memcpy(m[i / 8][i % 8], row, 16);
  }
  if (options.counts) {
    KernelCounts& count = counts.byKernel[launch_->name];
    std::vector<uint32_t> offsets;
    for (int i = 0; i < kLanes; i++) offsets.push_back(lanes[i].exchange.a[0]);
    count.sharedRequests++;
    count.sharedWavefronts += wavefronts(offsets, 16);
    count.sharedLeast += 4;
  }
  for (int i = 0; i < kLanes; i++)
    for (int k = 0; k < 4; k++) {
      const int row = i / 4, pair = 2 * (i % 4);
      const uint16_t low = transposed ? m[k][pair][row] : m[k][row][pair], high = transposed ? m[k][pair + 1][row] : m[k][row][pair + 1];
      lanes[i].exchange.d[k] = static_cast<uint32_t>(high) << 16 | low;
    }
}

void Machine::perform(int warp, Together what) {
  Lane* const lanes = &lanes_[static_cast<size_t>(warp * kLanes)];
  switch (what) {
    case Together::None: return;
    case Together::WarpSync: warpEpochs_[static_cast<size_t>(warp)]++; return;
    case Together::Shuffle:
      for (int i = 0; i < kLanes; i++) {
        Exchange& e = lanes[i].exchange;
        e.d[0] = lanes[e.from & (kLanes - 1)].exchange.a[0];
      }
      return;
    case Together::Any: {
      uint32_t all = 0;
      for (int i = 0; i < kLanes; i++) all |= lanes[i].exchange.a[0];
      for (int i = 0; i < kLanes; i++) lanes[i].exchange.d[0] = all;
      return;
    }
    case Together::LoadMatrix:
    case Together::LoadMatrixTransposed: matrices(lanes, what == Together::LoadMatrixTransposed); return;
    case Together::Mma: {
      // Products are exact; sums here in float, k ascending. A card's are of no published order and cut off some bits below float's last.
      float a[16][16], b[16][8], d[16][8];
      for (int i = 0; i < kLanes; i++) {
        const Exchange& e = lanes[i].exchange;
        const int row = i / 4, pair = 2 * (i % 4);
        for (int r = 0; r < 4; r++) {
          a[row + 8 * (r % 2)][pair + 8 * (r / 2)] = floatOf(e.a[r] << 16);
          a[row + 8 * (r % 2)][pair + 8 * (r / 2) + 1] = floatOf(e.a[r] & 0xffff0000u);
          d[row + 8 * (r / 2)][pair + r % 2] = floatOf(e.d[r]);
        }
        for (int r = 0; r < 2; r++) {
          b[pair + 8 * r][row] = floatOf(e.b[r] << 16);
          b[pair + 8 * r + 1][row] = floatOf(e.b[r] & 0xffff0000u);
        }
      }
      for (int i = 0; i < 16; i++)
        for (int k = 0; k < 16; k++)
          for (int j = 0; j < 8; j++) d[i][j] += a[i][k] * b[k][j];
      for (int i = 0; i < kLanes; i++)
        for (int r = 0; r < 4; r++) lanes[i].exchange.d[r] = bitsOf(d[i / 4 + 8 * (r / 2)][2 * (i % 4) + r % 2]);
      if (options.counts) counts.byKernel[launch_->name].mma++;
      return;
    }
    case Together::MmaBytes: {
      int32_t a[16][32], b[32][8], d[16][8];
      for (int i = 0; i < kLanes; i++) {
        const Exchange& e = lanes[i].exchange;
        const int row = i / 4, four = 4 * (i % 4);
        for (int r = 0; r < 4; r++) {
          for (int byte = 0; byte < 4; byte++) a[row + 8 * (r % 2)][four + 16 * (r / 2) + byte] = static_cast<uint8_t>(e.a[r] >> 8 * byte);
          d[row + 8 * (r / 2)][2 * (i % 4) + r % 2] = static_cast<int32_t>(e.d[r]);
        }
        for (int r = 0; r < 2; r++)
          for (int byte = 0; byte < 4; byte++) b[four + 16 * r + byte][row] = static_cast<int8_t>(e.b[r] >> 8 * byte);
      }
      for (int i = 0; i < 16; i++)
        for (int k = 0; k < 32; k++)
          for (int j = 0; j < 8; j++) d[i][j] += a[i][k] * b[k][j];
      for (int i = 0; i < kLanes; i++)
        for (int r = 0; r < 4; r++) lanes[i].exchange.d[r] = static_cast<uint32_t>(d[i / 4 + 8 * (r / 2)][2 * (i % 4) + r % 2]);
      if (options.counts) counts.byKernel[launch_->name].mmaBytes++;
      return;
    }
  }
}

}  // namespace asdm::cuda::emulation
