#include "cpu/conv/winograd.h"

namespace asdm::cpu {

namespace {

int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

// Measured with bench/ops/winograd_bench.cpp on Zen 4. In float, sets avx512, avx2 and portable: 0.28 to 0.36 of direct
// convolution's time on feature maps of 16x16 and more, 0.40 on 8x8 (0.55 without guidance); down to 8 channels still at most 0.56;
// but 1.2 with 4 channels, where writing the outputs is all the work. Against avx512bf16's direct products: 0.47 to 0.69 on 16x16 and
// more, 0.72 on 8x8 (0.92 without guidance), 1.1 on 9x9, which tiles fit badly.
bool usesWinograd(const ConvArgs& a, int directRate) noexcept {
  if (a.kernelH != 3 || a.kernelW != 3 || a.stride != 1 || a.shape.channels < 8) return false;
  // Products of a vector of outputs and an input channel: 36 for a tile against 9 for a pixel. The weights' transform takes as long
  // as some 140 more, shared by the two halves of a guided batch. One tile alone gains nothing without guidance.
  const int64_t tiles = ceilDiv(a.outH, 4) * ceilDiv(a.outW, 4);
  return tiles > 1 && directRate * (36 * tiles + 70) <= 9 * a.outH * a.outW * 3 / 4;
}

// Costs in cycles per input channel on one core that does one vector FMA a cycle: 36 per tile and vector of outputs for the products;
// for the transforms some 150 per vector of weights, which the task does over for its tiles, and 1000 per vector of a tile's
// channels, over for its panels (arithmetic is a third of it; the rest is writing to the second-level cache). Mixing adds some 10 per
// expert to a vector of weights, and both are done for each sample; what takes some 25 more is reading the experts, for all samples of a
// task together. As in chooseGrid a tenth of a task is added, for cores are never
// equally fast.
Grid chooseWinogradGrid(int64_t tiles, int64_t panels, int panelVectors, int lanes, int64_t maxTiles, int64_t maxPanels, int64_t maxPairs,
                        int threads, int64_t experts, int64_t sampleTiles) noexcept {
  Grid best{tiles, panels};
  double bestCost = -1;
  int64_t columns = ceilDiv(panels, maxPanels);
  for (int tried = 0; tried < 24 && columns <= panels; tried++) {
    const int64_t taskPanels = ceilDiv(panels, columns);
    const int64_t mostTiles = maxPairs / taskPanels < maxTiles ? maxPairs / taskPanels : maxTiles;
    const int64_t leastRows = ceilDiv(tiles, mostTiles > 0 ? mostTiles : 1);
    const int64_t leastWaves = ceilDiv(leastRows * columns, threads);
    for (int64_t waves = leastWaves; waves < leastWaves + 8; waves++) {
      int64_t rows = waves * threads / columns;
      if (rows > tiles) rows = tiles;
      if (rows < leastRows) continue;
      const double t = static_cast<double>(ceilDiv(tiles, rows)), p = static_cast<double>(taskPanels * panelVectors);
      const double k = static_cast<double>(experts);
      const double samples = experts > 0 ? (t > static_cast<double>(sampleTiles) ? t / static_cast<double>(sampleTiles) : 1.0) : 1.0;
      const double cost = (36.0 * t * p + ((150.0 + 10.0 * k) * samples + 25.0 * k) * p + 1000.0 / lanes * t) *
                          (static_cast<double>(ceilDiv(rows * columns, threads)) + (threads > 1 ? 0.1 : 0.0));
      if (bestCost < 0 || cost < bestCost) {
        bestCost = cost;
        best = {rows, columns};
      }
    }
    int64_t next = columns + 1;
    while (next <= panels && ceilDiv(panels, next) == taskPanels) next++;
    columns = next;
  }
  return best;
}

}  // namespace asdm::cpu
