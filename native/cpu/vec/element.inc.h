// Loads and stores by the type of the elements, so that one body serves float and bfloat16. Include after a vocabulary header and
// core/bf16.h, with ASDM_SET defined.
#pragma once

namespace asdm::cpu::ASDM_SET {

ASDM_INLINE vf vload(const Bf16* p) { return vloadh(&p->bits); }
ASDM_INLINE vf vloadn(const Bf16* p, int n) { return vloadhn(&p->bits, n); }
ASDM_INLINE void vstore(Bf16* p, vf v) { vstoreh(&p->bits, v); }
ASDM_INLINE void vstoren(Bf16* p, vf v, int n) { vstorehn(&p->bits, v, n); }

}  // namespace asdm::cpu::ASDM_SET

// What a set with kernels for activations of floats makes besides.
#if defined(ASDM_VEC_BF16) || defined(ASDM_TILES)
#define ASDM_WITH_FLOATS(...)
#else
#define ASDM_WITH_FLOATS(...) __VA_ARGS__
#endif
