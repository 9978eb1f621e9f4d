// y = left . weight^T on the tensor cores: m16n8k16 of bfloat16, m16n8k32 of bytes. sm_80 and later.
//
// A block computes a tile of Tile::kRows x Tile::kColumns sums. Both sides come through shared memory in steps of 64 bytes of k (32
// bfloat16, 64 bytes), kStages deep, by cp.async; a step's row of 64 bytes holds four chunks of 16, chunk c of row r at place
// c ^ (r / 2 % 4), so that eight rows' chunks, which one phase of ldmatrix reads, lie in different banks. Sums leave through shared
// memory, so that four neighbours of a row are finished and stored by one thread, and a warp stores whole lines.
//
// Order of sums: k ascending in segments of kSegmentSteps steps, each summed from zero, the segments' sums added in order. Where the
// grid would be too small, segments become blocks of their own (grid.y) and leave their sums in `partial`, which reduce.h adds in the
// same order. So an element's bits depend on its row of the left side and its weights alone, however large the batch.
//
// Weights: rows of rowBytes (k rounded up to 64 bytes, zeros behind k). kVector: 16 bytes of the left side lie in one pixel and are
// aligned, else it is gathered number by number. kMixed: weights are a mixture of experts, rebuilt for each sample (grid.z) as they
// are read: summed in float, ascending, rounded once.
#pragma once

#include "cuda/kernels/epilogue.h"
#include "cuda/kernels/left.h"

namespace asdm::cuda {

constexpr int kStepBytes = 64;
constexpr int kSegmentSteps = 40;  // 1280 numbers of bfloat16: SD's layers of one tap are one segment

struct LargeTile {
  static constexpr int kRows = 128, kColumns = 128, kWarpsDown = 2, kWarpsAcross = 4, kStages = 4;
};
struct SmallTile {
  static constexpr int kRows = 64, kColumns = 64, kWarpsDown = 2, kWarpsAcross = 2, kStages = 4;
};

struct HalfNumber {
  using Sum = float;
  static constexpr int kBytes = 2;
  static ASDM_DEVICE void multiply(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) { mma(d, a, b0, b1); }
};
struct ByteNumber {
  using Sum = int32_t;
  static constexpr int kBytes = 1;
  static ASDM_DEVICE void multiply(int32_t (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) { mmaBytes(d, a, b0, b1); }
};

// What is the same for all kernels of products.
template <class E, class Sum>
struct ProductParams {
  Left left;
  const unsigned char* weight;
  int64_t rowBytes;
  int steps, splits;       // splits: segments with blocks of their own, or 1
  int rowTiles, columnTiles;
  int64_t blockRows;       // rows that share weights: all, or a sample's
  Sum* partial;            // [splits][rows][partialWidth], where splits > 1
  int64_t partialWidth;
  int experts;             // of a mixture
  int64_t expertBytes;
  const float* rates;      // [samples, experts]
  Epilogue<E> e;
};

// Row of the weights behind a tile's column: values and their gates stand side by side in a gated tile.
template <class E>
ASDM_DEVICE int64_t featureOf(const Epilogue<E>& e, int columns, int64_t tile, int column) {
  if (!e.gated) return tile * columns + column;
  const int half = columns / 2;
  return tile * half + (column < half ? column : e.n / 2 + column - half);
}

// The tile's sums, [rows][columns] at a distance of `ld` words in shared memory, out of it.
template <int kRows, int kColumns, int kThreads, class E, class Sum>
ASDM_DEVICE void finishTile(const ProductParams<E, Sum>& p, int64_t firstRow, int64_t endRow, int64_t tile, int segment, uint32_t ld) {
  const auto sumsAt = [&](int row, int column, Sum(&v)[4]) {
    const Words4 words = sharedLoad<Words4>(static_cast<uint32_t>(row) * ld * 4 + static_cast<uint32_t>(column) * 4);
    ASDM_UNROLL
    for (int i = 0; i < 4; i++) v[i] = bitsAs<Sum>(words.w[i]);
  };
  const bool split = p.splits > 1;
  const int width = p.e.gated && !split ? kColumns / 2 : kColumns, quads = width / 4;
  for (int at = thread(); at < kRows * quads; at += kThreads) {
    const int r = at / quads, c = (at - r * quads) * 4;
    const int64_t row = firstRow + r;
    if (row >= endRow) break;
    Sum sums[4], gates[4];
    sumsAt(r, c, sums);
    if (split) {
      const int64_t feature = featureOf(p.e, kColumns, tile, c);
      if (feature >= p.e.n) continue;  // partialWidth is a multiple of 4: the quad fits
      Words4 words;
      ASDM_UNROLL
      for (int i = 0; i < 4; i++) words.w[i] = bitsAs<uint32_t>(sums[i]);
      store(reinterpret_cast<Words4*>(p.partial + (static_cast<int64_t>(segment) * p.left.rows + row) * p.partialWidth + feature), words);
      continue;
    }
    if (p.e.gated) sumsAt(r, c + kColumns / 2, gates);
    const int64_t column = tile * width + c, end = p.e.gated ? p.e.n / 2 : p.e.n;
    if (column < end) finishFour(p.e, row, column, static_cast<int>(smaller(4, end - column)), sums, gates);
  }
}

template <class E, class Number, class Tile, bool kVector, bool kLong, bool kMixed>
struct ProductMma {
  using Sum = typename Number::Sum;
  using Params = ProductParams<E, Sum>;
  static constexpr const char* kName = Number::kBytes == 1 ? (Tile::kRows == 128 ? "product_bytes_128" : "product_bytes_64")
                                       : kMixed            ? (Tile::kRows == 128 ? "product_mixed_128" : "product_mixed_64")
                                       : kLong             ? (Tile::kRows == 128 ? "product_long_128" : "product_long_64")
                                                           : (Tile::kRows == 128 ? "product_128" : "product_64");
  static constexpr int kThreads = 32 * Tile::kWarpsDown * Tile::kWarpsAcross;
  static constexpr int kBlocks = Tile::kRows == 128 ? 1 : 3;
  static constexpr int kStages = Tile::kStages;
  static constexpr int kWarpRows = Tile::kRows / Tile::kWarpsDown, kWarpColumns = Tile::kColumns / Tile::kWarpsAcross;
  static constexpr int kTilesDown = kWarpRows / 16, kTilesAcross = kWarpColumns / 8;
  static constexpr int kLoadsLeft = Tile::kRows * 4 / kThreads, kLoadsRight = Tile::kColumns * 4 / kThreads;
  static constexpr uint32_t kRightAt = Tile::kRows * kStepBytes, kStageBytes = (Tile::kRows + Tile::kColumns) * kStepBytes;
  static constexpr uint32_t kSumsLd = Tile::kColumns + 8;  // 8 words more: the rows of a phase of stores lie in different banks
  static constexpr uint32_t kSumsBytes = Tile::kRows * kSumsLd * 4;
  static constexpr uint32_t kSharedBytes = kStages * kStageBytes > kSumsBytes ? kStages* kStageBytes : kSumsBytes;
  static constexpr int kChunk = 16 / Number::kBytes;       // numbers of 16 bytes
  static constexpr int kStep = kStepBytes / Number::kBytes;  // numbers of a step

  static ASDM_DEVICE uint32_t place(int row, int chunk) {
    return static_cast<uint32_t>(row * kStepBytes + ((chunk ^ (row >> 1)) & 3) * 16);
  }

  // A thread's share of the loads: chunk thread() % 4 of every (kThreads / 4)-th row.
  struct Loader {
    LeftRow rows[kLoadsLeft];
    int64_t pixels[kLoadsLeft];
    uint32_t zeros[kLoadsLeft];  // of bytes: four codes of 0
    const unsigned char* right[kLoadsRight];
    bool rightValid[kLoadsRight];
    int tap, channel;

    ASDM_DEVICE void begin(const Params& p, int64_t firstRow, int64_t endRow, int64_t tile, int step) {
      const int chunk = thread() % 4, k = step * kStep + chunk * kChunk;
      tap = k / p.left.channels;
      channel = k - tap * p.left.channels;
      ASDM_UNROLL
      for (int i = 0; i < kLoadsLeft; i++) {
        const int64_t row = firstRow + thread() / 4 + i * (kThreads / 4);
        rows[i] = leftRow(p.left, row < endRow ? row : p.left.rows);
        zeros[i] = 0;
        if constexpr (Number::kBytes == 1) {
          if (rows[i].valid && !p.e.quantPerRow)
            zeros[i] = static_cast<uint32_t>(load(&p.e.quants[row / p.e.sampleRows].zero)) * 0x01010101u;
        }
      }
      ASDM_UNROLL
      for (int i = 0; i < kLoadsRight; i++) {
        const int64_t feature = featureOf(p.e, Tile::kColumns, tile, thread() / 4 + i * (kThreads / 4));
        rightValid[i] = feature < p.e.n;
        right[i] = p.weight + (rightValid[i] ? feature : 0) * p.rowBytes + step * kStepBytes + chunk * 16;
      }
      find(p);
    }
    ASDM_DEVICE void find(const Params& p) {
      ASDM_UNROLL
      for (int i = 0; i < kLoadsLeft; i++) pixels[i] = leftPixel(p.left, rows[i], tap);
    }
    ASDM_DEVICE void fetch(const Params& p, uint32_t stage) {
      const int chunk = thread() % 4;
      ASDM_UNROLL
      for (int i = 0; i < kLoadsLeft; i++) {
        const uint32_t at = stage + place(thread() / 4 + i * (kThreads / 4), chunk);
        if constexpr (kVector) {
          if (Number::kBytes == 1 && pixels[i] < 0) sharedStore(at, Words4{{zeros[i], zeros[i], zeros[i], zeros[i]}});
          else copyAsync(at, p.left.x + (pixels[i] + channel) * Number::kBytes, pixels[i] >= 0);
        } else {
          sharedStore(at, gather(p, i));
        }
      }
      ASDM_UNROLL
      for (int i = 0; i < kLoadsRight; i++) {
        const uint32_t at = stage + kRightAt + place(thread() / 4 + i * (kThreads / 4), chunk);
        if constexpr (kMixed) sharedStore(at, rightValid[i] ? mixed(p, right[i]) : Words4{{0, 0, 0, 0}});
        else copyAsync(at, right[i], rightValid[i]);
        right[i] += kStepBytes;
      }
      channel += kStep;
      if (channel >= p.left.channels) {
        const int taps = channel / p.left.channels;
        tap += taps;
        channel -= taps * p.left.channels;
        find(p);
      }
    }
    // A chunk number by number, which may be of several taps.
    ASDM_DEVICE Words4 gather(const Params& p, int i) const {
      Words4 words{{0, 0, 0, 0}};
      int64_t pixel = pixels[i];
      int t = tap, c = channel;
      for (int at = 0; at < kChunk; at++) {
        uint32_t bits = Number::kBytes == 1 ? zeros[i] & 0xff : 0;
        if (pixel >= 0) {
          const unsigned char* const from = p.left.x + (pixel + c) * Number::kBytes;
          if constexpr (Number::kBytes == 1) bits = load(from);
          else bits = load(reinterpret_cast<const uint16_t*>(from));
        }
        constexpr int kPerWord = 4 / Number::kBytes;
        const uint32_t shifted = bits << (8 * Number::kBytes * (at % kPerWord));
        ASDM_UNROLL
        for (int w = 0; w < 4; w++)
          if (w == at / kPerWord) words.w[w] |= shifted;
        if (++c == p.left.channels) {
          c = 0;
          pixel = leftPixel(p.left, rows[i], ++t);
        }
      }
      return words;
    }
    static ASDM_DEVICE Words4 mixed(const Params& p, const unsigned char* from) {
      float sum[8];
      bool begun = false;
      ASDM_UNROLL
      for (int i = 0; i < 8; i++) sum[i] = 0;
      for (int k = 0; k < p.experts; k++) {
        const float rate = load(p.rates + static_cast<int64_t>(block().z) * p.experts + k);
        if (rate == 0.0f) continue;
        const Words4 words = load(reinterpret_cast<const Words4*>(from + k * p.expertBytes));
        ASDM_UNROLL
        for (int i = 0; i < 8; i++) {
          const float value = bitsAs<float>(i % 2 == 0 ? words.w[i / 2] << 16 : words.w[i / 2] & 0xffff0000u);
          sum[i] = begun ? fmaf(rate, value, sum[i]) : rate * value;
        }
        begun = true;
      }
      Words4 words;
      ASDM_UNROLL
      for (int i = 0; i < 4; i++) words.w[i] = packedPair(sum[2 * i], sum[2 * i + 1]);
      return words;
    }
  };

  static ASDM_DEVICE void multiplyStep(uint32_t stage, Sum (&sums)[kTilesDown][kTilesAcross][4]) {
    const int down = warp() / Tile::kWarpsAcross * kWarpRows, across = warp() % Tile::kWarpsAcross * kWarpColumns;
    ASDM_UNROLL
    for (int half = 0; half < 2; half++) {
      uint32_t b[kTilesAcross][2];
      ASDM_UNROLL
      for (int j = 0; j < kTilesAcross; j += 2) {
        uint32_t r[4];
        loadMatrix(r, stage + kRightAt + place(across + 8 * j + lane() / 16 * 8 + lane() % 8, 2 * half + lane() / 8 % 2));
        b[j][0] = r[0];
        b[j][1] = r[1];
        b[j + 1][0] = r[2];
        b[j + 1][1] = r[3];
      }
      ASDM_UNROLL
      for (int i = 0; i < kTilesDown; i++) {
        uint32_t a[4];
        loadMatrix(a, stage + place(down + 16 * i + lane() % 16, 2 * half + lane() / 16));
        ASDM_UNROLL
        for (int j = 0; j < kTilesAcross; j++) Number::multiply(sums[i][j], a, b[j][0], b[j][1]);
      }
    }
  }

  static ASDM_DEVICE void run(const Params& p) {
    const int rowTile = block().x % p.rowTiles, tile = block().x / p.rowTiles, segment = block().y;
    const int64_t sampleRow = block().z * p.blockRows, firstRow = sampleRow + static_cast<int64_t>(rowTile) * Tile::kRows;
    const int64_t endRow = smaller(sampleRow + p.blockRows, p.left.rows);
    const int first = segment * kSegmentSteps, end = p.splits > 1 ? static_cast<int>(smaller(first + kSegmentSteps, p.steps)) : p.steps;

    Sum sums[kTilesDown][kTilesAcross][4], total[kLong ? kTilesDown : 1][kTilesAcross][4];
    ASDM_UNROLL
    for (int i = 0; i < kTilesDown; i++) ASDM_UNROLL
    for (int j = 0; j < kTilesAcross; j++) ASDM_UNROLL
    for (int r = 0; r < 4; r++) sums[i][j][r] = 0;

    Loader loader;
    loader.begin(p, firstRow, endRow, tile, first);
    ASDM_UNROLL
    for (int s = 0; s < kStages - 1; s++) {
      if (first + s < end) loader.fetch(p, static_cast<uint32_t>(s) * kStageBytes);
      copyCommit();
    }
    int stage = 0;
    for (int step = first; step < end; step++) {
      copyWait<kStages - 2>();
      barrier();  // the step's numbers are there, and the stage before is free
      const int free = stage == 0 ? kStages - 1 : stage - 1;
      if (step + kStages - 1 < end) loader.fetch(p, static_cast<uint32_t>(free) * kStageBytes);
      copyCommit();
      if constexpr (kLong) {
        if (step != first && step % kSegmentSteps == 0) {
          ASDM_UNROLL
          for (int i = 0; i < kTilesDown; i++) ASDM_UNROLL
          for (int j = 0; j < kTilesAcross; j++) ASDM_UNROLL
          for (int r = 0; r < 4; r++) {
            total[i][j][r] = step == first + kSegmentSteps ? sums[i][j][r] : total[i][j][r] + sums[i][j][r];
            sums[i][j][r] = 0;
          }
        }
      }
      multiplyStep(static_cast<uint32_t>(stage) * kStageBytes, sums);
      stage = stage == kStages - 1 ? 0 : stage + 1;
    }
    copyWait<0>();
    barrier();

    const int down = warp() / Tile::kWarpsAcross * kWarpRows + lane() / 4;
    const int across = warp() % Tile::kWarpsAcross * kWarpColumns + lane() % 4 * 2;
    ASDM_UNROLL
    for (int i = 0; i < kTilesDown; i++) ASDM_UNROLL
    for (int j = 0; j < kTilesAcross; j++) {
      if constexpr (kLong) {
        if (end - first > kSegmentSteps) {
          ASDM_UNROLL
          for (int r = 0; r < 4; r++) sums[i][j][r] = total[i][j][r] + sums[i][j][r];
        }
      }
      ASDM_UNROLL
      for (int half = 0; half < 2; half++) {
        const uint32_t at = (static_cast<uint32_t>(down + 16 * i + 8 * half) * kSumsLd + static_cast<uint32_t>(across + 8 * j)) * 4;
        sharedStore(at, Words2{{bitsAs<uint32_t>(sums[i][j][2 * half]), bitsAs<uint32_t>(sums[i][j][2 * half + 1])}});
      }
    }
    barrier();
    finishTile<Tile::kRows, Tile::kColumns, kThreads>(p, firstRow, endRow, tile, segment, kSumsLd);
  }
};

}  // namespace asdm::cuda
