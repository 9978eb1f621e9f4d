// Declares the kernels that a set has versions of (ops/ops.def) in the namespace ASDM_SET, which is to be defined before, and is not any more
// afterwards. Their definitions are in the families' .inc.h files.

namespace asdm::cpu::ASDM_SET {

#define ASDM_SCRATCH_None(entry, arguments)
#define ASDM_SCRATCH_Own(entry, arguments) size_t entry##Scratch(const arguments&, int threads) noexcept;
#define ASDM_TEMPLATE_None(entry, arguments)
#define ASDM_TEMPLATE_Own(entry, arguments) \
  template <class E>                        \
  size_t entry##Scratch(const arguments&, int threads) noexcept;

#define ASDM_VERSIONS_Common(entry, arguments, scratch)
#define ASDM_VERSIONS_Floats(entry, arguments, scratch)  \
  void entry(const arguments&, KernelContext&) noexcept; \
  ASDM_SCRATCH_##scratch(entry, arguments)
#define ASDM_VERSIONS_EachSet(entry, arguments, scratch) \
  template <class E>                                     \
  void entry(const arguments&, KernelContext&) noexcept; \
  ASDM_TEMPLATE_##scratch(entry, arguments)
#define ASDM_VERSIONS_EachProduct(entry, arguments, scratch) ASDM_VERSIONS_EachSet(entry, arguments, scratch)

#define ASDM_KERNEL(entry, arguments, scratch, versions) ASDM_VERSIONS_##versions(entry, arguments, scratch)
#include "ops/ops.def"

#undef ASDM_TEMPLATE_None
#undef ASDM_TEMPLATE_Own
#undef ASDM_SCRATCH_None
#undef ASDM_SCRATCH_Own
#undef ASDM_VERSIONS_Common
#undef ASDM_VERSIONS_Floats
#undef ASDM_VERSIONS_EachSet
#undef ASDM_VERSIONS_EachProduct

}  // namespace asdm::cpu::ASDM_SET

#undef ASDM_SET
