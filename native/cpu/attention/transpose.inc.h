// Queries to and from the tiles' layout, by square transposes in registers. Include after a vocabulary, element.inc.h and a set's vzip: vzip(a, b)
// replaces a by [a0 b0 a1 b1 ...] of the lower halves of both, b by that of the upper halves.
#pragma once

namespace asdm::cpu::ASDM_SET {

// rows[i] lane j <-> rows[j] lane i: interleaving row i with row i + kVf / 2, log2(kVf) times.
ASDM_INLINE void vtranspose(vf* rows) {
  for (int step = 1; step < kVf; step *= 2) {
    vf next[kVf];
    for (int i = 0; i < kVf / 2; i++) {
      vf low = rows[i], high = rows[i + kVf / 2];
      vzip(low, high);
      next[2 * i] = low;
      next[2 * i + 1] = high;
    }
    for (int i = 0; i < kVf; i++) rows[i] = next[i];
  }
}

// qt[dim][lane] = sign * q[lane][dim]; lanes behind the last query are zero.
template <class E>
ASDM_INLINE void loadQueries(const E* q, int64_t ldq, int64_t rows, int64_t headDim, int64_t width, float sign, float* qt) {
  const vf factor = vset(sign);
  for (int64_t lane = 0; lane < width; lane += kVf)
    for (int64_t dim = 0; dim < headDim; dim += kVf) {
      const int dims = static_cast<int>(headDim - dim < kVf ? headDim - dim : kVf);
      vf block[kVf];
      for (int i = 0; i < kVf; i++) {
        if (lane + i >= rows) {
          block[i] = vzero();
          continue;
        }
        const E* from = q + (lane + i) * ldq + dim;
        block[i] = vmul(factor, dims == kVf ? vload(from) : vloadn(from, dims));
      }
      vtranspose(block);
      for (int i = 0; i < dims; i++) vstore(qt + (dim + i) * width + lane, block[i]);
    }
}

// o[lane][dim] = sums[dim][lane] / weight[lane] for the lanes that are queries.
template <class E>
ASDM_INLINE void storeOutputs(const float* sums, const float* weight, int64_t rows, int64_t headDim, int64_t width, E* o, int64_t ldo) {
  for (int64_t lane = 0; lane < width; lane += kVf) {
    const vf factor = vdiv(vset(1.0f), vload(weight + lane));
    for (int64_t dim = 0; dim < headDim; dim += kVf) {
      const int dims = static_cast<int>(headDim - dim < kVf ? headDim - dim : kVf);
      vf block[kVf];
      for (int i = 0; i < kVf; i++) block[i] = i < dims ? vmul(factor, vload(sums + (dim + i) * width + lane)) : vzero();
      vtranspose(block);
      for (int i = 0; i < kVf && lane + i < rows; i++) {
        E* to = o + (lane + i) * ldo + dim;
        if (dims == kVf) {
          vstore(to, block[i]);
        } else {
          vstoren(to, block[i], dims);
        }
      }
    }
  }
}

}  // namespace asdm::cpu::ASDM_SET
