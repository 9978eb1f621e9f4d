// 3x3 convolution by Winograd's F(4x4, 3x3), for every set: 36 products over tiles of 4x4 outputs instead of 9 over pixels, a
// quarter of the multiplications. Include after winograd_transforms.inc.h and the set's tile with gemm's packed.inc.h.
// Everything between loading and storing activations is in float, whatever the activations' type E and the weights' type W.
//
// A task has some tiles and some panels of output features. For each block of input channels it transforms its tiles' patches, and
// for each panel that block's weights, out of the same packed weights that direct convolution reads, so that Winograd costs no
// memory; the products' sums wait in scratch until all channels are in. Transformed weights serve all the task's tiles: with 64 of
// them their transform is a twentieth of the work. What a task holds of tiles, weights and one panel's sums fits the
// second-level cache.
//
// Weights may be mixed for each sample (gemm.h, Mixture): a panel's block of channels is then mixed right before it is transformed, for
// each sample that the task has tiles of.
#pragma once

#include "cpu/gemm/mix.inc.h"

namespace asdm::cpu::ASDM_SET {

constexpr int kParts = 36;
// Input channels of a block, at most; the sums' order follows from it.
constexpr int64_t kBlock = 64;
constexpr int64_t kWinogradTiles = 64;
constexpr int64_t kWinogradPanels = 40;
constexpr int64_t kWinogradPairs = 640;
// Mixing and transforming a panel is shared by twice as many tiles: patches then come from the third level, which costs nothing that
// could be measured, and a guided batch of 32x32 maps is mixed in one reading of the experts.
constexpr int64_t kMixedTimes = 2;
// Mixtures that are made in one reading of the experts, at most.
constexpr int64_t kMixedAtOnce = 4;
// A row of kStride holds several parts of a tile's channels beside each other: the register tile knows no other distance.
constexpr int kSlots = static_cast<int>(kKc / kBlock);
constexpr int kSlotRows = (kParts + kSlots - 1) / kSlots;
static_assert(kKc % kBlock == 0, "the slots fill a row");
// Distances of the parts; not a multiple of a page, which would put all of them into the same cache sets.
constexpr int64_t kWeightPart = kBlock * kNr + 16;
// Mixed weights of a tap.
constexpr int64_t kMixedTap = kBlock * kNr;

struct Winograd {
  int64_t tileRows, tileColumns, tiles, panels;
  int64_t block;      // channels of a block; the last may be shorter
  bool several;       // blocks
  Grid grid;
  int64_t taskTiles, taskPanels;  // of the largest task

  int64_t sumPart() const { return taskTiles * kNr + 16; }
  int64_t panelSums() const { return kParts * sumPart(); }
  int64_t patches() const { return kSlotRows * taskTiles * kStride; }
  int64_t mixtures;   // of which a task makes several panels at once, at most
  int64_t workerFloats() const {
    return kBlock + patches() + kParts * kWeightPart + panelSums() * (several ? taskPanels : 1) + mixtures * 9 * kMixedTap;
  }
};

// experts: those that are mixed, or 0.
inline Winograd winogradOf(const ConvArgs& a, int64_t experts, int threads) {
  Winograd w;
  w.tileRows = ceilDiv(a.outH, 4);
  w.tileColumns = ceilDiv(a.outW, 4);
  w.tiles = a.n * w.tileRows * w.tileColumns;
  w.panels = ceilDiv(a.shape.n, kNr);
  const int64_t c = a.shape.channels;
  w.block = smaller(kBlock, ceilDiv(ceilDiv(c, ceilDiv(c, kBlock)), 16) * 16);
  w.several = c > w.block;
  const int64_t times = experts > 0 ? kMixedTimes : 1;
  w.grid = chooseWinogradGrid(w.tiles, w.panels, kNv, kVf, times * kWinogradTiles, kWinogradPanels, times * kWinogradPairs, threads,
                              experts, w.tileRows * w.tileColumns);
  w.taskTiles = ceilDiv(w.tiles, w.grid.rows);
  w.taskPanels = ceilDiv(w.panels, w.grid.columns);
  w.mixtures = experts > 0 ? smaller(smaller(a.n, w.taskTiles), kMixedAtOnce) : 0;
  return w;
}

// The 36 places of a tile's patch, or `zeros` outside of the image.
template <class E>
void findPatch(const ConvArgs& a, const Winograd& w, int64_t tile, int64_t channel, const E* zeros, const E* (&patch)[kParts]) {
  const bool resized = a.resizeH > 0;
  const int64_t height = resized ? a.resizeH : a.h, width = resized ? a.resizeW : a.w;
  const int64_t sample = tile / (w.tileRows * w.tileColumns), inside = tile % (w.tileRows * w.tileColumns);
  const int64_t top = inside / w.tileColumns * 4 - a.padTop, left = inside % w.tileColumns * 4 - a.padLeft;
  const E* const image = static_cast<const E*>(a.x) + sample * a.h * a.w * a.shape.channels + channel;
  for (int i = 0; i < 6; i++)
    for (int j = 0; j < 6; j++) {
      int64_t y = top + i, x = left + j;
      const bool in = y >= 0 && y < height && x >= 0 && x < width;
      if (resized) {
        y = y * a.h / height;
        x = x * a.w / width;
      }
      patch[6 * i + j] = in ? image + (y * a.w + x) * a.shape.channels : zeros;
    }
}

// B^T d B for `n` channels (at most kVf) of one patch. to[part]: where the part's channels go.
template <bool Whole, class E>
ASDM_INLINE void transformPatch(const E* const (&patch)[kParts], int64_t c, int n, float* const (&to)[kParts]) {
  vf half[6][6];
  for (int j = 0; j < 6; j++) {
    vf d[6], v[6];
    ASDM_UNROLL
    for (int i = 0; i < 6; i++) d[i] = Whole ? vload(patch[6 * i + j] + c) : vloadn(patch[6 * i + j] + c, n);
    inputLine(d, v);
    ASDM_UNROLL
    for (int i = 0; i < 6; i++) half[i][j] = v[i];
  }
  for (int i = 0; i < 6; i++) {
    vf v[6];
    inputLine(half[i], v);
    // A slot has room for whole vectors.
    ASDM_UNROLL
    for (int j = 0; j < 6; j++) vstore(to[6 * i + j] + c, v[j]);
  }
}

template <class E>
void transformPatches(const ConvArgs& a, const Winograd& w, int64_t firstTile, int64_t endTile, int64_t channel, int64_t count,
                      const E* zeros, float* out) {
  for (int64_t tile = firstTile; tile < endTile; tile++) {
    const E* patch[kParts];
    float* to[kParts];
    findPatch(a, w, tile, channel, zeros, patch);
    for (int part = 0; part < kParts; part++)
      to[part] = out + (part / kSlots * (endTile - firstTile) + tile - firstTile) * kStride + part % kSlots * kBlock;
    int64_t c = 0;
    for (; c + kVf <= count; c += kVf) transformPatch<true>(patch, c, kVf, to);
    if (c < count) transformPatch<false>(patch, c, static_cast<int>(count - c), to);
  }
}

// A vector of output features of one of the elements that W holds.
template <class W>
ASDM_INLINE vf loadWeights(const W* p, int) {
  return vload(p);
}

// Tiles of a task that have the same weights: all, or those of samples with the same mixture that follow each other.
template <class E>
struct Stretch {
  int64_t from, to;
  const void* packed;  // where the weights lie as they are packed
  const E* mixed;      // or nine taps of them, kMixedTap apart, mixed for this panel and block
};

// G g G^T for a panel's `count` channels from `channel` on: out [part][channel][kNr]. Channels come in whole groups.
template <class W, class E>
void transformWeights(const ConvArgs& a, PackedRow rows, const Stretch<E>& stretch, int64_t panel, int64_t channel, int64_t count,
                      float* out) {
  constexpr int kTogether = std::is_same<W, Bf16Pair>::value ? 2 : 1;
  for (int64_t done = 0; done < count;) {
    const W* taps[9];
    int64_t run = count - done;
    for (int tap = 0; tap < 9; tap++) {
      if (stretch.mixed != nullptr) {
        taps[tap] = reinterpret_cast<const W*>(stretch.mixed + tap * kMixedTap);
        continue;
      }
      int64_t length;
      taps[tap] = static_cast<const W*>(rows(a.shape, stretch.packed, panel, tap * a.shape.channels + channel + done, &length));
      run = smaller(run, length);
    }
    for (int64_t at = 0; at < run / kTogether * kNr; at += kVf)
      for (int which = 0; which < kTogether; which++) {
        vf half[6][3];
        ASDM_UNROLL
        for (int j = 0; j < 3; j++) {
          vf u[6];
          weightLine(loadWeights(taps[j] + at, which), loadWeights(taps[3 + j] + at, which), loadWeights(taps[6 + j] + at, which), u);
          ASDM_UNROLL
          for (int i = 0; i < 6; i++) half[i][j] = u[i];
        }
        float* const to = out + (done + at / kNr * kTogether + which) * kNr + at % kNr;
        ASDM_UNROLL
        for (int i = 0; i < 6; i++) {
          vf u[6];
          weightLine(half[i][0], half[i][1], half[i][2], u);
          ASDM_UNROLL
          for (int j = 0; j < 6; j++) vstore(to + (6 * i + j) * kWeightPart, u[j]);
        }
      }
    done += run;
  }
}

// Finds the next stretches from tile `from` on, as many as are mixed at once, and mixes their weights. Gives the tile behind them.
template <class E>
int64_t nextStretches(const ConvArgs& a, const Mixture* m, PackedRow rows, int64_t sampleTiles, int64_t from, int64_t end, int64_t panel,
                      int64_t channel, int64_t count, float* room, Stretch<E> (&stretches)[kMixedAtOnce], int64_t* found) {
  *found = 1;
  stretches[0] = {from, end, a.weight, nullptr};
  if (m == nullptr) return end;
  const std::byte* const experts = static_cast<const std::byte*>(m->experts);
  int64_t samples[kMixedAtOnce], mixes = 0;
  E* buffers[kMixedAtOnce];
  for (*found = 0; from < end && *found < kMixedAtOnce; ++*found) {
    const int64_t sample = from / sampleTiles;
    int64_t to = smaller(end, (sample + 1) * sampleTiles);
    while (to < end && m->alike[to / sampleTiles] == m->alike[sample]) to = smaller(end, to + sampleTiles);
    const int32_t single = m->single[sample];
    stretches[*found] = {from, to, experts + (single > 0 ? static_cast<size_t>(single) * m->distance : 0), nullptr};
    if (single < 0) {
      samples[mixes] = sample;
      stretches[*found].mixed = buffers[mixes] = reinterpret_cast<E*>(room) + mixes * 9 * kMixedTap;
      mixes++;
    }
    from = to;
  }
  if (mixes == 0) return from;
  for (int tap = 0; tap < 9; tap++) {
    E* to[kMixedAtOnce];
    for (int64_t i = 0; i < mixes; i++) to[i] = buffers[i] + tap * kMixedTap;
    int64_t length;
    for (int64_t done = 0; done < count; done += length) {
      const void* const packed = rows(a.shape, a.weight, panel, tap * a.shape.channels + channel + done, &length);
      length = smaller(length, count - done);
      mixGroups<E>(*m, samples, mixes, static_cast<const E*>(packed) - static_cast<const E*>(a.weight), length * kNr, to);
      for (int64_t i = 0; i < mixes; i++) to[i] += length * kNr;
    }
  }
  return from;
}

// A^T m A and the epilogue, for one tile and at most kVf output features from j on. sums: of the first part.
template <class E>
void finishOutputs(const ConvArgs& a, const Winograd& w, const Epilogue<E>& all, int64_t tile, int64_t j, int n, const float* sums) {
  vf half[4][6];
  for (int x = 0; x < 6; x++) {
    vf m[6], y[4];
    ASDM_UNROLL
    for (int i = 0; i < 6; i++) m[i] = vload(sums + (6 * i + x) * w.sumPart());
    outputLine(m, y);
    ASDM_UNROLL
    for (int i = 0; i < 4; i++) half[i][x] = y[i];
  }
  const int64_t inside = tile % (w.tileRows * w.tileColumns), sample = tile / (w.tileRows * w.tileColumns);
  const int64_t top = inside / w.tileColumns * 4, left = inside % w.tileColumns * 4;
  const int rows = static_cast<int>(smaller(4, a.outH - top)), columns = static_cast<int>(smaller(4, a.outW - left));
  const Epilogue<E> out = epilogueAt(all, sample, (sample * a.outH + top) * a.outW + left, j);
  for (int i = 0; i < rows; i++) {
    vf y[4];
    outputLine(half[i], y);
    vf line[4][1] = {{y[0]}, {y[1]}, {y[2]}, {y[3]}};
    if (columns == 4) {
      finishVectors(out, i * a.outW, 0, line, n);
    } else {
      for (int x = 0; x < columns; x++) {
        vf pixel[1][1] = {{y[x]}};
        finishVectors(out, i * a.outW + x, 0, pixel, n);
      }
    }
  }
}

inline size_t winogradScratch(const ConvArgs& a, int64_t experts, int threads) {
  return static_cast<size_t>(threads * winogradOf(a, experts, threads).workerFloats()) * sizeof(float);
}

// mixture: of the samples' weights, instead of a.weight and a.bias, or null.
template <class E, class W>
void runWinograd(const ConvArgs& a, const Mixture* mixture, KernelContext& context, PackedRow rows) {
  const TileKernels<Tile<float>> kernels;
  const Winograd w = winogradOf(a, mixture != nullptr ? mixture->count : 0, context.pool.threads());
  const int64_t channels = a.shape.channels, sampleTiles = w.tileRows * w.tileColumns;
  context.pool.run(w.grid.rows * w.grid.columns, [&](int64_t task, int worker) {
    const auto [row, column] = w.grid.placeOf(task, context.pool.threads());
    const int64_t firstTile = row * w.tiles / w.grid.rows, endTile = (row + 1) * w.tiles / w.grid.rows;
    const int64_t firstPanel = column * w.panels / w.grid.columns, endPanel = (column + 1) * w.panels / w.grid.columns;
    const int64_t tiles = endTile - firstTile;
    float* const zeros = reinterpret_cast<float*>(context.scratch) + worker * w.workerFloats();
    float* const patches = zeros + kBlock;
    float* const weights = patches + w.patches();
    float* const allSums = weights + kParts * kWeightPart;
    float* const mixed = allSums + w.panelSums() * (w.several ? w.taskPanels : 1);
    // Zeros in any format.
    for (int64_t c = 0; c < kBlock; c += kVf) vstore(zeros + c, vzero());
    const E* const outside = reinterpret_cast<const E*>(zeros);
    FetchAhead<9 * kMaxExperts> fetch;
    TileState state;
    Epilogue<E> out = epilogueOf<E>(a);

    for (int64_t channel = 0; channel < channels; channel += w.block) {
      // A task may take long; an abort must not.
      if (context.pool.cancelled()) return;
      const int64_t count = smaller(w.block, channels - channel);
      transformPatches(a, w, firstTile, endTile, channel, count, outside, patches);
      for (int64_t panel = firstPanel; panel < endPanel; panel++) {
        const int64_t columns = smaller(kNr, a.shape.n - panel * kNr);
        float* const sums = allSums + (w.several ? (panel - firstPanel) * w.panelSums() : 0);
        Tile<float> t{};
        t.steps = count;
        t.columns = static_cast<int>(columns);
        t.first = channel == 0;
        t.last = false;
        t.nextStep = kNextStep;
        const bool more = panel + 1 < endPanel;
        const int64_t nextChannel = more ? channel : channel + count, nextCount = smaller(w.block, channels - nextChannel);
        fetch.begin();
        if (nextCount > 0) {
          for (int64_t e = 0; e < (mixture != nullptr ? mixture->count : 1); e++)
            for (int64_t tap = 0; tap < 9; tap++) {
              int64_t length;
              const void* const from = rows(a.shape, a.weight, more ? panel + 1 : firstPanel, tap * channels + nextChannel, &length);
              fetch.add(static_cast<const char*>(from) + static_cast<size_t>(e) * (mixture != nullptr ? mixture->distance : 0));
            }
          fetch.spread(nextCount * kNr * static_cast<int64_t>(sizeof(E)), count * t.nextStep, kParts * ceilDiv(tiles, kMr));
        }
        Stretch<E> stretches[kMixedAtOnce];
        int64_t found;
        for (int64_t next = firstTile; next < endTile;) {
          next = nextStretches<E>(a, mixture, rows, sampleTiles, next, endTile, panel, channel, count, mixed, stretches, &found);
          for (int64_t s = 0; s < found; s++) {
            const int64_t from = stretches[s].from, to = stretches[s].to;
            transformWeights<W>(a, rows, stretches[s], panel, channel, count, weights);
            const int64_t begin = from - firstTile, heights = ceilDiv(to - from, kMr);
            for (int part = 0; part < kParts; part++) {
              t.b = weights + part * kWeightPart;
              for (int64_t height = 0; height < heights; height++) {
                const int64_t i = begin + height * (to - from) / heights;
                t.rows = static_cast<int>(begin + (height + 1) * (to - from) / heights - i);
                t.a = patches + (part / kSlots * tiles + i) * kStride + part % kSlots * kBlock;
                t.sums = sums + part * w.sumPart() + i * kNr;
                fetch.take(t.a, t.next);
                kernels.run(t, state);
              }
            }
          }
        }
        if (channel + count < channels) continue;
        for (int64_t tile = firstTile; tile < endTile; tile++) {
          if (mixture != nullptr) out.bias = mixture->bias != nullptr ? mixture->bias + tile / sampleTiles * a.shape.n : nullptr;
          for (int64_t j = 0; j < columns; j += kVf)
            finishOutputs<E>(a, w, out, tile, panel * kNr + j, static_cast<int>(smaller(kVf, columns - j)),
                             sums + (tile - firstTile) * kNr + j);
        }
      }
    }
  });
}

}  // namespace asdm::cpu::ASDM_SET
