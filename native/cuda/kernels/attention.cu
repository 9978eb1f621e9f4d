#include "cuda/kernels/attention.h"

#include "cuda/kernels/issue.h"

namespace asdm::cuda {

namespace {

template <class E>
AttentionParams<E> paramsOf(const AttentionArgs& a) {
  AttentionParams<E> p{};
  p.q = static_cast<const E*>(a.q);
  p.k = static_cast<const E*>(a.k);
  p.v = static_cast<const E*>(a.v);
  p.ldq = a.ldq;
  p.ldk = a.ldk;
  p.ldv = a.ldv;
  p.ldo = a.ldo;
  p.heads = static_cast<int>(a.heads);
  p.qLength = static_cast<int>(a.qLength);
  p.kLength = static_cast<int>(a.kLength);
  p.headDim = static_cast<int>(a.headDim);
  p.scale = a.scale;
  p.causal = a.causal;
  p.o = static_cast<E*>(a.o);
  p.whole = quadsFit<E>(a.o, a.ldo) && a.headDim % 4 == 0;
  return p;
}

template <class Kernel, class Params>
void launchAttention(const AttentionArgs& a, int64_t queries, Issue& issue, const Params& p) {
  launch<Kernel>(issue.stream, Grid{ceilDiv(a.qLength, queries), a.heads, a.batch}, Kernel::kSharedBytes, p);
}

template <class E>
void plain(const AttentionArgs& a, Issue& issue) {
  const AttentionParams<E> p = paramsOf<E>(a);
  if (a.headDim <= 64) launchAttention<AttentionSimt<E, 2>>(a, AttentionSimt<E, 2>::kWarps, issue, p);
  else if (a.headDim <= 192) launchAttention<AttentionSimt<E, 6>>(a, AttentionSimt<E, 6>::kWarps, issue, p);
  else launchAttention<AttentionSimt<E, 32>>(a, AttentionSimt<E, 32>::kWarps, issue, p);
}

template <int kDim>
void tensor(const AttentionArgs& a, Issue& issue) {
  const AttentionParams<Bf16> p = paramsOf<Bf16>(a);
  const auto fits = [](const void* x, int64_t ld) { return reinterpret_cast<uintptr_t>(x) % 16 == 0 && ld % 8 == 0; };
  if (fits(a.q, a.ldq) && fits(a.k, a.ldk) && fits(a.v, a.ldv) && a.headDim % 8 == 0)
    launchAttention<AttentionMma<kDim, true>>(a, AttentionMma<kDim, true>::kQueries, issue, p);
  else launchAttention<AttentionMma<kDim, false>>(a, AttentionMma<kDim, false>::kQueries, issue, p);
}

}  // namespace

template <>
void Attentions<float, false>::attention(const AttentionArgs& a, Issue& issue) {
  plain<float>(a, issue);
}
template <>
void Attentions<Bf16, false>::attention(const AttentionArgs& a, Issue& issue) {
  plain<Bf16>(a, issue);
}
template <>
void Attentions<Bf16, true>::attention(const AttentionArgs& a, Issue& issue) {
  if (a.headDim <= 48) tensor<48>(a, issue);
  else if (a.headDim <= 64) tensor<64>(a, issue);
  else if (a.headDim <= 80) tensor<80>(a, issue);
  else if (a.headDim <= 128) tensor<128>(a, issue);
  else if (a.headDim <= 160) tensor<160>(a, issue);
  else plain<Bf16>(a, issue);
}

}  // namespace asdm::cuda
