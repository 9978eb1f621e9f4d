// The table of a set's kernels: `kernelsOf` in the namespace ASDM_SET, which is to be defined before, and is not any more afterwards.
// ASDM_REST_OF: where the set has products and attention alone, whose kernels the others are.

namespace asdm::cpu::ASDM_SET {

#define ASDM_SCRATCH_None(entry, type) nullptr
#define ASDM_SCRATCH_Own(entry, type) &entry##Scratch type
#define ASDM_VERSIONS_EachProduct(entry, scratch) t.entry = {&OnQueue<&entry<E>>::run, ASDM_SCRATCH_##scratch(entry, <E>)};
#if defined(ASDM_REST_OF)
#define ASDM_VERSIONS_Common(entry, scratch)
#define ASDM_VERSIONS_Floats(entry, scratch)
#define ASDM_VERSIONS_EachSet(entry, scratch)
#else
#define ASDM_VERSIONS_Common(entry, scratch) t.entry = {&OnQueue<&cpu::entry<E>>::run, ASDM_SCRATCH_##scratch(cpu::entry, <E>)};
#define ASDM_VERSIONS_Floats(entry, scratch) \
  if constexpr (kFloats) t.entry = {&OnQueue<&entry>::run, ASDM_SCRATCH_##scratch(entry, )};
#define ASDM_VERSIONS_EachSet(entry, scratch) ASDM_VERSIONS_EachProduct(entry, scratch)
#endif

// For activations of type E.
template <class E>
constexpr KernelTable kernelsOf() {
#if defined(ASDM_REST_OF)
  KernelTable t = ASDM_REST_OF::kernelsOf<E>();
#else
  constexpr bool kFloats = std::is_same_v<E, float>;
  KernelTable t{};
  t.traits = &kTraits;
  t.activations = kFloats ? DType::F32 : DType::BF16;
  if constexpr (kFloats) t.unpack = &OnQueue<&unpack>::run;
#endif
  t.packedBytes = &packedBytes<E>;
  t.pack = &OnQueue<&pack<E>>::run;
  t.copyNumbers = &OnQueue<&copyNumbers>::run;
  t.addProduct = &OnQueue<&addProduct>::run;
#define ASDM_KERNEL(entry, arguments, scratch, versions) ASDM_VERSIONS_##versions(entry, scratch)
#include "ops/ops.def"
  return t;
}

#undef ASDM_SCRATCH_None
#undef ASDM_SCRATCH_Own
#undef ASDM_VERSIONS_Common
#undef ASDM_VERSIONS_Floats
#undef ASDM_VERSIONS_EachSet
#undef ASDM_VERSIONS_EachProduct

}  // namespace asdm::cpu::ASDM_SET

#undef ASDM_SET
#undef ASDM_REST_OF
