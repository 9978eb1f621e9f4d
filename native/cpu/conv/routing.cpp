#include "cpu/conv/routing.h"

#include <cmath>
#include <cstring>

#include "core/old_glibc.h"
#include "cpu/gemm/gemm.h"

namespace asdm::cpu {

Pooling poolingOf(const ConvArgs& conv) noexcept {
  const bool even = conv.resizeH <= 0 || (conv.resizeH % conv.h == 0 && conv.resizeW % conv.w == 0);
  const int64_t height = even ? conv.h : conv.resizeH, width = even ? conv.w : conv.resizeW;
  return {height, width, (height * width + kPoolRows - 1) / kPoolRows};
}

size_t layOutRouting(const CondConvArgs& a, std::byte* scratch, RoutingScratch* out) noexcept {
  size_t bytes = 0;
  const auto take = [&](int64_t count) {
    const size_t at = bytes;
    bytes += (static_cast<size_t>(count) * 4 + 63) / 64 * 64;
    return at;
  };
  const size_t sums = take(a.conv.n * poolingOf(a.conv).pieces * a.conv.shape.channels), rates = take(a.conv.n * a.experts);
  const size_t bias = take(a.conv.n * a.conv.shape.n), alike = take(a.conv.n), single = take(a.conv.n);
  if (out != nullptr) {
    const auto floats = [&](size_t at) { return reinterpret_cast<float*>(scratch + at); };
    const auto ints = [&](size_t at) { return reinterpret_cast<int32_t*>(scratch + at); };
    *out = {floats(sums), floats(rates), floats(bias), ints(alike), ints(single)};
  }
  return bytes;
}

void route(const CondConvArgs& a, int64_t sample, const RoutingScratch& s) noexcept {
  const Pooling pooling = poolingOf(a.conv);
  const int64_t c = a.conv.shape.channels, n = a.conv.shape.n;
  const double pixels = static_cast<double>(pooling.height * pooling.width);
  double z[kMaxExperts];
  for (int64_t e = 0; e < a.experts; e++) z[e] = static_cast<double>(a.routerBias[e]);
  for (int64_t i = 0; i < c; i++) {
    double mean = 0;
    for (int64_t piece = 0; piece < pooling.pieces; piece++) mean += static_cast<double>(s.sums[(sample * pooling.pieces + piece) * c + i]);
    mean /= pixels;
    for (int64_t e = 0; e < a.experts; e++) z[e] += mean * static_cast<double>(a.routerWeight[e * c + i]);
  }
  if (a.routing == Routing::Softmax) {
    double most = z[0], sum = 0;
    for (int64_t e = 1; e < a.experts; e++) most = z[e] > most ? z[e] : most;
    for (int64_t e = 0; e < a.experts; e++) sum += z[e] = std::exp(z[e] - most);
    for (int64_t e = 0; e < a.experts; e++) z[e] /= sum;
  } else {
    for (int64_t e = 0; e < a.experts; e++) z[e] = 1 / (1 + std::exp(-z[e]));
  }

  float* const rates = s.rates + sample * a.experts;
  int64_t used = 0, last = 0;
  for (int64_t e = 0; e < a.experts; e++) {
    rates[e] = static_cast<float>(z[e]);
    if (rates[e] == 0.0f) continue;
    used++;
    last = e;
  }
  s.single[sample] = used == 1 && rates[last] == 1.0f ? static_cast<int32_t>(last) : -1;

  if (a.conv.bias == nullptr) return;
  float* const bias = s.bias + sample * n;
  for (int64_t j = 0; j < n; j++) {
    if (s.single[sample] >= 0) {
      bias[j] = a.conv.bias[s.single[sample] * n + j];
      continue;
    }
    double sum = 0;
    for (int64_t e = 0; e < a.experts; e++)
      if (rates[e] != 0.0f) sum += static_cast<double>(rates[e]) * static_cast<double>(a.conv.bias[e * n + j]);
    bias[j] = static_cast<float>(sum);
  }
}

void findAlike(int64_t samples, int64_t experts, const RoutingScratch& s) noexcept {
  for (int64_t i = 0; i < samples; i++) {
    s.alike[i] = static_cast<int32_t>(i);
    for (int64_t first = 0; first < i; first++) {
      // By their bits: NaN is like NaN.
      if (s.alike[first] != first || std::memcmp(s.rates + first * experts, s.rates + i * experts, static_cast<size_t>(experts) * 4) != 0)
        continue;
      s.alike[i] = static_cast<int32_t>(first);
      break;
    }
  }
}

}  // namespace asdm::cpu
