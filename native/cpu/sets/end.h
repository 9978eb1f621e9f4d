// Closes the set that a _begin.h opened.
#undef ASDM_SET
#undef ASDM_VEC_BF16
#undef ASDM_TILES
#if defined(ASDM_IN_REGION)
#undef ASDM_IN_REGION
ASDM_TARGET_END
#endif
