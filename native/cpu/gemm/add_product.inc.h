// A product of low rank that is added to rows of a weight before they are packed: AddProductArgs. Products of floats are exact in double, so
// fused and separate operations round alike.
#pragma once

namespace asdm::cpu::ASDM_SET {

// Columns, rows and inner numbers that are multiplied at once, out of the first-level cache.
constexpr int64_t kAddColumns = 16, kAddRows = 64, kAddDepth = 128;

// sums[r][c] += up[r][k] * block[k][c] for some rows.
template <int kLines>
ASDM_INLINE void addDepth(const float* up, int64_t rank, int64_t depth, const double* block, double* sums) {
  constexpr int kVectors = static_cast<int>(kAddColumns) / kVd;
  vd own[kLines][kVectors];
  for (int r = 0; r < kLines; r++)
    for (int i = 0; i < kVectors; i++) own[r][i] = vdload(sums + r * kAddColumns + i * kVd);
  for (int64_t k = 0; k < depth; k++, block += kAddColumns)
    for (int r = 0; r < kLines; r++) {
      const vd factor = vdset(static_cast<double>(up[r * rank + k]));
      for (int i = 0; i < kVectors; i++) own[r][i] = vdfma(factor, vdload(block + i * kVd), own[r][i]);
    }
  for (int r = 0; r < kLines; r++)
    for (int i = 0; i < kVectors; i++) vdstore(sums + r * kAddColumns + i * kVd, own[r][i]);
}

ASDM_INLINE void addProductTo(const AddProductArgs& a) {
  for (int64_t c0 = 0; c0 < a.columns; c0 += kAddColumns) {
    const int64_t columns = smaller(kAddColumns, a.columns - c0);
    for (int64_t r0 = 0; r0 < a.rows; r0 += kAddRows) {
      const int64_t rows = smaller(kAddRows, a.rows - r0);
      double sums[kAddRows * kAddColumns] = {};
      for (int64_t k0 = 0; k0 < a.rank; k0 += kAddDepth) {
        const int64_t depth = smaller(kAddDepth, a.rank - k0);
        double block[kAddDepth * kAddColumns] = {};
        for (int64_t k = 0; k < depth; k++)
          for (int64_t c = 0; c < columns; c++) block[k * kAddColumns + c] = static_cast<double>(a.down[(k0 + k) * a.columns + c0 + c]);
        const float* const up = a.up + r0 * a.rank + k0;
        int64_t r = 0;
        for (; r + 2 <= rows; r += 2) addDepth<2>(up + r * a.rank, a.rank, depth, block, sums + r * kAddColumns);
        if (r < rows) addDepth<1>(up + r * a.rank, a.rank, depth, block, sums + r * kAddColumns);
      }
      for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++) {
          float& to = a.to[(r0 + r) * a.columns + c0 + c];
          to += static_cast<float>(a.scale * static_cast<double>(static_cast<float>(sums[r * kAddColumns + c])));
        }
    }
  }
}

}  // namespace asdm::cpu::ASDM_SET
