#include "cuda/emulation/counts.h"

#include <algorithm>

namespace asdm::cuda::emulation {

void KernelCounts::add(const KernelCounts& o, double times) {
  launches += o.launches;
  blocks += o.blocks * times;
  globalRequests += o.globalRequests * times;
  globalSectors += o.globalSectors * times;
  globalBytes += o.globalBytes * times;
  globalWriteSectors += o.globalWriteSectors * times;
  sharedRequests += o.sharedRequests * times;
  sharedWavefronts += o.sharedWavefronts * times;
  sharedLeast += o.sharedLeast * times;
  barriers += o.barriers * times;
  mma += o.mma * times;
  mmaBytes += o.mmaBytes * times;
  threads = o.threads;
  sharedBytes = o.sharedBytes > sharedBytes ? o.sharedBytes : sharedBytes;
}

int wavefronts(const std::vector<uint32_t>& offsets, uint32_t bytes) {
  const size_t phase = bytes == 16 ? 8 : bytes == 8 ? 16 : 32;
  int total = 0;
  for (size_t first = 0; first < offsets.size(); first += phase) {
    uint32_t words[32][32];  // the different words of each bank
    int used[32] = {};
    int most = 0;
    for (size_t i = first; i < std::min(first + phase, offsets.size()); i++)
      for (uint32_t word = offsets[i] / 4; word <= (offsets[i] + bytes - 1) / 4; word++) {
        uint32_t* const bank = words[word % 32];
        int& count = used[word % 32];
        if (std::find(bank, bank + count, word) == bank + count) bank[count++] = word;
        most = std::max(most, count);
      }
    total += most;
  }
  return total;
}

namespace {

void countOne(const std::vector<Request>& together, KernelCounts* counts) {
  const Request& first = together.front();
  if (first.shared) {
    std::vector<uint32_t> offsets;
    for (const Request& r : together) offsets.push_back(static_cast<uint32_t>(r.address));
    counts->sharedRequests++;
    counts->sharedWavefronts += wavefronts(offsets, first.bytes);
    std::sort(offsets.begin(), offsets.end());
    offsets.erase(std::unique(offsets.begin(), offsets.end()), offsets.end());
    counts->sharedLeast += static_cast<double>((offsets.size() * first.bytes + 127) / 128);
    return;
  }
  std::vector<uint64_t> sectors;
  for (const Request& r : together) {
    counts->globalBytes += r.bytes;
    for (uint64_t sector = r.address / 32; sector <= (r.address + r.bytes - 1) / 32; sector++) sectors.push_back(sector);
  }
  std::sort(sectors.begin(), sectors.end());
  const auto touched = static_cast<double>(std::unique(sectors.begin(), sectors.end()) - sectors.begin());
  counts->globalRequests++;
  counts->globalSectors += touched;
  if (first.write) counts->globalWriteSectors += touched;
}

}  // namespace

void countRequests(std::vector<Request>* const* lanes, int count, KernelCounts* counts) {
  size_t most = 0;
  for (int i = 0; i < count; i++) most = std::max(most, lanes[i]->size());
  std::vector<Request> together;
  std::vector<char> taken(static_cast<size_t>(count));
  for (size_t at = 0; at < most; at++) {
    std::fill(taken.begin(), taken.end(), 0);
    for (int i = 0; i < count; i++) {
      if (taken[static_cast<size_t>(i)] || at >= lanes[i]->size()) continue;
      const Request& r = (*lanes[i])[at];
      together.clear();
      for (int j = i; j < count; j++) {
        if (taken[static_cast<size_t>(j)] || at >= lanes[j]->size()) continue;
        const Request& other = (*lanes[j])[at];
        if (other.site != r.site || other.shared != r.shared || other.write != r.write || other.bytes != r.bytes) continue;
        taken[static_cast<size_t>(j)] = 1;
        together.push_back(other);
      }
      countOne(together, counts);
    }
  }
  for (int i = 0; i < count; i++) lanes[i]->clear();
}

}  // namespace asdm::cuda::emulation
