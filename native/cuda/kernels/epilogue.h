// What becomes of a product's sums: bias, row bias, activation, residual and its low part one by one in float, one rounding, and what
// that took; contracts at LinearArgs and ConvArgs in backend/arguments.h.
#pragma once

#include "cuda/kernels/numbers.h"

namespace asdm::cuda {

// Of bytes' activations: x = scale * (u - zero).
struct Quant {
  float scale;
  float inverse;  // 0 where all u are 0
  int32_t zero;
};

template <class E>
struct Epilogue {
  const float* bias;
  int64_t ldBias;  // between samples: of mixtures; 0: one bias for all
  const E* rowBias;
  int64_t ldRowBias;
  int64_t sampleRows;  // rows of y that share a row bias
  Activation activation;
  const E* residual;
  int64_t ldr;
  const E* residualLow;
  E* y;
  int64_t ldy;
  E* yLow;
  int64_t n;  // output features: of the weights
  bool gated;
  bool whole;  // quads of everything may be moved at once
  // Of bytes: y = float(sum - zero * weightSum) * weightScale * scale.
  const float* scales;
  const int32_t* weightSums;
  const Quant* quants;  // of each row, or each sample
  bool quantPerRow;
};

// A word of a sum as the number that it stands for.
template <class E>
ASDM_DEVICE float sumValue(const Epilogue<E>&, float sum, int64_t, int64_t) {
  return sum;
}
template <class E>
ASDM_DEVICE float sumValue(const Epilogue<E>& e, int32_t sum, int64_t row, int64_t column) {
  const Quant* const q = e.quants + (e.quantPerRow ? row : quotient(row, e.sampleRows));
  const int32_t exact = sum - load(&q->zero) * load(e.weightSums + column);
  return static_cast<float>(exact) * load(e.scales + column) * load(&q->scale);
}

// Four sums of a row from a column of y on, of which `count` exist. Gates: the sums of those, or unused.
template <class E, class Sum>
ASDM_DEVICE void finishFour(const Epilogue<E>& e, int64_t row, int64_t column, int count, const Sum (&sums)[4], const Sum (&gates)[4]) {
  const bool whole = e.whole && count == 4;
  const int64_t sample = e.ldBias != 0 || e.rowBias != nullptr ? quotient(row, e.sampleRows) : 0;
  const float* const bias = e.bias == nullptr ? nullptr : e.bias + sample * e.ldBias;
  float v[4];
  ASDM_UNROLL
  for (int i = 0; i < 4; i++) v[i] = i < count ? sumValue(e, sums[i], row, column + i) : 0.0f;
  if (bias != nullptr) {
    float b[4];
    loadFour(bias + column, whole, count, b);
    ASDM_UNROLL
    for (int i = 0; i < 4; i++) v[i] += b[i];
  }
  if (e.gated) {
    const int64_t inner = e.n / 2;
    ASDM_UNROLL
    for (int i = 0; i < 4; i++) {
      if (i >= count) continue;
      float gate = sumValue(e, gates[i], row, inner + column + i);
      if (bias != nullptr) gate += load(bias + inner + column + i);
      v[i] *= gelu(gate);
    }
  }
  if (e.rowBias != nullptr) {
    float b[4];
    loadFour(e.rowBias + sample * e.ldRowBias + column, whole, count, b);
    ASDM_UNROLL
    for (int i = 0; i < 4; i++) v[i] += b[i];
  }
  if (e.activation != Activation::None && !e.gated) {
    ASDM_UNROLL
    for (int i = 0; i < 4; i++) v[i] = activated(e.activation, v[i]);
  }
  if (e.residual != nullptr) {
    float r[4];
    loadFour(e.residual + row * e.ldr + column, whole, count, r);
    if (e.residualLow != nullptr) {
      float low[4];
      loadFour(e.residualLow + row * e.ldr + column, whole, count, low);
      ASDM_UNROLL
      for (int i = 0; i < 4; i++) r[i] += low[i];
    }
    ASDM_UNROLL
    for (int i = 0; i < 4; i++) v[i] += r[i];
  }
  storeFour(e.y + row * e.ldy + column, whole, count, v);
  if (e.yLow != nullptr) {
    ASDM_UNROLL
    for (int i = 0; i < 4; i++) v[i] -= asFloat(Rounded<E>::of(v[i]));
    storeFour(e.yLow + row * e.ldy + column, whole, count, v);
  }
}

}  // namespace asdm::cuda
