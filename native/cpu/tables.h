// How the tables of a kernel set are put together from its functions, or another set's. Include after the families' headers.
#pragma once

#include <type_traits>

#include "cpu/device.h"
#include "cpu/kernels.h"

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

// A table by another name, and with other products.
constexpr KernelTable named(const char* name, KernelTable table) {
  table.name = name;
  return table;
}
constexpr KernelTable with(const Products& products, KernelTable table) {
  table.packedBytes = products.packedBytes;
  table.pack = products.pack;
  table.linear = products.linear;
  table.conv = products.conv;
  return table;
}
// A table's own products.
constexpr Products productsOf(const KernelTable& table) { return {table.packedBytes, table.pack, table.linear, table.conv}; }

}  // namespace asdm::cpu

#define ASDM_SET portable
#include "cpu/table.inc.h"
#if defined(ASDM_X86)
#define ASDM_SET avx2
#include "cpu/table.inc.h"
#define ASDM_SET avx512
#include "cpu/table.inc.h"
#define ASDM_SET avx512bf16
#include "cpu/table.inc.h"
#if defined(ASDM_HAS_AMX)
#define ASDM_SET amx
#define ASDM_REST_OF avx512bf16
#include "cpu/table.inc.h"
#endif
#endif
#if defined(ASDM_ARM64)
#define ASDM_SET neon
#include "cpu/table.inc.h"
#endif

// The tables of a set of cpu/sets.def: `float32` and `bfloat16` are the sets whose kernels it uses. bfloat16's table also multiplies by
// float weights (cpu/wide), which are packed as those of float32's.
#define ASDM_TABLES(set, float32, bfloat16)                                      \
  constexpr KernelTable set##Float32 = named(#set, float32::kernelsOf<float>()); \
  ASDM_BFLOAT16_TABLE(set, float32, bfloat16)
#define ASDM_BFLOAT16_TABLE(set, float32, bfloat16)                                                   \
  constexpr Products set##Wide = {&float32::packedBytes<float>,                                       \
                                  &OnQueue<&float32::pack<float>>::run,                               \
                                  {&OnQueue<&float32::wideLinear>::run, &float32::wideLinearScratch}, \
                                  {&OnQueue<&float32::wideConv>::run, &float32::wideConvScratch}};    \
  constexpr Products set##Native = productsOf(bfloat16::kernelsOf<Bf16>());                           \
  constexpr Products set##Half = ByFormat<WeightFormat::F32, set##Wide, set##Native>::products;       \
  constexpr KernelTable set##Bfloat16 = with(set##Half, named(#set, bfloat16::kernelsOf<Bf16>()));

// Products of I8 weights for the rest of bfloat16's table, which also does products of its native weights.
#define ASDM_INT8_TABLE(set)                                                                       \
  constexpr Products set##Bytes = {&set::int8::packedBytes,                                        \
                                   &OnQueue<&set::int8::pack>::run,                                \
                                   {&OnQueue<&set::int8::linear>::run, &set::int8::linearScratch}, \
                                   {&OnQueue<&set::int8::conv>::run, &set::int8::convScratch}};    \
  constexpr KernelTable set##Int8 = with(ByFormat<WeightFormat::I8, set##Bytes, set##Half>::products, set##Bfloat16);
