#include "testing/tile_emulation.h"

#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>

namespace asdm::testing {

namespace {

constexpr int kTiles = 8, kRows = 16, kBytes = 64;

std::mutex watched;
std::atomic<const char*> firstFault{nullptr};
std::atomic<int> configuredThreads{0};

void fault(const char* what) {
  const char* none = nullptr;
  firstFault.compare_exchange_strong(none, what);
}

// Rounded to float from a double that holds a product of two bfloat16 numbers plus a float within twice float's precision and two bits, so
// that rounding twice is rounding once. Results below the smallest normal number become zero.
float flushed(double x) {
  const float rounded = static_cast<float>(x);
  return std::fabs(rounded) < std::numeric_limits<float>::min() ? std::copysign(0.0f, rounded) : rounded;
}

// A bfloat16 number; a subnormal one counts as zero.
double widened(uint16_t bits) {
  if ((bits & 0x7f80u) == 0) bits &= 0x8000u;
  const uint32_t word = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &word, sizeof value);
  return value;
}

}  // namespace

TileRegisters& TileRegisters::ofThisThread() {
  thread_local TileRegisters registers;
  return registers;
}

void TileRegisters::configure(const cpu::TileConfig& config) {
  if (config.palette > 1) return fault("LDTILECFG: a palette that is neither 0 nor 1");
  if (config.palette == 0) return release();
  for (const uint8_t byte : config.reserved)
    if (byte != 0) return fault("LDTILECFG: a reserved byte is not zero");
  for (int i = 0; i < 16; i++) {
    if (i >= kTiles && (config.rows[i] != 0 || config.rowBytes[i] != 0)) return fault("LDTILECFG: a tile beyond the eighth");
    if (config.rows[i] > kRows || config.rowBytes[i] > kBytes) return fault("LDTILECFG: a tile of more than 16 rows or 64 bytes");
    if ((config.rows[i] == 0) != (config.rowBytes[i] == 0)) return fault("LDTILECFG: rows without bytes, or bytes without rows");
  }
  for (int i = 0; i < kTiles; i++) {
    tiles_[i] = Tile{};
    tiles_[i].rows = config.rows[i];
    tiles_[i].bytes = config.rowBytes[i];
  }
  if (!configured_) configuredThreads++;
  configured_ = true;
}

void TileRegisters::release() {
  for (Tile& tile : tiles_) tile = Tile{};
  if (configured_) configuredThreads--;
  configured_ = false;
}

bool TileRegisters::usable(int tile, const char* instruction) {
  if (configured_ && tiles_[tile].rows > 0) return true;
  fault(instruction);
  return false;
}

void TileRegisters::zero(int tile) {
  if (usable(tile, "TILEZERO: a tile without a shape")) std::memset(tiles_[tile].data, 0, sizeof tiles_[tile].data);
}

void TileRegisters::load(int tile, const void* p, int64_t stride) {
  if (!usable(tile, "TILELOADD: a tile without a shape")) return;
  Tile& t = tiles_[tile];
  std::memset(t.data, 0, sizeof t.data);
  for (int row = 0; row < t.rows; row++) std::memcpy(t.data[row], static_cast<const char*>(p) + row * stride, static_cast<size_t>(t.bytes));
}

void TileRegisters::store(int tile, void* p, int64_t stride) {
  if (!usable(tile, "TILESTORED: a tile without a shape")) return;
  const Tile& t = tiles_[tile];
  for (int row = 0; row < t.rows; row++) std::memcpy(static_cast<char*>(p) + row * stride, t.data[row], static_cast<size_t>(t.bytes));
}

bool TileRegisters::multipliable(int sums, int left, int right, const char* instruction) {
  if (!usable(sums, instruction) || !usable(left, instruction) || !usable(right, instruction)) return false;
  const Tile &c = tiles_[sums], &a = tiles_[left], &b = tiles_[right];
  const bool apart = sums != left && sums != right && left != right;
  const bool whole = c.bytes % 4 == 0 && a.bytes % 4 == 0 && b.bytes % 4 == 0;
  if (apart && whole && c.rows == a.rows && c.bytes == b.bytes && a.bytes == 4 * b.rows) return true;
  fault(instruction);
  return false;
}

void TileRegisters::dotBf16(int sums, int left, int right) {
  if (!multipliable(sums, left, right, "TDPBF16PS: tiles whose shapes do not fit")) return;
  Tile& c = tiles_[sums];
  const Tile &a = tiles_[left], &b = tiles_[right];
  const int columns = c.bytes / 4;
  double evens[kRows][16], odds[kRows][16];
  for (int k = 0; k < b.rows; k++) {
    uint16_t row[32];
    std::memcpy(row, b.data[k], sizeof row);
    for (int n = 0; n < columns; n++) {
      evens[k][n] = widened(row[2 * n]);
      odds[k][n] = widened(row[2 * n + 1]);
    }
  }
  for (int m = 0; m < c.rows; m++) {
    uint16_t row[32];
    std::memcpy(row, a.data[m], sizeof row);
    // The even and the odd elements of k are summed apart, from zero, each product added in one rounding; then both, then to the sum.
    float even[16] = {}, odd[16] = {}, all[16];
    for (int k = 0; k < a.bytes / 4; k++) {
      const double x = widened(row[2 * k]), y = widened(row[2 * k + 1]);
      for (int n = 0; n < columns; n++) {
        even[n] = flushed(x * evens[k][n] + even[n]);
        odd[n] = flushed(y * odds[k][n] + odd[n]);
      }
    }
    std::memcpy(all, c.data[m], sizeof all);
    for (int n = 0; n < columns; n++) {
      const double before = std::fabs(all[n]) < std::numeric_limits<float>::min() ? 0.0 : static_cast<double>(all[n]);
      all[n] = flushed(before + flushed(static_cast<double>(even[n]) + odd[n]));
    }
    std::memcpy(c.data[m], all, static_cast<size_t>(c.bytes));
  }
}

void TileRegisters::dotBytes(int sums, int left, int right) {
  if (!multipliable(sums, left, right, "TDPBUSD: tiles whose shapes do not fit")) return;
  Tile& c = tiles_[sums];
  const Tile &a = tiles_[left], &b = tiles_[right];
  for (int m = 0; m < c.rows; m++) {
    uint32_t all[16];
    std::memcpy(all, c.data[m], sizeof all);
    for (int k = 0; k < a.bytes / 4; k++)
      for (int n = 0; n < c.bytes / 4; n++)
        for (int i = 0; i < 4; i++)
          all[n] += static_cast<uint32_t>(static_cast<int32_t>(a.data[m][4 * k + i]) * static_cast<int8_t>(b.data[k][4 * n + i]));
    std::memcpy(c.data[m], all, static_cast<size_t>(c.bytes));
  }
}

TileWatch::TileWatch(bool needed) {
  if (!needed) return;
  lock_ = std::unique_lock<std::mutex>(watched);
  firstFault = nullptr;
  configuredThreads = 0;
}

const char* TileWatch::fault() const {
  if (!lock_.owns_lock()) return nullptr;
  const char* first = firstFault;
  return first == nullptr && configuredThreads != 0 ? "a thread has left its tiles configured" : first;
}

}  // namespace asdm::testing
