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
// Where `set` has no kernels of its own, `float32` and `bfloat16` are the sets whose it uses.
#define ASDM_TABLES(set, float32, bfloat16)                                           \
  const KernelTable set##Float32 = {#set, DType::F32, ASDM_KERNELS(float32, float)};  \
  const KernelTable set##Bfloat16 = {#set, DType::BF16, ASDM_KERNELS(bfloat16, Bf16)};

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

