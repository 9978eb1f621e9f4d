// How the tables of a kernel set are put together from its functions, or another set's. Include after the families' headers.
#pragma once

#include "backend/kernels.h"

namespace asdm::cpu {

// What depends on how weights are stored.
struct Products {
  size_t (*packedBytes)(const WeightShape&);
  bool (*pack)(const PackArgs&);
  Kernel<LinearArgs> linear;
  Kernel<ConvArgs> conv;
};

// One for weights of one format, the other for the rest.
template <WeightFormat Format, const Products& Chosen, const Products& Other>
struct ByFormat {
  static const Products& of(const WeightShape& shape) { return shape.format == Format ? Chosen : Other; }
  static size_t packedBytes(const WeightShape& shape) { return of(shape).packedBytes(shape); }
  static bool pack(const PackArgs& p) { return of(p.shape).pack(p); }
  static void linear(const LinearArgs& a, KernelContext& context) { of(a.shape).linear.run(a, context); }
  static size_t linearScratch(const LinearArgs& a, int threads) { return of(a.shape).linear.scratch(a, threads); }
  static void conv(const ConvArgs& a, KernelContext& context) { of(a.shape).conv.run(a, context); }
  static size_t convScratch(const ConvArgs& a, int threads) { return of(a.shape).conv.scratch(a, threads); }
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

// The kernels for activations of type E; `from` is the set whose they are.
#define ASDM_KERNELS(from, E)                                                                           \
  &from::packedBytes<E>, &from::pack<E>, &from::copyNumbers, {&from::linear<E>, &from::linearScratch<E>},                    \
      {&from::conv<E>, &from::convScratch<E>}, {&from::condConv<E>, &from::condConvScratch<E>},          \
      {&from::groupNorm<E>, &from::groupNormScratch},                                                    \
      {&from::layerNorm<E>, nullptr}, {&from::attention<E>, &from::attentionScratch<E>},                 \
      {&from::geglu<E>, nullptr}, {&from::activation<E>, nullptr}, {&from::add<E>, nullptr},             \
      {&concat<E>, nullptr}, {&embed<E>, nullptr}, {&from::timestep<E>, nullptr},                        \
      {&toChannelsLast<E>, nullptr}, {&toChannelsFirst<E>, nullptr}

// Those of training, for floats.
#define ASDM_TRAINING(from)                                                                                       \
  {{&from::linearInputGradient, &from::linearInputGradientScratch}, {&from::linearWeightGradient, &from::linearWeightGradientScratch}, \
   {&from::convInputGradient, &from::convInputGradientScratch}, {&from::convWeightGradient, &from::convWeightGradientScratch},         \
   {&from::condConvGradient, &from::condConvGradientScratch}, {&from::groupNormGradient, &from::groupNormGradientScratch},             \
   {&from::layerNormGradient, &from::layerNormGradientScratch}, {&from::attentionGradient, &from::attentionGradientScratch},           \
   {&from::gegluGradient, nullptr}, {&from::activationGradient, nullptr}, {&slice<float>, nullptr},                                    \
   {&from::sumRows, &from::sumRowsScratch}, {&from::loss, &from::lossScratch}, {&from::lossGradient, nullptr},                         \
   {&from::adamW, nullptr}, {&from::average, nullptr}, {&from::squares, &from::squaresScratch}, &from::unpack}

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
#define ASDM_TABLES(set, float32, bfloat16)                                                                    \
  const KernelTable set##Float32 = {#set, DType::F32, ASDM_KERNELS(float32, float), ASDM_TRAINING(float32)};  \
  ASDM_BFLOAT16_TABLE(set, float32, bfloat16)
#define ASDM_BFLOAT16_TABLE(set, float32, bfloat16)                                                                                    \
  constexpr Products set##Wide = {&float32::packedBytes<float>, &float32::pack<float>,                                                 \
                                  {&float32::wideLinear, &float32::wideLinearScratch}, {&float32::wideConv, &float32::wideConvScratch}}; \
  constexpr Products set##Native = {&bfloat16::packedBytes<Bf16>, &bfloat16::pack<Bf16>,                                               \
                                    {&bfloat16::linear<Bf16>, &bfloat16::linearScratch<Bf16>},                                         \
                                    {&bfloat16::conv<Bf16>, &bfloat16::convScratch<Bf16>}};                                            \
  constexpr Products set##Half = ByFormat<WeightFormat::F32, set##Wide, set##Native>::products;                                        \
  const KernelTable set##Bfloat16 = with(set##Half, {#set, DType::BF16, ASDM_KERNELS(bfloat16, Bf16), {}});

// Products of I8 weights for the rest of bfloat16's table, which also does products of its native weights.
#define ASDM_INT8_TABLE(set)                                                                                              \
  constexpr Products set##Bytes = {&set::int8::packedBytes, &set::int8::pack, {&set::int8::linear, &set::int8::linearScratch}, \
                                   {&set::int8::conv, &set::int8::convScratch}};                                          \
  const KernelTable set##Int8 = with(ByFormat<WeightFormat::I8, set##Bytes, set##Half>::products, set##Bfloat16);
