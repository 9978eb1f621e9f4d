#include "cpu/gemm/gemm.h"

namespace asdm::cpu {

namespace {

int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

// Costs in cycles of one core that does `rate` vector FMAs a cycle. Copying a row's element costs about 0.2 cycles, a float of packed
// weights that comes from memory about 0.3 beyond what prefetching hides, a task a few thousand. The time is that of the fullest
// thread, plus a tenth of a task, since cores are never equally fast: of equally good cuts the finer one wins.
Grid chooseGrid(int64_t tiles, int64_t panels, int64_t k, int tileRows, int panelVectors, int lanes, int64_t maxTiles, int64_t maxPanels,
                int threads, double weightCost, double rate) noexcept {
  const int64_t leastRows = ceilDiv(tiles, maxTiles);
  int64_t columns = ceilDiv(panels, maxPanels);
  Grid best{leastRows, columns};
  double bestCost = -1;
  for (int tried = 0; tried < 24 && columns <= panels; tried++) {
    const int64_t blockPanels = ceilDiv(panels, columns);
    const int64_t leastWaves = ceilDiv(leastRows * columns, threads);
    for (int64_t waves = leastWaves; waves < leastWaves + 8; waves++) {
      int64_t rows = waves * threads / columns;
      if (rows > tiles) rows = tiles;
      if (rows < leastRows) continue;
      const double blockRows = static_cast<double>(ceilDiv(tiles, rows) * tileRows);
      const double task = static_cast<double>(k) * (blockRows * static_cast<double>(blockPanels * panelVectors) / rate + 0.2 * blockRows +
                                                    weightCost * static_cast<double>(blockPanels * panelVectors * lanes)) +
                          4000.0;
      const double cost = task * (static_cast<double>(ceilDiv(rows * columns, threads)) + (threads > 1 ? 0.1 : 0.0));
      if (bestCost < 0 || cost < bestCost) {
        bestCost = cost;
        best = {rows, columns};
      }
    }
    // On to the next number of blocks that makes the largest block smaller.
    int64_t next = columns + 1;
    while (next <= panels && ceilDiv(panels, next) == blockPanels) next++;
    columns = next;
  }
  return best;
}

}  // namespace asdm::cpu
