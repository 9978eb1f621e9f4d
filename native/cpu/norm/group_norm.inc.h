// Group norm, channels last. Include after a vocabulary, element.inc.h, math.inc.h and math16.inc.h, with ASDM_SET defined.
#pragma once

namespace asdm::cpu::ASDM_SET {

// At most 128 KB: the second pass over a chunk finds it in the second-level cache; a millisecond at most.
constexpr int64_t kChunkElements = 32768;

// Moments of a run of values.
struct Moments {
  double mean;
  double squares;  // sum of squared deviations from the mean
};

// Where everything lies in scratch: moments [n][chunks][groups], tables [n][3][channels], columns [threads][3][channels].
struct GroupNormPlan {
  int64_t chunkRows, chunks, width;  // width: c rounded up to whole cache lines
  size_t momentBytes, tableBytes, columnBytes;
};

ASDM_INLINE GroupNormPlan groupNormPlan(const GroupNormArgs& a) {
  GroupNormPlan plan;
  plan.chunkRows = kChunkElements / a.c > 1 ? kChunkElements / a.c : 1;
  plan.chunks = (a.rows + plan.chunkRows - 1) / plan.chunkRows;
  plan.width = (a.c + 15) / 16 * 16;
  plan.momentBytes = (static_cast<size_t>(a.n * plan.chunks * a.groups) * sizeof(Moments) + 63) / 64 * 64;
  plan.columnBytes = static_cast<size_t>(3 * plan.width) * sizeof(float);
  plan.tableBytes = static_cast<size_t>(a.n) * plan.columnBytes;
  return plan;
}

template <class E>
size_t groupNormScratch(const GroupNormArgs& a, int threads) noexcept {
  const GroupNormPlan plan = groupNormPlan(a);
  return plan.momentBytes + plan.tableBytes + static_cast<size_t>(threads) * plan.columnBytes;
}
ASDM_INSTANTIATE_SCRATCH(groupNorm, GroupNormArgs)

// count is kVf, or fewer at a row's end.
template <bool Tail, class E>
ASDM_INLINE vf loadLanes(const E* p, int count) {
  return Tail ? vloadn(p, count) : vload(p);
}

template <bool Tail, class E>
ASDM_INLINE void storeLanes(E* p, vf v, int count) {
  if (Tail) {
    vstoren(p, v, count);
  } else {
    vstore(p, v);
  }
}

// sum[:] (+)= a row.
template <bool Tail, class E>
ASDM_INLINE void addRow(const E* x, bool first, int count, float* sum) {
  const vf row = loadLanes<Tail>(x, count);
  vstore(sum, first ? row : vadd(vload(sum), row));
}

// first[:], second[:] (+)= deviations from mean[:] and their squares, of four rows or one.
template <bool Tail, class E>
ASDM_INLINE void addDeviations(const E* x, int64_t ld, bool four, bool start, int count, const float* mean, float* first, float* second) {
  const vf m = vload(mean);
  vf d = vsub(loadLanes<Tail>(x, count), m);
  vf sum = d, squares = vmul(d, d);
  if (four) {
    for (int row = 1; row < 4; row++) {
      d = vsub(loadLanes<Tail>(x + row * ld, count), m);
      sum = vadd(sum, d);
      squares = vfma(d, d, squares);
    }
  }
  vstore(first, start ? sum : vadd(vload(first), sum));
  vstore(second, start ? squares : vadd(vload(second), squares));
}

// Moments over channels [begin, end) of `rows` rows each, given a center for each, the sum of deviations from it (which says how far
// it is from the mean) and of their squares. Four partial sums each, for the latency of addition.
ASDM_INLINE Moments combineChannels(const float* near, const float* first, const float* second, int64_t begin, int64_t end, int64_t rows) {
  const double count = static_cast<double>(rows), inverse = 1.0 / count;
  double sums[4] = {0.0, 0.0, 0.0, 0.0}, squares[4] = {0.0, 0.0, 0.0, 0.0};
  const auto add = [&](int64_t j, int k) { sums[k] += static_cast<double>(near[j]) + static_cast<double>(first[j]) * inverse; };
  int64_t j = begin;
  for (; j + 4 <= end; j += 4)
    for (int k = 0; k < 4; k++) add(j + k, k);
  for (; j < end; j++) add(j, 0);
  const double center = (sums[0] + sums[1] + sums[2] + sums[3]) / static_cast<double>(end - begin);
  const auto addSquares = [&](int64_t at, int k) {
    const double off = static_cast<double>(first[at]) * inverse;
    const double distance = static_cast<double>(near[at]) + off - center;
    squares[k] += static_cast<double>(second[at]) + count * (distance * distance - off * off);
  };
  for (j = begin; j + 4 <= end; j += 4)
    for (int k = 0; k < 4; k++) addSquares(j + k, k);
  for (; j < end; j++) addSquares(j, 0);
  return {center, squares[0] + squares[1] + squares[2] + squares[3]};
}

// sum[:] = the sum of `rows` rows. Row by row: memory streams twice as fast in one run as in four.
template <class E>
ASDM_INLINE void sumRows(const E* x, int64_t rows, int64_t c, float* sum) {
  const int64_t whole = c / kVf * kVf;
  const int tail = static_cast<int>(c - whole);
  for (int64_t row = 0; row < rows; row++) {
    const E* in = x + row * c;
    for (int64_t j = 0; j < whole; j += kVf) addRow<false>(in + j, row == 0, kVf, sum + j);
    if (tail > 0) addRow<true>(in + whole, row == 0, tail, sum + whole);
  }
}

// How many of a chunk's rows tell the center from which deviations are taken. For float all do, so that it is the mean. bfloat16 has
// so few digits that squares of deviations from anything of the values' size lose nothing that matters: an eighth will do, and the
// chunk is read once. (A larger part where the rows are many: one value far off among them must not become the center.) A power of two,
// so that the center of equal values is their value.
ASDM_INLINE int64_t centerRows(const float*, int64_t rows) { return rows; }
ASDM_INLINE int64_t centerRows(const Bf16*, int64_t rows) {
  int64_t count = 1;
  while (count * 16 <= rows) count *= 2;
  return count;
}

// Moments of each group in `rows` rows. columns: three rows of scratch; lanes past c in them are never used.
template <class E>
ASDM_INLINE void chunkMoments(const E* x, int64_t rows, int64_t c, int64_t groups, float* columns, int64_t width, Moments* out) {
  float* center = columns;
  float* first = columns + width;
  float* second = first + width;
  const int64_t whole = c / kVf * kVf;
  const int tail = static_cast<int>(c - whole);
  const int64_t sample = centerRows(x, rows);
  sumRows(x, sample, c, center);
  const vf factor = vset(1.0f / static_cast<float>(sample));
  for (int64_t j = 0; j < c; j += kVf) vstore(center + j, vmul(vload(center + j), factor));
  for (int64_t row = 0; row < rows;) {
    const bool four = row + 4 <= rows;
    const E* in = x + row * c;
    for (int64_t j = 0; j < whole; j += kVf) addDeviations<false>(in + j, c, four, row == 0, kVf, center + j, first + j, second + j);
    if (tail > 0) addDeviations<true>(in + whole, c, four, row == 0, tail, center + whole, first + whole, second + whole);
    row += four ? 4 : 1;
  }
  for (int64_t g = 0; g < groups; g++) out[g] = combineChannels(center, first, second, g * (c / groups), (g + 1) * (c / groups), rows);
}

// y = (x + low - mean) * scale + shift, then SiLU, lane by lane.
template <bool Silu, bool Low, bool Tail, class E>
ASDM_INLINE void scaleLanes(const E* x, const E* low, const float* mean, const float* scale, const float* shift, int count, E* y) {
  vf d = vsub(loadLanes<Tail>(x, count), vload(mean));
  if (Low) d = vadd(d, loadLanes<Tail>(low, count));
  const vf v = vfma(d, vload(scale), vload(shift));
  storeLanes<Tail>(y, Silu ? Math<E>::silu(v) : v, count);
}

template <bool Silu, bool Low, class E>
ASDM_INLINE void scaleChunk(const E* x, const E* low, int64_t rows, int64_t c, const float* table, int64_t width, E* y) {
  const float* scale = table + width;
  const float* shift = scale + width;
  const int64_t whole = c / kVf * kVf;
  for (int64_t row = 0; row < rows; row++, x += c, y += c, low += Low ? c : 0) {
    for (int64_t j = 0; j < whole; j += kVf)
      scaleLanes<Silu, Low, false>(x + j, Low ? low + j : x, table + j, scale + j, shift + j, kVf, y + j);
    if (whole < c)
      scaleLanes<Silu, Low, true>(x + whole, Low ? low + whole : x, table + whole, scale + whole, shift + whole,
                                  static_cast<int>(c - whole), y + whole);
  }
}

// A group's values become (x - mean) * rstd.
struct GroupScale {
  double mean, rstd;
};

// Out of the group's moments in each chunk, a.groups apart.
ASDM_INLINE GroupScale groupScale(const GroupNormArgs& a, const GroupNormPlan& plan, const Moments* m) {
  const int64_t channels = a.c / a.groups;
  const double total = static_cast<double>(a.rows) * static_cast<double>(channels);
  const double whole = static_cast<double>(plan.chunkRows) * static_cast<double>(channels);
  const double last = total - whole * static_cast<double>(plan.chunks - 1);
  double sum = 0.0, squares = 0.0;
  for (int64_t i = 0; i < plan.chunks; i++) sum += (i + 1 < plan.chunks ? whole : last) * m[i * a.groups].mean;
  const double mean = sum / total;
  for (int64_t i = 0; i < plan.chunks; i++) {
    const double distance = m[i * a.groups].mean - mean;
    squares += m[i * a.groups].squares + (i + 1 < plan.chunks ? whole : last) * distance * distance;
  }
  return {mean, 1.0 / std::sqrt((squares < 0.0 ? 0.0 : squares / total) + static_cast<double>(a.eps))};
}

// The moments of every chunk; columns: three rows of scratch for each worker.
template <class E>
void findMoments(const GroupNormArgs& a, const GroupNormPlan& plan, Moments* moments, float* columns, ThreadPool& pool) {
  const E* const x = static_cast<const E*>(a.x);
  const auto find = [&](int64_t task, int worker) {
    const int64_t row = task % plan.chunks * plan.chunkRows;
    const int64_t rows = a.rows - row < plan.chunkRows ? a.rows - row : plan.chunkRows;
    chunkMoments(x + (task / plan.chunks * a.rows + row) * a.c, rows, a.c, a.groups, columns + worker * 3 * plan.width, plan.width,
                 moments + task * a.groups);
  };
  if (a.n * a.rows * a.c < kSharedElements) pool.runHere(a.n * plan.chunks, find);
  else pool.run(a.n * plan.chunks, find);
}

template <class E>
void groupNorm(const GroupNormArgs& a, KernelContext& context) noexcept {
  const E* const x = static_cast<const E*>(a.x);
  const E* const low = static_cast<const E*>(a.xLow);
  E* const y = static_cast<E*>(a.y);
  const GroupNormPlan plan = groupNormPlan(a);
  auto* moments = reinterpret_cast<Moments*>(context.scratch);
  auto* tables = reinterpret_cast<float*>(context.scratch + plan.momentBytes);
  auto* columns = reinterpret_cast<float*>(context.scratch + plan.momentBytes + plan.tableBytes);

  findMoments<E>(a, plan, moments, columns, context.pool);

  const int64_t channels = a.c / a.groups;
  const auto combine = [&](int64_t task, int) {
    const int64_t sample = task / a.groups, group = task % a.groups;
    const GroupScale s = groupScale(a, plan, moments + sample * plan.chunks * a.groups + group);
    const double mean = s.mean, rstd = s.rstd;
    const float rounded = static_cast<float>(mean);
    float* table = tables + sample * 3 * plan.width;
    for (int64_t j = group * channels; j < (group + 1) * channels; j++) {
      const double scale = rstd * static_cast<double>(a.gamma[j]);
      table[j] = rounded;
      table[plan.width + j] = static_cast<float>(scale);
      table[2 * plan.width + j] = static_cast<float>(static_cast<double>(a.beta[j]) - (mean - rounded) * scale);
    }
  };
  // Waking threads costs more than a few thousand moments.
  if (a.n * a.groups * plan.chunks < 4096) {
    for (int64_t task = 0; task < a.n * a.groups; task++) combine(task, 0);
  } else {
    context.pool.run(a.n * a.groups, combine);
  }

  // Backwards: the last chunks read may still be in a cache.
  const auto scale = [&](int64_t task, int) {
    const int64_t sample = task / plan.chunks, row = task % plan.chunks * plan.chunkRows;
    const int64_t rows = a.rows - row < plan.chunkRows ? a.rows - row : plan.chunkRows;
    const int64_t offset = (sample * a.rows + row) * a.c;
    const float* table = tables + sample * 3 * plan.width;
    if (low != nullptr) {
      if (a.silu) scaleChunk<true, true>(x + offset, low + offset, rows, a.c, table, plan.width, y + offset);
      else scaleChunk<false, true>(x + offset, low + offset, rows, a.c, table, plan.width, y + offset);
    } else if (a.silu) {
      scaleChunk<true, false>(x + offset, x, rows, a.c, table, plan.width, y + offset);
    } else {
      scaleChunk<false, false>(x + offset, x, rows, a.c, table, plan.width, y + offset);
    }
  };
  if (a.n * a.rows * a.c < kSharedElements) context.pool.runHere(a.n * plan.chunks, scale);
  else context.pool.runBackwards(a.n * plan.chunks, scale);
}
ASDM_INSTANTIATE_KERNEL(groupNorm, GroupNormArgs)

}  // namespace asdm::cpu::ASDM_SET
