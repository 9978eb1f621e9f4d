// Which experts a conditional convolution mixes for a sample, and their biases; contract at CondConvArgs in backend/arguments.h.
#pragma once

#include "cuda/kernels/numbers.h"

namespace asdm::cuda {

template <class E>
struct RouteParams {
  const E* x;
  int64_t h, w, c, resizeH, resizeW;
  int64_t experts, n;
  bool softmax;
  const float* routerWeight;
  const float* routerBias;
  const float* bias;  // [experts, n] or null
  double* means;      // [samples, c]
  float* rates;       // [samples, experts]
  float* mixedBias;   // [samples, n]
};

// Means over a sample's pixels, resized if they are: a block for 32 channels, each warp every eighth pixel.
template <class E>
struct RouteMeans {
  using Params = RouteParams<E>;
  static constexpr const char* kName = "route_means";
  static constexpr int kThreads = 256, kBlocks = 4, kChannels = 32, kLines = kThreads / kChannels;
  static constexpr uint32_t kSharedBytes = kThreads * 8;
  static ASDM_DEVICE void run(const Params& p) {
    const int64_t sample = block().z, channel = static_cast<int64_t>(block().x) * kChannels + lane();
    const bool resized = p.resizeH > 0;
    const int64_t height = resized ? p.resizeH : p.h, width = resized ? p.resizeW : p.w;
    double sum = 0;
    if (channel < p.c)
      for (int64_t i = warp(); i < height * width; i += kLines) {
        const int64_t line = i / width, y = resized ? line * p.h / height : line;
        const int64_t x = resized ? (i - line * width) * p.w / width : i - line * width;
        sum += static_cast<double>(asFloat(load(p.x + ((sample * p.h + y) * p.w + x) * p.c + channel)));
      }
    sharedStore(static_cast<uint32_t>(thread()) * 8, sum);
    barrier();
    if (warp() != 0 || channel >= p.c) return;
    for (int i = 1; i < kLines; i++) sum += sharedLoad<double>(static_cast<uint32_t>(i * 32 + lane()) * 8);
    store(p.means + sample * p.c + channel, sum / static_cast<double>(height * width));
  }
};

// Rates, then mixed biases: a block for each sample.
template <class E>
struct RouteRates {
  using Params = RouteParams<E>;
  static constexpr const char* kName = "route_rates";
  static constexpr int kThreads = 128, kBlocks = 4;

  static ASDM_DEVICE double summed(double v) {
    ASDM_UNROLL
    for (int mask = 16; mask > 0; mask /= 2) {
      const uint64_t bits = bitsAs<uint64_t>(v);
      const uint32_t low = shuffleXor(static_cast<uint32_t>(bits), mask), high = shuffleXor(static_cast<uint32_t>(bits >> 32), mask);
      v += bitsAs<double>(static_cast<uint64_t>(high) << 32 | low);
    }
    return v;
  }

  static ASDM_DEVICE void run(const Params& p) {
    const int64_t sample = block().x;
    for (int64_t k = warp(); k < p.experts; k += kThreads / 32) {
      double z = 0;
      for (int64_t i = lane(); i < p.c; i += 32)
        z += load(p.means + sample * p.c + i) * static_cast<double>(load(p.routerWeight + k * p.c + i));
      z = summed(z) + static_cast<double>(load(p.routerBias + k));
      if (lane() == 0) sharedStore(static_cast<uint32_t>(k) * 8, z);
    }
    barrier();
    if (thread() == 0) {
      double most = sharedLoad<double>(0), sum = 0;
      if (p.softmax) {
        for (int64_t k = 1; k < p.experts; k++) {
          const double z = sharedLoad<double>(static_cast<uint32_t>(k) * 8);
          most = z > most ? z : most;
        }
        for (int64_t k = 0; k < p.experts; k++) sum += exp(sharedLoad<double>(static_cast<uint32_t>(k) * 8) - most);
      }
      for (int64_t k = 0; k < p.experts; k++) {
        const double z = sharedLoad<double>(static_cast<uint32_t>(k) * 8);
        const double rate = p.softmax ? exp(z - most) / sum : 1.0 / (1.0 + exp(-z));
        store(p.rates + sample * p.experts + k, static_cast<float>(rate));
        sharedStore(static_cast<uint32_t>(k) * 8, static_cast<double>(static_cast<float>(rate)));
      }
    }
    barrier();
    if (p.bias == nullptr) return;
    for (int64_t j = thread(); j < p.n; j += kThreads) {
      double sum = 0;
      for (int64_t k = 0; k < p.experts; k++) {
        const double rate = sharedLoad<double>(static_cast<uint32_t>(k) * 8);
        if (rate != 0.0) sum += rate * static_cast<double>(load(p.bias + k * p.n + j));
      }
      store(p.mixedBias + sample * p.n + j, static_cast<float>(sum));
    }
  }
};

}  // namespace asdm::cuda
