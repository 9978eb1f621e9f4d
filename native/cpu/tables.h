// How the tables of a kernel set are put together from its functions, or another set's. Include after the families' headers.
#pragma once

#include "backend/kernels.h"
#include "cpu/device.h"

namespace asdm::cpu {

// A kernel as a table has it: it finds the pool and its scratch in the CPU's queue. Packing needs neither.
template <auto function>
struct OnQueue;
template <class Args, void (*kernel)(const Args&, KernelContext&) noexcept>
struct OnQueue<kernel> {
  static void run(const Args& args, Queue& queue) noexcept {
    KernelContext context = static_cast<CpuQueue&>(queue).context();
    kernel(args, context);
  }
};
template <class Args, class Result, Result (*function)(const Args&) noexcept>
struct OnQueue<function> {
  static Result run(const Args& args, Queue&) noexcept { return function(args); }
};

// What depends on how weights are stored.
struct Products {
  size_t (*packedBytes)(const WeightShape&) noexcept;
  bool (*pack)(const PackArgs&, Queue&) noexcept;
  Kernel<LinearArgs> linear;
  Kernel<ConvArgs> conv;
};

// One for weights of one format, the other for the rest.
template <WeightFormat Format, const Products& Chosen, const Products& Other>
struct ByFormat {
  static const Products& of(const WeightShape& shape) { return shape.format == Format ? Chosen : Other; }
  static size_t packedBytes(const WeightShape& shape) noexcept { return of(shape).packedBytes(shape); }
  static bool pack(const PackArgs& p, Queue& queue) noexcept { return of(p.shape).pack(p, queue); }
  static void linear(const LinearArgs& a, Queue& queue) noexcept { of(a.shape).linear.run(a, queue); }
  static size_t linearScratch(const LinearArgs& a, int threads) noexcept { return of(a.shape).linear.scratch(a, threads); }
  static void conv(const ConvArgs& a, Queue& queue) noexcept { of(a.shape).conv.run(a, queue); }
  static size_t convScratch(const ConvArgs& a, int threads) noexcept { return of(a.shape).conv.scratch(a, threads); }
  static constexpr Products products = {&packedBytes, &pack, {&linear, &linearScratch}, {&conv, &convScratch}};
};

// A table but for its products.
constexpr KernelTable with(const Products& products, KernelTable table) {
  table.packedBytes = products.packedBytes;
  table.pack = products.pack;
  table.linear = products.linear;
  table.conv = products.conv;
  return table;
}

}  // namespace asdm::cpu

#define ASDM_ON_QUEUE(...) &OnQueue<&__VA_ARGS__>::run

// The kernels for activations of type E; `from` is the set whose they are.
#define ASDM_KERNELS(from, E)                                                                                                          \
  &from::packedBytes<E>, ASDM_ON_QUEUE(from::pack<E>), ASDM_ON_QUEUE(from::copyNumbers),                                               \
      {ASDM_ON_QUEUE(from::linear<E>), &from::linearScratch<E>}, {ASDM_ON_QUEUE(from::conv<E>), &from::convScratch<E>},                \
      {ASDM_ON_QUEUE(from::condConv<E>), &from::condConvScratch<E>}, {ASDM_ON_QUEUE(from::groupNorm<E>), &from::groupNormScratch},     \
      {ASDM_ON_QUEUE(from::layerNorm<E>), nullptr}, {ASDM_ON_QUEUE(from::attention<E>), &from::attentionScratch<E>},                   \
      {ASDM_ON_QUEUE(from::geglu<E>), nullptr}, {ASDM_ON_QUEUE(from::activation<E>), nullptr}, {ASDM_ON_QUEUE(from::add<E>), nullptr}, \
      {ASDM_ON_QUEUE(concat<E>), nullptr}, {ASDM_ON_QUEUE(embed<E>), nullptr}, {ASDM_ON_QUEUE(from::timestep<E>), nullptr},            \
      {ASDM_ON_QUEUE(toChannelsLast<E>), nullptr}, {ASDM_ON_QUEUE(toChannelsFirst<E>), nullptr}, {ASDM_ON_QUEUE(line<E>), nullptr},    \
      {ASDM_ON_QUEUE(change<E>), &changeScratch}, {                                                                                    \
    ASDM_ON_QUEUE(copy), nullptr                                                                                                       \
  }

// Those of training, for floats.
#define ASDM_TRAINING(from)                                                         \
  {{ASDM_ON_QUEUE(from::linearInputGradient), &from::linearInputGradientScratch},   \
   {ASDM_ON_QUEUE(from::linearWeightGradient), &from::linearWeightGradientScratch}, \
   {ASDM_ON_QUEUE(from::convInputGradient), &from::convInputGradientScratch},       \
   {ASDM_ON_QUEUE(from::convWeightGradient), &from::convWeightGradientScratch},     \
   {ASDM_ON_QUEUE(from::condConvGradient), &from::condConvGradientScratch},         \
   {ASDM_ON_QUEUE(from::groupNormGradient), &from::groupNormGradientScratch},       \
   {ASDM_ON_QUEUE(from::layerNormGradient), &from::layerNormGradientScratch},       \
   {ASDM_ON_QUEUE(from::attentionGradient), &from::attentionGradientScratch},       \
   {ASDM_ON_QUEUE(from::gegluGradient), nullptr},                                   \
   {ASDM_ON_QUEUE(from::activationGradient), nullptr},                              \
   {ASDM_ON_QUEUE(slice<float>), nullptr},                                          \
   {ASDM_ON_QUEUE(from::sumRows), &from::sumRowsScratch},                           \
   {ASDM_ON_QUEUE(from::loss), &from::lossScratch},                                 \
   {ASDM_ON_QUEUE(from::lossGradient), nullptr},                                    \
   {ASDM_ON_QUEUE(from::adamW), nullptr},                                           \
   {ASDM_ON_QUEUE(from::average), nullptr},                                         \
   {ASDM_ON_QUEUE(from::squares), &from::squaresScratch},                           \
   ASDM_ON_QUEUE(from::unpack)}

// In the namespace of a set that has products and attention alone: another set's kernels for the rest.
#define ASDM_USE_REST_OF(from)  \
  using from::activation;       \
  using from::add;              \
  using from::geglu;            \
  using from::groupNorm;        \
  using from::groupNormScratch; \
  using from::layerNorm;        \
  using from::timestep;

// Where `set` has no kernels of its own, `float32` and `bfloat16` are the sets whose it uses. bfloat16's table also multiplies by float
// weights (cpu/wide), which are packed as those of float32's.
#define ASDM_TABLES(set, float32, bfloat16)                                                                            \
  const KernelTable set##Float32 = {#set, &kTraits, DType::F32, ASDM_KERNELS(float32, float), ASDM_TRAINING(float32)}; \
  ASDM_BFLOAT16_TABLE(set, float32, bfloat16)
#define ASDM_BFLOAT16_TABLE(set, float32, bfloat16)                                                          \
  constexpr Products set##Wide = {&float32::packedBytes<float>,                                              \
                                  ASDM_ON_QUEUE(float32::pack<float>),                                       \
                                  {ASDM_ON_QUEUE(float32::wideLinear), &float32::wideLinearScratch},         \
                                  {ASDM_ON_QUEUE(float32::wideConv), &float32::wideConvScratch}};            \
  constexpr Products set##Native = {&bfloat16::packedBytes<Bf16>,                                            \
                                    ASDM_ON_QUEUE(bfloat16::pack<Bf16>),                                     \
                                    {ASDM_ON_QUEUE(bfloat16::linear<Bf16>), &bfloat16::linearScratch<Bf16>}, \
                                    {ASDM_ON_QUEUE(bfloat16::conv<Bf16>), &bfloat16::convScratch<Bf16>}};    \
  constexpr Products set##Half = ByFormat<WeightFormat::F32, set##Wide, set##Native>::products;              \
  const KernelTable set##Bfloat16 = with(set##Half, {#set, &kTraits, DType::BF16, ASDM_KERNELS(bfloat16, Bf16), {}});

// Products of I8 weights for the rest of bfloat16's table, which also does products of its native weights.
#define ASDM_INT8_TABLE(set)                                                                      \
  constexpr Products set##Bytes = {&set::int8::packedBytes,                                       \
                                   ASDM_ON_QUEUE(set::int8::pack),                                \
                                   {ASDM_ON_QUEUE(set::int8::linear), &set::int8::linearScratch}, \
                                   {ASDM_ON_QUEUE(set::int8::conv), &set::int8::convScratch}};    \
  const KernelTable set##Int8 = with(ByFormat<WeightFormat::I8, set##Bytes, set##Half>::products, set##Bfloat16);
