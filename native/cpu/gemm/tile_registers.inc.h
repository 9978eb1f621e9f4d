// Products in tile registers: up to 32 x 32 sums as 2 x 2 tiles. Include after the words for tile registers (vec/amx.h).
//
// The parts that the eight registers have:   4 left tiles' rows of 64 bytes of k   6, 7: right, [k / (numbers in 32 bits)][16 columns]
//     6 7
//   4 0 1      sum 2 i + j = left 4 + i times right 6 + j
//   5 2 3
// So each load of a tile serves two products, and four products are under way at a time. On Sapphire Rapids a product of whole tiles
// takes the unit 16 cycles, and 52 until its sums may be added to: four of them hide that. The four loads of a step are 64 cache lines
// for 64 cycles of products. The first-level cache gives two lines a cycle, the second about 0.7, which would not be enough for
// all four; so the right side of a k block is kept small enough for the first level (kKc in amx_tile.inc.h), where it stays for all tiles
// of a task, and left tiles come from the second by loads that ask to leave the first level's contents alone.
#pragma once

namespace asdm::cpu::ASDM_SET {

// A tile's rows, and its columns of 32 bits.
constexpr int kSide = 16;
constexpr int kTileBytes = kSide * 4;

// The tile registers of this thread while they have a shape: from the first shape() to the end of its scope, so that no other code of the
// thread meets them in use, and the system has nothing of them to save.
class TileState {
 public:
  TileState() = default;
  TileState(const TileState&) = delete;
  TileState& operator=(const TileState&) = delete;
  ~TileState() {
    if (rows_ != 0) trRelease();
  }
  // For sums of `rows` rows, 1 to 32, and steps of k of `lanes` times 32 bits, 1 to 16. Clears all registers if it changes something.
  ASDM_INLINE void shape(int rows, int lanes = kSide) {
    if (rows != rows_ || lanes != lanes_) change(rows, lanes);
  }

 private:
  ASDM_NOINLINE void change(int rows, int lanes) {
    TileConfig config;
    const auto set = [&](int tile, int height, int width) {
      config.rows[tile] = static_cast<uint8_t>(height);
      config.rowBytes[tile] = static_cast<uint16_t>(width * 4);
    };
    for (int i = 0; i < 2; i++) {
      const int height = rows - i * kSide < kSide ? rows - i * kSide : kSide;
      if (height <= 0) continue;
      set(2 * i, height, kSide);
      set(2 * i + 1, height, kSide);
      set(4 + i, height, lanes);
    }
    set(6, lanes, kSide);
    set(7, lanes, kSide);
    trConfigure(config);
    rows_ = rows;
    lanes_ = lanes;
  }

  int rows_ = 0, lanes_ = 0;
};

// Sums of I x J tiles at `p`, of row distance `stride` in bytes.
template <int I, int J>
ASDM_INLINE void zeroSums() {
  trZero<0>();
  if constexpr (J == 2) trZero<1>();
  if constexpr (I == 2) trZero<2>();
  if constexpr (I == 2 && J == 2) trZero<3>();
}
template <int I, int J>
ASDM_INLINE void loadSums(const void* p, int64_t stride) {
  const char* const at = static_cast<const char*>(p);
  trFence();
  trLoad<0>(at, stride);
  if constexpr (J == 2) trLoad<1>(at + kTileBytes, stride);
  if constexpr (I == 2) trLoad<2>(at + kSide * stride, stride);
  if constexpr (I == 2 && J == 2) trLoad<3>(at + kSide * stride + kTileBytes, stride);
}
template <int I, int J>
ASDM_INLINE void storeSums(void* p, int64_t stride) {
  char* const at = static_cast<char*>(p);
  trStore<0>(at, stride);
  if constexpr (J == 2) trStore<1>(at + kTileBytes, stride);
  if constexpr (I == 2) trStore<2>(at + kSide * stride, stride);
  if constexpr (I == 2 && J == 2) trStore<3>(at + kSide * stride + kTileBytes, stride);
  trFence();
}

// What is multiplied: pairs of bfloat16, or unsigned bytes on the left by signed ones on the right.
struct PairsOfBf16 {
  template <int C>
  static ASDM_INLINE void dot() {
    trDotBf16<C>();
  }
};
struct Bytes {
  template <int C>
  static ASDM_INLINE void dot() {
    trDotBytes<C>();
  }
};

// Adds `steps` steps of k to the sums: left rows lie leftStride bytes apart, a step's `leftStep` bytes behind the one before; right rows
// rightStride apart, a step's lanes of them, rightStep bytes in all. each(step) is called in between, to fetch ahead.
template <class Numbers, int I, int J, class Each>
ASDM_INLINE void multiplyTiles(const void* left, int64_t leftStride, int64_t leftStep, const void* right, int64_t rightStride,
                               int64_t rightStep, int64_t steps, const Each& each) {
  const char* a = static_cast<const char*>(left);
  const char* b = static_cast<const char*>(right);
  trFence();
  for (int64_t step = 0; step < steps; step++, a += leftStep, b += rightStep) {
    trLoad<6>(b, rightStride);
    trStream<4>(a, leftStride);
    Numbers::template dot<0>();
    if constexpr (J == 2) {
      trLoad<7>(b + kTileBytes, rightStride);
      Numbers::template dot<1>();
    }
    if constexpr (I == 2) {
      trStream<5>(a + kSide * leftStride, leftStride);
      Numbers::template dot<2>();
      if constexpr (J == 2) Numbers::template dot<3>();
    }
    each(step);
  }
}

// The rows of a tile's results, of the numbers to be added to them, of left rows and of weights that come later, fetched ahead a little with
// each of `steps` steps: a burst would fill the core's few miss slots and stall it. Hints may point anywhere.
struct Ahead {
  const char* out;
  int64_t outStride;
  const char* added;
  int64_t addedStride;
  int64_t rows;
  // Weights of the next panel: the tiles of a task share the fetching, into the second level.
  const char* later;
  int64_t lines;  // with one step

  static ASDM_INLINE Ahead of(const void* nextPanel, int64_t panelBytes, int64_t steps, int place, int places) {
    Ahead ahead{};
    const int64_t lines = panelBytes / 64, share = (lines + places - 1) / places;
    ahead.later = static_cast<const char*>(nextPanel) + place * share * 64;
    ahead.lines = (share + steps - 1) / steps;
    return ahead;
  }
  ASDM_INLINE void fetch(int64_t step) const {
    for (int64_t i = 0; i < lines; i++) ASDM_PREFETCH_L2(later + (step * lines + i) * 64);
    for (int64_t row = 2 * step; row < 2 * step + 2 && row < rows; row++) {
      ASDM_PREFETCH(out + row * outStride);
      ASDM_PREFETCH(added + row * addedStride);
    }
  }
};

}  // namespace asdm::cpu::ASDM_SET
