// Winograd's F(4x4, 3x3): what is common to all kernel sets, when it is used and how it is cut into tasks. The kernel is
// winograd.inc.h.
#pragma once

#include <type_traits>

#include "backend/kernels.h"
#include "core/bf16.h"
#include "cpu/context.h"
#include "cpu/gemm/gemm.h"

namespace asdm::cpu {

// Where the weights of a panel lie, for element k of a product: gemm's packedRow of a set.
using PackedRow = const void* (*)(const WeightShape&, const void* packed, int64_t panel, int64_t k, int64_t* length);

// Two successive elements of k for one output feature, as set avx512bf16 packs them.
struct Bf16Pair {
  Bf16 even, odd;
};

// Whether the convolution runs as Winograd's. It follows from the layer and the size of one sample alone, never from the batch or
// the threads: these must not change a bit. directRate: how many times as fast the set's direct products are as those in float.
bool usesWinograd(const ConvArgs&, int directRate) noexcept;

// How many rows of tiles and columns of panels a Winograd convolution is cut into. tiles, panels: of the whole; panelVectors,
// lanes: of a panel; maxTiles, maxPanels: the most that one task may span, and maxPairs the most tiles times panels; experts: how many
// are mixed for each sample, or 0; sampleTiles: tiles of one.
Grid chooseWinogradGrid(int64_t tiles, int64_t panels, int panelVectors, int lanes, int64_t maxTiles, int64_t maxPanels, int64_t maxPairs,
                        int threads, int64_t experts, int64_t sampleTiles) noexcept;

}  // namespace asdm::cpu

#if defined(ASDM_X86)
namespace asdm::cpu::avx512 {

// Winograd's convolution of Bf16 activations and weights that lie in pairs where `rows` says, mixed or not; an even number of channels.
void pairedWinogradConv(const ConvArgs&, const Mixture*, KernelContext&, PackedRow rows) noexcept;
size_t pairedWinogradScratch(const ConvArgs&, int64_t experts, int threads) noexcept;

}  // namespace asdm::cpu::avx512
#endif
