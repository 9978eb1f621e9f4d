// What compilers are told beyond the language: unrolling, inlining, fetching ahead.
#pragma once

#if defined(__clang__)
#define ASDM_UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
#define ASDM_UNROLL _Pragma("GCC unroll 32")
#else
#define ASDM_UNROLL
#endif

#if defined(_MSC_VER)
#define ASDM_NOINLINE __declspec(noinline)
#else
#define ASDM_NOINLINE __attribute__((noinline))
#endif

// Into the first-level cache, and into the second.
#if defined(__GNUC__)
#define ASDM_PREFETCH(p) __builtin_prefetch(p)
#define ASDM_PREFETCH_L2(p) __builtin_prefetch(p, 0, 2)
#else
#define ASDM_PREFETCH(p) (void)(p)
#define ASDM_PREFETCH_L2(p) (void)(p)
#endif
