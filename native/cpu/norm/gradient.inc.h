// Gradients of the norms of floats. Include after group_norm.inc.h and layer_norm.inc.h.
//
// With z the standardised values, g the gradient of z * gamma + beta (through SiLU, if there is one) and means over a group, or row:
//   dx = rstd (g gamma - mean(g gamma) - z mean(g gamma z)),  dgamma = sum of g z,  dbeta = sum of g
// Column sums are taken in float over a chunk of rows, then in double.
#pragma once

namespace asdm::cpu::ASDM_SET {

// Scratch: moments as in the forward pass, for each sample rows of mean, rstd, what the mean was rounded by, then what dx subtracts; column sums of each chunk.
struct GroupGradientPlan {
  GroupNormPlan forward;
  int64_t tableFloats, sumFloats;  // of a sample, of a chunk
  size_t tables, sums, bytes;  // offsets
};

ASDM_INLINE GroupGradientPlan groupGradientPlan(const GroupNormArgs& a, int threads) {
  GroupGradientPlan plan{};
  plan.forward = groupNormPlan(a);
  plan.tableFloats = 5 * plan.forward.width;
  plan.sumFloats = 2 * plan.forward.width;
  plan.tables = plan.forward.momentBytes + static_cast<size_t>(threads) * plan.forward.columnBytes;
  plan.sums = plan.tables + static_cast<size_t>(a.n * plan.tableFloats) * sizeof(float);
  plan.bytes = plan.sums + static_cast<size_t>(a.n * plan.forward.chunks * plan.sumFloats) * sizeof(float);
  return plan;
}

size_t groupNormGradientScratch(const GroupNormGradientArgs& g, int threads) noexcept {
  return groupGradientPlan(g.forward, threads).bytes;
}

// z and g of some lanes.
struct NormLanes {
  vf z, g;
};

ASDM_INLINE NormLanes groupLanes(const GroupNormArgs& a, const float* x, const float* dy, const float* table, int64_t width, int64_t j,
                                 int count) {
  const vf z =
      vfma(vsub(vloadn(x + j, count), vloadn(table + j, count)), vloadn(table + width + j, count), vloadn(table + 2 * width + j, count));
  vf g = vloadn(dy + j, count);
  if (a.silu) g = vmul(g, vswishSlope(vfma(z, vloadn(a.gamma + j, count), vloadn(a.beta + j, count)), 1.0f));
  return {z, g};
}

void groupNormGradient(const GroupNormGradientArgs& args, KernelContext& context) noexcept {
  const GroupNormArgs& a = args.forward;
  const GroupGradientPlan plan = groupGradientPlan(a, context.pool.threads());
  const int64_t width = plan.forward.width, chunks = plan.forward.chunks, chunkRows = plan.forward.chunkRows, channels = a.c / a.groups;
  auto* const moments = reinterpret_cast<Moments*>(context.scratch);
  float* const tables = reinterpret_cast<float*>(context.scratch + plan.tables);
  float* const sums = reinterpret_cast<float*>(context.scratch + plan.sums);
  const float* const x = static_cast<const float*>(a.x);
  const float* const dy = static_cast<const float*>(args.dy);
  findMoments<float>(a, plan.forward, moments, reinterpret_cast<float*>(context.scratch + plan.forward.momentBytes), context.pool);
  if (context.pool.cancelled()) return;
  for (int64_t sample = 0; sample < a.n; sample++)
    for (int64_t group = 0; group < a.groups; group++) {
      const GroupScale s = groupScale(a, plan.forward, moments + sample * chunks * a.groups + group);
      float* const table = tables + sample * plan.tableFloats;
      const float rounded = static_cast<float>(s.mean);
      for (int64_t j = group * channels; j < (group + 1) * channels; j++) {
        table[j] = rounded;
        table[width + j] = static_cast<float>(s.rstd);
        table[2 * width + j] = static_cast<float>((static_cast<double>(rounded) - s.mean) * s.rstd);
      }
    }

  context.pool.run(a.n * chunks, [&](int64_t task, int) {
    const int64_t sample = task / chunks, row = task % chunks * chunkRows, rows = a.rows - row < chunkRows ? a.rows - row : chunkRows;
    const int64_t offset = (sample * a.rows + row) * a.c;
    const float* const table = tables + sample * plan.tableFloats;
    float* const sum = sums + task * plan.sumFloats;
    for (int64_t j = 0; j < a.c; j += kVf) {
      const int count = static_cast<int>(a.c - j < kVf ? a.c - j : kVf);
      vf first = vzero(), second = vzero();
      for (int64_t r = 0; r < rows; r++) {
        const NormLanes l = groupLanes(a, x + offset + r * a.c, dy + offset + r * a.c, table, width, j, count);
        first = vadd(first, l.g);
        second = vfma(l.g, l.z, second);
      }
      vstoren(sum + j, first, count);
      vstoren(sum + width + j, second, count);
    }
  });
  if (context.pool.cancelled()) return;

  const double numbers = static_cast<double>(a.rows * channels);
  context.pool.run(a.groups, [&](int64_t group, int) {
    for (int64_t sample = 0; sample < a.n; sample++) {
      double mean = 0, along = 0;
      for (int64_t j = group * channels; j < (group + 1) * channels; j++) {
        double first = 0, second = 0;
        for (int64_t chunk = 0; chunk < chunks; chunk++) {
          const float* const sum = sums + (sample * chunks + chunk) * plan.sumFloats;
          first += static_cast<double>(sum[j]);
          second += static_cast<double>(sum[width + j]);
        }
        if (args.dBeta != nullptr) args.dBeta[j] += static_cast<float>(first);
        if (args.dGamma != nullptr) args.dGamma[j] += static_cast<float>(second);
        mean += first * static_cast<double>(a.gamma[j]);
        along += second * static_cast<double>(a.gamma[j]);
      }
      float* const table = tables + sample * plan.tableFloats;
      for (int64_t j = group * channels; j < (group + 1) * channels; j++) {
        table[3 * width + j] = static_cast<float>(mean / numbers);
        table[4 * width + j] = static_cast<float>(along / numbers);
      }
    }
  });

  float* const dx = static_cast<float*>(args.dx);
  context.pool.run(a.n * chunks, [&](int64_t task, int) {
    const int64_t sample = task / chunks, row = task % chunks * chunkRows, rows = a.rows - row < chunkRows ? a.rows - row : chunkRows;
    const float* const table = tables + sample * plan.tableFloats;
    for (int64_t r = 0; r < rows; r++) {
      const int64_t offset = (sample * a.rows + row + r) * a.c;
      for (int64_t j = 0; j < a.c; j += kVf) {
        const int count = static_cast<int>(a.c - j < kVf ? a.c - j : kVf);
        const NormLanes l = groupLanes(a, x + offset, dy + offset, table, width, j, count);
        const vf centered = vsub(vmul(l.g, vloadn(a.gamma + j, count)), vloadn(table + 3 * width + j, count));
        const vf straight = vsub(centered, vmul(l.z, vloadn(table + 4 * width + j, count)));
        vstoren(dx + offset + j, vmul(straight, vloadn(table + width + j, count)), count);
      }
    }
  });
}

ASDM_INLINE int64_t layerRows(const LayerNormArgs& a) { return kChunkElements / a.c > 1 ? kChunkElements / a.c : 1; }
ASDM_INLINE int64_t layerWidth(const LayerNormArgs& a) { return (a.c + 15) / 16 * 16; }

size_t layerNormGradientScratch(const LayerNormGradientArgs& g, int) noexcept {
  const LayerNormArgs& a = g.forward;
  return static_cast<size_t>((a.rows + layerRows(a) - 1) / layerRows(a) * 2 * layerWidth(a)) * sizeof(float);
}

void layerNormGradient(const LayerNormGradientArgs& args, KernelContext& context) noexcept {
  const LayerNormArgs& a = args.forward;
  const int64_t step = layerRows(a), tasks = (a.rows + step - 1) / step, width = layerWidth(a);
  float* const sums = reinterpret_cast<float*>(context.scratch);
  context.pool.run(tasks, [&](int64_t task, int) {
    float* const first = sums + task * 2 * width;
    float* const second = first + width;
    for (int64_t j = 0; j < 2 * width; j += kVf) vstore(first + j, vzero());
    const int64_t end = (task + 1) * step < a.rows ? (task + 1) * step : a.rows;
    for (int64_t row = task * step; row < end; row++) {
      const float* const x = static_cast<const float*>(a.x) + row * a.c;
      const float* const dy = static_cast<const float*>(args.dy) + row * a.c;
      float* const dx = static_cast<float*>(args.dx) + row * a.c;
      const RowScale s = rowScale(a, x);
      const vf center = vset(s.center), scale = vset(s.scale), shift = vset(s.shift);
      const auto standard = [&](int64_t j, int count) { return vfma(vsub(vloadn(x + j, count), center), scale, shift); };
      // Lanes beyond the row must add nothing: there dy and gamma read as 0.
      vf mean = vzero(), along = vzero();
      for (int64_t j = 0; j < a.c; j += kVf) {
        const int count = static_cast<int>(a.c - j < kVf ? a.c - j : kVf);
        const vf z = standard(j, count), g = vloadn(dy + j, count), scaled = vmul(g, vloadn(a.gamma + j, count));
        mean = vadd(mean, scaled);
        along = vfma(scaled, z, along);
        vstoren(first + j, vadd(vloadn(first + j, count), g), count);
        vstoren(second + j, vfma(g, z, vloadn(second + j, count)), count);
      }
      const double inverse = 1.0 / static_cast<double>(a.c);
      const vf m = vset(static_cast<float>(static_cast<double>(vsum(mean)) * inverse)),
               v = vset(static_cast<float>(static_cast<double>(vsum(along)) * inverse));
      for (int64_t j = 0; j < a.c; j += kVf) {
        const int count = static_cast<int>(a.c - j < kVf ? a.c - j : kVf);
        const vf scaled = vmul(vloadn(dy + j, count), vloadn(a.gamma + j, count));
        vstoren(dx + j, vmul(scale, vsub(vsub(scaled, m), vmul(standard(j, count), v))), count);
      }
    }
  });
  if (context.pool.cancelled()) return;
  for (int64_t j = 0; j < a.c; j++) {
    double first = 0, second = 0;
    for (int64_t task = 0; task < tasks; task++) {
      first += static_cast<double>(sums[task * 2 * width + j]);
      second += static_cast<double>(sums[task * 2 * width + width + j]);
    }
    if (args.dBeta != nullptr) args.dBeta[j] += static_cast<float>(first);
    if (args.dGamma != nullptr) args.dGamma[j] += static_cast<float>(second);
  }
}

}  // namespace asdm::cpu::ASDM_SET
