// How the tables of a kernel set are put together from its functions, or another set's. Include after the families' headers.
#pragma once

#include "backend/kernels.h"

// The kernels for activations of type E; `from` is the set whose they are.
#define ASDM_KERNELS(from, E)                                                                           \
  &from::packedBytes<E>, &from::pack<E>, &from::copyNumbers, {&from::linear<E>, &from::linearScratch<E>},                    \
      {&from::conv<E>, &from::convScratch<E>}, {&from::condConv<E>, &from::condConvScratch<E>},          \
      {&from::groupNorm<E>, &from::groupNormScratch},                                                    \
      {&from::layerNorm<E>, nullptr}, {&from::attention<E>, &from::attentionScratch<E>},                 \
      {&from::geglu<E>, nullptr}, {&from::activation<E>, nullptr}, {&from::add<E>, nullptr},             \
      {&concat<E>, nullptr}, {&embed<E>, nullptr}, {&from::timestep<E>, nullptr},                        \
      {&toChannelsLast<E>, nullptr}, {&toChannelsFirst<E>, nullptr}
// Where `set` has no kernels of its own, `float32` and `bfloat16` are the sets whose it uses. bfloat16's table also multiplies by float
// weights (cpu/wide), which are packed as those of float32's.
#define ASDM_TABLES(set, float32, bfloat16)                                           \
  const KernelTable set##Float32 = {#set, DType::F32, ASDM_KERNELS(float32, float)};  \
  ASDM_BFLOAT16_TABLE(set, float32, bfloat16)
#define ASDM_BFLOAT16_TABLE(set, float32, bfloat16)                                                                         \
  size_t set##HalfPackedBytes(const WeightShape& shape) {                                                                   \
    return shape.format == WeightFormat::F32 ? float32::packedBytes<float>(shape) : bfloat16::packedBytes<Bf16>(shape);     \
  }                                                                                                                         \
  bool set##HalfPack(const PackArgs& p) {                                                                                   \
    return p.shape.format == WeightFormat::F32 ? float32::pack<float>(p) : bfloat16::pack<Bf16>(p);                         \
  }                                                                                                                         \
  void set##HalfLinear(const LinearArgs& a, KernelContext& context) {                                                       \
    a.shape.format == WeightFormat::F32 ? float32::wideLinear(a, context) : bfloat16::linear<Bf16>(a, context);             \
  }                                                                                                                         \
  size_t set##HalfLinearScratch(const LinearArgs& a, int threads) {                                                         \
    return a.shape.format == WeightFormat::F32 ? float32::wideLinearScratch(a, threads) : bfloat16::linearScratch<Bf16>(a, threads); \
  }                                                                                                                         \
  void set##HalfConv(const ConvArgs& a, KernelContext& context) {                                                           \
    a.shape.format == WeightFormat::F32 ? float32::wideConv(a, context) : bfloat16::conv<Bf16>(a, context);                 \
  }                                                                                                                         \
  size_t set##HalfConvScratch(const ConvArgs& a, int threads) {                                                             \
    return a.shape.format == WeightFormat::F32 ? float32::wideConvScratch(a, threads) : bfloat16::convScratch<Bf16>(a, threads); \
  }                                                                                                                         \
  const KernelTable set##Bfloat16 = [] {                                                                                    \
    KernelTable table = {#set, DType::BF16, ASDM_KERNELS(bfloat16, Bf16)};                                                  \
    table.packedBytes = &set##HalfPackedBytes;                                                                              \
    table.pack = &set##HalfPack;                                                                                            \
    table.linear = {&set##HalfLinear, &set##HalfLinearScratch};                                                             \
    table.conv = {&set##HalfConv, &set##HalfConvScratch};                                                                   \
    return table;                                                                                                           \
  }();

// Products of I8 weights for the rest of bfloat16's table, which also does products of its native weights.
#define ASDM_INT8_TABLE(set)                                                                                                \
  size_t set##PackedBytes(const WeightShape& shape) {                                                                       \
    return shape.format == WeightFormat::I8 ? set::int8::packedBytes(shape) : set##Bfloat16.packedBytes(shape);             \
  }                                                                                                                         \
  bool set##Pack(const PackArgs& p) { return p.shape.format == WeightFormat::I8 ? set::int8::pack(p) : set##Bfloat16.pack(p); } \
  void set##Linear(const LinearArgs& a, KernelContext& context) {                                                           \
    a.shape.format == WeightFormat::I8 ? set::int8::linear(a, context) : set##Bfloat16.linear.run(a, context);              \
  }                                                                                                                         \
  size_t set##LinearScratch(const LinearArgs& a, int threads) {                                                             \
    return a.shape.format == WeightFormat::I8 ? set::int8::linearScratch(a, threads) : set##Bfloat16.linear.scratch(a, threads); \
  }                                                                                                                         \
  void set##Conv(const ConvArgs& a, KernelContext& context) {                                                               \
    a.shape.format == WeightFormat::I8 ? set::int8::conv(a, context) : set##Bfloat16.conv.run(a, context);                  \
  }                                                                                                                         \
  size_t set##ConvScratch(const ConvArgs& a, int threads) {                                                                 \
    return a.shape.format == WeightFormat::I8 ? set::int8::convScratch(a, threads) : set##Bfloat16.conv.scratch(a, threads); \
  }                                                                                                                         \
  const KernelTable set##Int8 = [] {                                                                                        \
    KernelTable table = set##Bfloat16;                                                                                      \
    table.packedBytes = &set##PackedBytes;                                                                                  \
    table.pack = &set##Pack;                                                                                                \
    table.linear = {&set##Linear, &set##LinearScratch};                                                                     \
    table.conv = {&set##Conv, &set##ConvScratch};                                                                           \
    return table;                                                                                                           \
  }();

